"""Quantize a trained student: calibration samples and files, mixed-precision plans, and their scores."""
