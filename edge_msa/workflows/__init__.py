"""One module a command: the only place that knows all four rooms."""
