"""Latency, load time, size and memory of bundles on this device."""
