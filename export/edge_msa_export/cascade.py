"""Writes a cascade: a folder with copies of its members and the description of when each is asked."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from edge_msa_export.folders import atomic_folder
from edge_msa_runtime.bundle.hashing import file_sha256
from edge_msa_runtime.bundle.loader import Bundle
from edge_msa_runtime.bundle.manifest import CASCADE_NAME, DIGEST_NAME, MANIFEST_NAME
from edge_msa_runtime.cascade.loader import is_cascade, open_cascade
from edge_msa_runtime.cascade.manifest import CASCADE_DIGEST_NAME, CascadeManifest, MemberSpec


def describe_members(bundles: Sequence[Bundle], names: Sequence[str]) -> tuple[MemberSpec, ...]:
    """Return the members that a description of a cascade has."""
    return tuple(
        MemberSpec(name, file_sha256(bundle.path / MANIFEST_NAME)) for bundle, name in zip(bundles, names, strict=True)
    )


def write_cascade(output_dir: Path, bundles: Sequence[Bundle], manifest: CascadeManifest) -> Path:
    """Write a cascade of copies of verified bundles, and verify it.

    Args:
        output_dir: destination. An older cascade there is replaced; any other content is an error.
        bundles: the members, in the order of the manifest.
        manifest: the description.

    Returns:
        `output_dir`.

    Raises:
        OutputError: `output_dir` contains something that is not a cascade.
        ExportError: the disk is full. No partial output remains.
        BundleError: a bundle was changed in the meantime.
    """
    with atomic_folder(output_dir, is_cascade) as folder:
        for member, bundle in zip(manifest.members, bundles, strict=True):
            for name in (MANIFEST_NAME, DIGEST_NAME, *bundle.manifest.files):
                path = folder / member.folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(bundle.path / name, path)
        content = json.dumps(manifest.to_json(), indent=1) + "\n"
        (folder / CASCADE_NAME).write_text(content, encoding="utf-8", newline="\n")
        digest = f"{file_sha256(folder / CASCADE_NAME)}  {CASCADE_NAME}\n"
        (folder / CASCADE_DIGEST_NAME).write_text(digest, encoding="utf-8", newline="\n")
        open_cascade(folder)
    return output_dir
