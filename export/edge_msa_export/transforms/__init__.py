"""Transformations from ONNX to ONNX: opset, precision and file size."""
