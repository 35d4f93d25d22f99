"""A stand-in for NVIDIA's cuda-python, for tests alone."""
