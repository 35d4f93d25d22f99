"""Measuring latency, size, memory and throughput, here or on a device over ssh."""
