"""Cascades: several bundles, smallest first. A larger one is asked only if it is expected to change the answer."""
