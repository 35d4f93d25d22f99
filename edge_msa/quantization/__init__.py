"""Choosing which layers of a student stay in floating point."""
