"""Exported torch programs for torch-tensorrt."""
