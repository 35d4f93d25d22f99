"""Load and validate inputs before a graph runs on them."""
