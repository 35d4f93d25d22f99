"""Writes bundles: the folders that devices run."""
