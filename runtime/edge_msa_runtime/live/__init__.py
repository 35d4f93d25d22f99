"""Predictions from recordings, microphones and cameras: sources, front ends, streams, and what is shown of them."""
