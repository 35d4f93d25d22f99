"""Checking inputs before anything else sees them."""
