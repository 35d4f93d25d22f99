"""Replay of recorded or generated input as live streams: items, scenarios, sources, and the log."""
