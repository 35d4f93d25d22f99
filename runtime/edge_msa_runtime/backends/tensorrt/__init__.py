"""TensorRT 8.5 and later: plans built and cached on the device."""
