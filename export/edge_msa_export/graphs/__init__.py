"""Exports torch modules as ONNX graphs and writes them for each backend."""
