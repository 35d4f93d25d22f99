"""Open a cascade and verify every byte of it: its own files here, and each member as a bundle."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from edge_msa_runtime.bundle.hashing import file_sha256
from edge_msa_runtime.bundle.loader import Bundle, check_digest, check_inside, open_bundle, read_digest
from edge_msa_runtime.bundle.manifest import CASCADE_NAME, DIGEST_NAME, MANIFEST_NAME, Manifest
from edge_msa_runtime.bundle.signature import SIGNATURE_FILES
from edge_msa_runtime.bundle.unlisted_files import check_unlisted_files
from edge_msa_runtime.cascade.manifest import CASCADE_DIGEST_NAME, CASCADE_SCHEMA, CascadeManifest
from edge_msa_runtime.encodings import check_native_path
from edge_msa_runtime.errors import BundleError, UsageError
from edge_msa_runtime.modalities import Subset

_CASCADE = "cascade"
_COPY_AGAIN = f"Copy the {_CASCADE} again"
_MAKE_AGAIN = "Make the cascade again"


@dataclasses.dataclass(frozen=True, repr=False)
class CascadeFolder:
    """A verified cascade.

    Attributes:
        path: absolute path of the folder.
        manifest: its description.
        members: the verified bundles, in the order in which they are asked.
        notes: remarks on the folder, such as files that are ignored.
    """

    path: Path
    manifest: CascadeManifest
    members: tuple[Bundle, ...]
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Return what the cascade contains, e.g. `<CascadeFolder cascade: text-nano, text-base>`."""
        return f"<CascadeFolder {self.manifest.name}: {', '.join(item.name for item in self.manifest.members)}>"


def is_cascade(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is the folder of a cascade, which may be damaged."""
    return isinstance(path, (str, os.PathLike)) and any(
        (Path(path) / name).is_file() for name in (CASCADE_NAME, CASCADE_DIGEST_NAME)
    )


def open_cascade(path: str | os.PathLike[str]) -> CascadeFolder:
    """Verify a cascade and its members.

    Raises:
        UsageError: the folder is not a cascade, or native libraries cannot open the path.
        BundleError: the description has another schema or is invalid; a file is missing, changed, not listed, or a link
            to a place outside the folder; a member is not a valid bundle; or the members do not fit together.
    """
    root = Path(path)
    if not is_cascade(path):
        raise UsageError(f"{str(path)!r} is not a cascade: it has no {CASCADE_NAME}. Pass the folder of a cascade.")
    check_native_path(root)
    root = root.resolve()
    try:
        manifest = _load_manifest(root)
        members = tuple(_open_member(root, member.name, member.folder, member.sha256) for member in manifest.members)
        listed = {CASCADE_NAME, CASCADE_DIGEST_NAME, *SIGNATURE_FILES}
        for member, bundle in zip(manifest.members, members):
            listed |= {f"{member.folder}/{name}" for name in (MANIFEST_NAME, DIGEST_NAME, *bundle.manifest.files)}
        notes = check_unlisted_files(root, listed, CASCADE_NAME, _CASCADE)
    except OSError as error:
        raise BundleError(f"Cannot read {error.filename}: {error.strerror}. {_COPY_AGAIN}.") from error
    check_members([bundle.manifest for bundle in members], [member.name for member in manifest.members])
    _check_routes(manifest, members[0].manifest)
    return CascadeFolder(root, manifest, members, notes)


def check_members(manifests: list[Manifest], names: list[str]) -> None:
    """Check that bundles can be members of one cascade: they take the same inputs and predict the same.

    Raises:
        BundleError: two differ. The message names them and the difference.
    """
    first = manifests[0]
    for manifest, name in zip(manifests[1:], names[1:]):
        pairs: dict[str, tuple[Any, Any]] = {
            "task": (first.task, manifest.task),
            "modalities": (", ".join(first.modalities), ", ".join(manifest.modalities)),
            "text input": (first.language is not None, manifest.language is not None),
        }
        for modality, spec in first.modalities.items():
            if modality in manifest.modalities and not (modality == "language" and first.language is not None):
                pairs[f"number of {modality} features"] = (spec.dim, manifest.modalities[modality].dim)
        for what, (expected, actual) in pairs.items():
            if expected != actual:
                raise BundleError(
                    f"The {what} of all members must be the same, got {_show(expected)} of {names[0]} and "
                    f"{_show(actual)} of {name}. Use bundles that take the same inputs and predict the same."
                )


def _show(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value.kind} ({', '.join(value.labels)})" if hasattr(value, "kind") else str(value)


def _load_manifest(root: Path) -> CascadeManifest:
    for name in (CASCADE_NAME, CASCADE_DIGEST_NAME):
        check_inside(root, name, _CASCADE)
    check_digest(root, CASCADE_NAME, read_digest(root / CASCADE_DIGEST_NAME), _CASCADE)
    try:
        value: Any = json.loads((root / CASCADE_NAME).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{CASCADE_NAME} is not valid JSON ({error}). {_MAKE_AGAIN}.") from error
    try:
        return CascadeManifest.from_json(value)
    except ValueError as error:
        other_schema = isinstance(value, dict) and value.get("schema", CASCADE_SCHEMA) != CASCADE_SCHEMA
        advice = "Install the edge-msa-runtime wheel from a member" if other_schema else _MAKE_AGAIN
        raise BundleError(f"{CASCADE_NAME}: {error}. {advice}.") from error


def _open_member(root: Path, name: str, folder: str, sha256: str) -> Bundle:
    path = root / folder
    # A link would lead to another folder, whose files the cascade does not have.
    if not path.is_dir() or path.resolve() != path:
        problem = "a link" if path.exists() else "missing"
        raise BundleError(f"{folder} is {problem}, but must be a folder of the cascade. {_COPY_AGAIN}.")
    check_inside(root, f"{folder}/{MANIFEST_NAME}", _CASCADE)
    if file_sha256(path / MANIFEST_NAME) != sha256:
        raise BundleError(f"{folder} is not the bundle that the cascade was made with. {_COPY_AGAIN}.")
    try:
        return open_bundle(path, container=_CASCADE)
    except (BundleError, UsageError) as error:
        raise BundleError(f"{name}: {error}") from error


def _check_routes(manifest: CascadeManifest, first: Manifest) -> None:
    """Refuse routes that do not fit the members, which only a defect of what made them can cause."""
    has_scores = first.task.is_score
    problems = ["coverages must be empty"] if manifest.coverages and not has_scores else []
    for subset, route in manifest.routes.items():
        unknown = [name for name in Subset(subset).modalities if name not in first.modalities]
        if unknown:
            problems.append(f"routes.{subset} needs {', '.join(unknown)}, which the members lack")
        elif not has_scores and any(stage.share != 1 for stage in route.stages):
            problems.append(f"routes.{subset} must have shares of 1")
    if problems:
        raise BundleError(f"{CASCADE_NAME}: {problems[0]}, for members that predict {first.task.kind}. {_MAKE_AGAIN}.")
