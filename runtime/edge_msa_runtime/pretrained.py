"""Find the pretrained bundles of the installed package `edge-msa-pretrained`.

The package is a folder of data: `index.json` and one folder per bundle. The index has the digest of each bundle's
manifest, which has the digests of all other files. A bundle that was damaged or replaced is therefore refused. Nothing
is imported or downloaded.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib.util
import json
import re
from pathlib import Path
from typing import Any, Mapping

from edge_msa_runtime.bundle.hashing import file_sha256
from edge_msa_runtime.bundle.manifest import MANIFEST_NAME
from edge_msa_runtime.errors import BundleError, PackageImportError, UsageError

PACKAGE = "edge_msa_pretrained"
DISTRIBUTION = "edge-msa-pretrained"
INDEX_NAME = "index.json"
INDEX_SCHEMA = 1
_REINSTALL = f"Run: pip install --force-reinstall {DISTRIBUTION}"
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclasses.dataclass(frozen=True)
class PretrainedModel:
    """A pretrained model of the index.

    Attributes:
        name: name of the model, such as `text-nano`.
        title: what it predicts, in one line.
        sha256: SHA-256 of the manifest of its bundle.
        size: size of the bundle's files in bytes.
        folder: the bundle's folder in the installed package; None if it is only on the hub.
        hub: `OWNER/NAME@REVISION` on the Hugging Face hub; None if it is in the package.
        card: the statements of the model card: training data, terms, metrics, and what the model must not be used for.
    """

    name: str
    title: str
    sha256: str
    size: int
    folder: Path | None
    hub: str | None
    card: Mapping[str, Any]


def find_package() -> Path | None:
    """Return the folder of the installed package, or None if it is not installed. The package is not imported."""
    try:
        spec = importlib.util.find_spec(PACKAGE)
    except ValueError:  # a module of this name without a specification is no installed package
        return None
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    return Path(folders[0]) if folders else None


def load_index() -> Mapping[str, PretrainedModel]:
    """Return the pretrained models by name.

    Raises:
        PackageImportError: the package `edge-msa-pretrained` is not installed.
        BundleError: its index is damaged.
    """
    folder = find_package()
    if folder is None:
        raise PackageImportError(f"The package {DISTRIBUTION} is not installed", DISTRIBUTION, PACKAGE)
    path = folder / INDEX_NAME
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if value["schema"] != INDEX_SCHEMA:
            raise BundleError(
                f"The schema of {path} must be {INDEX_SCHEMA}, got {value['schema']}. Install the versions of "
                f"{DISTRIBUTION} and edge-msa-runtime that belong together."
            )
        return {name: _parse_model(folder, name, item) for name, item in value["models"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{path} is damaged ({error!r}). {_REINSTALL}") from error


def find_model(name: str) -> PretrainedModel:
    """Return a pretrained model of the index.

    Raises:
        UsageError: the index has no such model. The message lists those that it has.
        PackageImportError: the package `edge-msa-pretrained` is not installed.
        BundleError: its index is damaged.
    """
    models = load_index()
    if name not in models:
        close = difflib.get_close_matches(name, list(models), n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        available = ", ".join(models) or "none"
        raise UsageError(f"Unknown pretrained model {name!r}.{hint} Available: {available}. Pass one of them.")
    return models[name]


def pretrained_bundle(name: str) -> Path:
    """Return the folder of a pretrained bundle, for `load`. Nothing is downloaded.

    Args:
        name: name of the model, such as `text-nano`. `edge-msa pretrained list` lists them.

    Raises:
        UsageError: there is no such model, or it is only on the hub.
        PackageImportError: the package `edge-msa-pretrained` is not installed.
        BundleError: the bundle is not the one of the index.
    """
    model = find_model(name)
    if model.folder is None:
        raise UsageError(
            f"The bundle of {name} is not installed. Download it with `edge-msa pretrained get {name} --output-dir "
            f"{name}`, and pass the folder {name}."
        )
    check_bundle_digest(model.folder, model.sha256)
    return model.folder


def check_bundle_digest(folder: Path, sha256: str) -> None:
    """Check that a folder has the bundle with this digest. `open_bundle` checks its files.

    Raises:
        BundleError: the manifest is missing, or another one.
    """
    try:
        actual = file_sha256(folder / MANIFEST_NAME)
    except OSError as error:
        raise BundleError(f"Cannot read {folder / MANIFEST_NAME}: {error.strerror}. {_REINSTALL}") from error
    if actual != sha256:
        raise BundleError(
            f"{folder} is not the bundle that was published: the SHA-256 of its {MANIFEST_NAME} must be {sha256}, got "
            f"{actual}. Do not use it. Get it again from where it was published."
        )


def _parse_model(folder: Path, name: str, value: Mapping[str, Any]) -> PretrainedModel:
    """Return a model of the index.

    Raises:
        ValueError: a value is invalid.
        KeyError: a value is missing.
    """
    if not _NAME.fullmatch(name) or not _SHA256.fullmatch(value["sha256"]):
        raise ValueError(f"invalid name or digest of {name!r}")
    hub = value.get("hub")
    return PretrainedModel(
        name=name,
        title=str(value["title"]),
        sha256=value["sha256"],
        size=int(value["bytes"]),
        folder=None if hub else folder / name,
        hub=None if hub is None else str(hub),
        card=dict(value["card"]),
    )
