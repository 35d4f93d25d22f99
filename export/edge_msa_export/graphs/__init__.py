"""From a torch student to ONNX graphs."""
