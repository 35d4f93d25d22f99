"""One module per command. Workflows only combine steps; reusable code is in the other packages."""
