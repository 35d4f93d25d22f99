"""A package of pretrained bundles, as an installed `edge-msa-pretrained`. Python 3.8 loads this file too."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from edge_msa_runtime.bundle.hashing import file_sha256
from edge_msa_runtime.pretrained import INDEX_NAME, INDEX_SCHEMA, PACKAGE

CODE = "raise AssertionError('the package was imported')\n"
TESTED = {"data": "Toys", "samples": 9, "groups": 3, "unit": "videos", "metrics": {"mae": [0.5, 0.4, 0.6]}}
CARD = {
    "model": "a toy",
    "data": ["toy texts"],
    "terms": "for research",
    "not_for": ["decisions about a person"],
    "tested": [{**TESTED, "baseline": {"mae": 1.0}}],
}


def entry(bundle: Path, **changes: Any) -> dict[str, Any]:
    """Return the entry of a bundle in the index."""
    digest = file_sha256(bundle / "manifest.json")
    return {"title": "Toy", "sha256": digest, "bytes": 9, "card": CARD, **changes}


def write_index(package: Path, models: dict[str, Any], schema: int = INDEX_SCHEMA) -> None:
    """Write the index of a package."""
    (package / INDEX_NAME).write_text(json.dumps({"schema": schema, "models": models}), encoding="utf-8")


def write_package(site: Path, bundle: Path) -> Path:
    """Write a package with a bundle, `toy`, and a model of the hub, `far`. Put `site` on the path of Python.

    Returns:
        The folder of the package.
    """
    package = site / PACKAGE
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(CODE)
    shutil.copytree(str(bundle), str(package / "toy"))
    toy = entry(package / "toy")
    write_index(package, {"toy": toy, "far": {**toy, "hub": "someone/far"}})
    return package
