"""Bundles: the manifest, the verification of every file, and the golden vectors."""
