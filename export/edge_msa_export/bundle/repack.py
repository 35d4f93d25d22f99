"""Writes a copy of a bundle to pass on: with its own name, license, model card and golden vectors."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edge_msa_export.bundle.write import is_bundle, write_manifest
from edge_msa_export.folders import atomic_folder
from edge_msa_runtime.bundle.loader import open_bundle
from edge_msa_runtime.bundle.manifest import GOLDEN_NAME

CARD_NAME = "README.md"
_LOCAL = ("request",)
"""Fields of the provenance with paths of the machine that exported the bundle."""


def repack_bundle(
    source: Path,
    output_dir: Path,
    *,
    name: str,
    license_text: str,
    card: str,
    golden: Mapping[str, Any],
    text_parity: float = 0.0,
) -> Path:
    """Write a copy of a bundle without the wheel of the runtime and without paths of this machine.

    Args:
        source: the bundle that `export` wrote.
        output_dir: destination. A bundle there is replaced.
        name: name of the copy.
        license_text: license of the copy, which `edge-msa-run info` shows.
        card: model card in Markdown; it becomes `README.md`.
        golden: arrays of the golden vectors. Those of `export` contain a sample of the validation split.
        text_parity: how much the int8 rows of an embedding table change a prediction of `golden`.

    Returns:
        `output_dir`.

    Raises:
        BundleError: the source is damaged.
        OutputError: `output_dir` contains something that is not a bundle.
        ExportError: the disk is full. No partial output remains.
    """
    bundle = open_bundle(source)
    manifest = bundle.manifest
    language = manifest.language
    if language is not None:
        language = dataclasses.replace(language, parity=max(language.parity, text_parity))
    provenance = {key: value for key, value in manifest.provenance.items() if key not in _LOCAL}
    with atomic_folder(output_dir, is_bundle) as folder:
        for file in manifest.files:
            if not file.endswith(".whl") and file not in (CARD_NAME, GOLDEN_NAME):
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source / file, folder / file)
        np.savez_compressed(folder / GOLDEN_NAME, **golden)
        (folder / CARD_NAME).write_text(card, encoding="utf-8", newline="\n")
        changes: dict[str, Any] = {"name": name, "license": license_text, "language": language, "files": {}}
        write_manifest(folder, dataclasses.replace(manifest, provenance=provenance, **changes))
    return output_dir
