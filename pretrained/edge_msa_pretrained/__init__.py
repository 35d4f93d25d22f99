"""Pretrained bundles: `index.json` and one folder per bundle. `edge_msa_runtime.pretrained` finds them."""

__version__ = "0.1.0"
