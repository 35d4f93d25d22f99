"""Reproducing a paper: its printed tables, ours beside them, corruption, significance, pictures. NumPy only."""
