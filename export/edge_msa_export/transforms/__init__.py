"""ONNX to ONNX: opset, precision, size."""
