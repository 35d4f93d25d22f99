"""The sweep: one task, readers of words from a Transformer down to a table, on one picture."""
