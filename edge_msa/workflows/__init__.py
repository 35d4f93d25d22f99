"""One module per command. Workflows orchestrate; everything that can be reused lives in a domain package."""
