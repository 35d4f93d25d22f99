"""Checks of this device: what it has, what is wrong, and how to fix it."""
