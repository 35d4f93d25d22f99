"""Prediction and verifying bundles."""
