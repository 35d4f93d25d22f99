"""Opens a bundle: every byte is checked against its digest before a backend sees one, and nothing is written.

Order: `manifest.sha256` covers `manifest.json`, whose `files` cover everything else. A file too many is refused like
a file too few: it would travel with the bundle while nobody vouches for it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from pathlib import Path, PurePosixPath
from typing import Any, Iterable, Iterator

from edge_msa_runtime.backends import BACKENDS
from edge_msa_runtime.bundle.manifest import (
    DIGEST_NAME,
    GOLDEN_NAME,
    MANIFEST_NAME,
    SCHEMA,
    TEXT_ENCODERS,
    GraphSpec,
    Manifest,
    manifest_from_json,
)
from edge_msa_runtime.errors import BundleError, UsageError
from edge_msa_runtime.modalities import MODALITIES

_BLOCK = 1 << 20
_SHORT = 12
_AGAIN = "copy the bundle again"


@dataclasses.dataclass(frozen=True)
class Bundle:
    """A verified bundle: the folder's absolute `path` and its `manifest`."""

    path: Path
    manifest: Manifest

    def graph(self, backend: str, precision: str, role: str, scope: str = "") -> GraphSpec | None:
        """The graph of that role, or None where the bundle has none."""
        for spec in self.manifest.graphs:
            if (spec.backend, spec.precision, spec.role, spec.scope) == (backend, precision, role, scope):
                return spec
        return None

    def precisions(self, backend: str) -> tuple[str, ...]:
        """The precisions that the bundle has graphs of for a backend, in the manifest's order."""
        return tuple(dict.fromkeys(spec.precision for spec in self.manifest.graphs if spec.backend == backend))

    def graph_files(self, backend: str, precision: str) -> tuple[str, ...]:
        """Names of the graphs that a backend reads at a precision and of their weights, each once."""
        specs = [spec for spec in self.manifest.graphs if (spec.backend, spec.precision) == (backend, precision)]
        names = [spec.file for spec in specs] + [spec.weights for spec in specs if spec.weights]
        return tuple(dict.fromkeys(names))

    @property
    def text_files(self) -> tuple[str, ...]:
        """Names of the files that turn words into token ids or frames; every backend and precision needs them."""
        text = self.manifest.language
        return () if text is None else tuple(name for name in (text.tokenizer, text.table) if name)

    def needed_files(self, backend: str, precision: str) -> tuple[str, ...]:
        """All files that prediction takes with a backend at a precision, each once."""
        return self.graph_files(backend, precision) + self.text_files

    def size(self, names: Iterable[str]) -> int:
        """Bytes of some of its files together."""
        return sum((self.path / name).stat().st_size for name in names)

    @property
    def golden(self) -> Path | None:
        """The golden vectors' file, or None where the bundle has none."""
        return self.path / GOLDEN_NAME if GOLDEN_NAME in self.manifest.files else None


def open_bundle(path: str | os.PathLike[str]) -> Bundle:
    """Verify a bundle and read its manifest.

    Args:
        path: the bundle's folder.

    Raises:
        UsageError: there is no such folder, or it has no manifest at all.
        BundleError: the manifest or a file is missing, changed, not listed or outside the folder, or the schema is
            one that this runtime does not read.
    """
    root = Path(path)
    if not root.is_dir():
        raise UsageError(f"no bundle folder at {str(path)!r}; give the folder that has {MANIFEST_NAME} in it")
    if not (root / MANIFEST_NAME).exists() and not (root / DIGEST_NAME).exists():
        what = "it is a run" if (root / "run.json").exists() else f"it has no {MANIFEST_NAME}"
        raise UsageError(f"{str(path)!r} is no bundle, {what}; give the folder that edge-msa export wrote")
    root = root.resolve()
    try:
        manifest = _read_manifest(root)
        _check_contract(manifest)
        _check_files(root, manifest)
    except OSError as error:
        raise BundleError(f"the bundle cannot be read: {error.strerror}: {error.filename}; {_AGAIN}") from error
    return Bundle(root, manifest)


