"""A stand-in for NVIDIA's cuda-bindings, for tests alone."""
