"""Benchmarks: latency, size, memory and training throughput, on this machine or on a device over ssh."""
