"""From a torch module to what a device runs: ONNX, OpenVINO, TensorRT, bundles."""
