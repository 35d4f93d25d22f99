"""Turns a torch student into bundles for devices: ONNX, OpenVINO and TensorRT graphs, and torch-tensorrt programs."""
