"""A stand-in for NVIDIA's cuda-bindings in tests."""
