"""Exports torch programs that torch-tensorrt compiles on the device."""
