"""Measures how much the predictions of exported graphs differ from those of torch."""
