"""`python -m edge_msa_runtime`, which is the same as `edge-msa-run`."""

import sys

from edge_msa_runtime.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
