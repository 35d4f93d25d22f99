"""The local web application of `edge-msa-run serve`: a live page, predictions over HTTP, and their limits."""
