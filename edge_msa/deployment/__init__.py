"""Prepare a trained student for export: its network, graphs, text model, calibration and golden samples."""
