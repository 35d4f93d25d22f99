"""Distilling teachers into students."""