def digest(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file, in lower-case hex."""
    total = hashlib.sha256()
    with Path(path).open("rb") as file:
        for block in iter(lambda: file.read(_BLOCK), b""):
            total.update(block)
    return total.hexdigest()


def _read_manifest(root: Path) -> Manifest:
    for name in (MANIFEST_NAME, DIGEST_NAME):
        _inside(root, name)
    # `sha256sum` writes the file's name behind the digest; both forms are read.
    wanted = (root / DIGEST_NAME).read_text(encoding="utf-8", errors="replace").split()
    _compare(MANIFEST_NAME, wanted[0].lower() if wanted else "nothing", digest(root / MANIFEST_NAME))
    try:
        value: Any = json.loads((root / MANIFEST_NAME).read_text(encoding="utf-8"))
    except ValueError as error:
        raise BundleError(f"{MANIFEST_NAME} is no JSON ({error}); export the bundle again") from error
    try:
        return manifest_from_json(value)
    except ValueError as error:
        other = isinstance(value, dict) and value.get("schema", SCHEMA) != SCHEMA
        advice = "install the edge-msa-runtime wheel that is inside the bundle" if other else "export the bundle again"
        raise BundleError(f"{MANIFEST_NAME}: {error}; {advice}") from error


def _check_contract(manifest: Manifest) -> None:
    """Refuse a manifest that contradicts itself, which only a fault in what wrote it can cause."""
    if not manifest.modalities or set(manifest.modalities) - set(MODALITIES):
        raise BundleError(f"{MANIFEST_NAME} names modalities {sorted(manifest.modalities)}; export the bundle again")
    unknown = [name for name in manifest.backends if name not in BACKENDS]
    if unknown or not manifest.backends:
        raise BundleError(f"{MANIFEST_NAME} is for backends {list(manifest.backends)}; export the bundle again")
    for name, spec in manifest.modalities.items():
        widths = {spec.dim, len(spec.mean), len(spec.std)}
        if len(widths) != 1 or not any(state.name == "tokens" for state in spec.states):
            raise BundleError(
                f"{name} in {MANIFEST_NAME} has dim {spec.dim}, {len(spec.mean)} means, {len(spec.std)} deviations "
                f"and states {[state.name for state in spec.states]}; export the bundle again"
            )
    _check_text(manifest)
    named = [name for graph in manifest.graphs for name in (graph.file, graph.weights) if name]
    if manifest.language is not None:
        named += [name for name in (manifest.language.tokenizer, manifest.language.table) if name]
    for name in named:
        if name not in manifest.files:
            raise BundleError(f"{name} has no digest in {MANIFEST_NAME}; export the bundle again")


def _check_text(manifest: Manifest) -> None:
    text = manifest.language
    if text is None:
        return
    fits = (
        text.text_encoder in TEXT_ENCODERS
        and bool(text.table) == (text.text_encoder == "table")
        and text.max_tokens >= 1
    )
    if not fits or "language" not in manifest.modalities:
        raise BundleError(
            f"{MANIFEST_NAME} reads words by {text.text_encoder!r} with table {text.table!r} and {text.max_tokens} tokens, "
            f"its modalities are {', '.join(manifest.modalities)}; export the bundle again"
        )


def _check_files(root: Path, manifest: Manifest) -> None:
    for name in manifest.files:
        _refuse_traversal(name)
    listed = {MANIFEST_NAME, DIGEST_NAME, *manifest.files}
    unlisted = sorted(set(_walk(root)) - listed)
    if unlisted:
        raise BundleError(f"{unlisted[0]} is in the bundle and not in its manifest; remove it or {_AGAIN}")
    for name, wanted in manifest.files.items():
        _inside(root, name)
        _compare(name, wanted, digest(root / name))


def _refuse_traversal(name: str) -> None:
    pure = PurePosixPath(name)
    # A backslash or a colon means nothing on Linux and leaves the folder on Windows.
    if not name or pure.is_absolute() or ".." in pure.parts or str(pure) != name or set(name) & set("\\:"):
        raise BundleError(f"{MANIFEST_NAME} lists {name!r}, which is no plain name inside the bundle; do not use it")


def _inside(root: Path, name: str) -> None:
    path = root / name
    if not path.is_file():
        raise BundleError(f"{name} is missing from the bundle; {_AGAIN}")
    resolved = path.resolve()
    if root not in resolved.parents:
        raise BundleError(f"{name} is a link out of the bundle; {_AGAIN} with the file itself")


def _walk(root: Path) -> Iterator[str]:
    """Names of all files below; a linked folder counts as a file, so that it is refused as one not listed."""
    for folder, folders, files in os.walk(str(root)):
        here = Path(folder)
        linked = [name for name in folders if (here / name).is_symlink()]
        for name in files + linked:
            yield (here / name).relative_to(root).as_posix()


def _compare(name: str, wanted: str, found: str) -> None:
    if wanted != found:
        raise BundleError(
            f"{name} has changed: its SHA-256 is {found[:_SHORT]}, the bundle says {wanted[:_SHORT]}; {_AGAIN}"
        )
