"""TensorRT 8.5 and later: plans are built and cached on the device."""
