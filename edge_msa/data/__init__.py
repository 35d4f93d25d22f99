"""Feature files in, one dataset type out."""
