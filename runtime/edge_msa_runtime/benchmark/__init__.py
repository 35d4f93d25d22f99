"""Measuring latency on this device."""
