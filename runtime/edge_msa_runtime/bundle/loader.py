"""Open a bundle and verify every byte of it before a backend loads anything. Opening writes nothing.

`manifest.sha256` covers `manifest.json`, whose `files` cover everything else. Files that are not listed are never read;
`unlisted_files` decides which of them are refused. Digests show that a bundle is consistent with its own manifest. They
do not show who made it: that is what `signature` verifies.
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path, PurePosixPath
from typing import Any, Iterable

from edge_msa_runtime.backend_info import BACKENDS
from edge_msa_runtime.bundle.graph_files import check_graph_files
from edge_msa_runtime.bundle.hashing import file_sha256
from edge_msa_runtime.bundle.manifest import (
    CASCADE_NAME,
    DIGEST_NAME,
    GOLDEN_NAME,
    MANIFEST_NAME,
    SCHEMA,
    TEXT_ENCODERS,
    GraphKey,
    GraphSpec,
    Manifest,
)
from edge_msa_runtime.bundle.signature import SIGNATURE_FILES
from edge_msa_runtime.bundle.unlisted_files import check_unlisted_files, is_code
from edge_msa_runtime.encodings import check_native_path
from edge_msa_runtime.errors import BundleError, UsageError
from edge_msa_runtime.modalities import MODALITIES

_SHOWN_DIGITS = 12
_EXPORT_AGAIN = "Export the bundle again"


@dataclasses.dataclass(frozen=True, repr=False)
class Bundle:
    """A verified bundle.

    Attributes:
        path: absolute path of the folder.
        manifest: the manifest.
        notes: remarks on the folder, such as files that the manifest does not list and that are ignored.
    """

    path: Path
    manifest: Manifest
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Return what the bundle contains, e.g. `<Bundle bundle-laptop for laptop-x86: openvino fp32/int8>`."""
        backends = ", ".join(f"{name} {'/'.join(self.precisions(name))}" for name in self.manifest.backends)
        return f"<Bundle {self.manifest.name} for {self.manifest.target}: {backends}>"

    def graph(self, backend: str, precision: str, key: GraphKey) -> GraphSpec | None:
        """Return a graph of a backend at a precision, or None if the bundle does not have it."""
        for spec in self.manifest.graphs:
            if (spec.backend, spec.precision, spec.key) == (backend, precision, key):
                return spec
        return None

    def precisions(self, backend: str) -> tuple[str, ...]:
        """Return the precisions for which the bundle has graphs of a backend, in the order of the manifest."""
        return tuple(dict.fromkeys(spec.precision for spec in self.manifest.graphs if spec.backend == backend))

    def choose_precision(self, backend: str, precision: str | None) -> str:
        """Return `precision`, or the precision that the bundle chose for a backend if it is None.

        Raises:
            UsageError: the bundle has no graphs of the backend at that precision.
        """
        available = self.precisions(backend)
        chosen = precision if precision is not None else self.manifest.precision.get(backend, "")
        if chosen not in available:
            raise UsageError(
                f"This bundle has no {chosen or 'default'} graphs for {backend}. "
                f"Available: {', '.join(available) or 'none'}. Choose another precision or backend."
            )
        return chosen

    def graph_files(self, backend: str, precision: str) -> tuple[str, ...]:
        """Return the paths of the graphs of a backend at a precision and of their weights, each once."""
        specs = [spec for spec in self.manifest.graphs if (spec.backend, spec.precision) == (backend, precision)]
        names = [spec.file for spec in specs] + [spec.weights for spec in specs if spec.weights]
        return tuple(dict.fromkeys(names))

    @property
    def text_files(self) -> tuple[str, ...]:
        """The paths of the tokenizer and the embedding table, which every backend and precision needs."""
        text = self.manifest.language
        return () if text is None else tuple(name for name in (text.tokenizer, text.table) if name)

    def needed_files(self, backend: str, precision: str) -> tuple[str, ...]:
        """Return the paths of all files that a prediction with a backend at a precision needs, each once."""
        return self.graph_files(backend, precision) + self.text_files

    def size(self, names: Iterable[str]) -> int:
        """Return the total size in bytes of some files of the bundle."""
        return sum((self.path / name).stat().st_size for name in names)

    @property
    def golden(self) -> Path | None:
        """The file of the golden vectors, or None if the bundle has none."""
        return self.path / GOLDEN_NAME if GOLDEN_NAME in self.manifest.files else None


def open_bundle(path: str | os.PathLike[str], *, container: str = "bundle") -> Bundle:
    """Verify a bundle and load its manifest.

    Args:
        path: the bundle's folder.
        container: what to copy again if a file is damaged: the bundle, or the cascade that it is a member of.

    Raises:
        UsageError: `path` is not a folder, the folder has no manifest, or native libraries cannot open the path.
        BundleError: the manifest has another schema or is inconsistent; a file is missing, changed, or a link to a
            place outside the folder; a graph refers to anything but its own weights; or a file is not listed and is not
            clutter of an operating system or editor.
    """
    if not isinstance(path, (str, os.PathLike)) or not str(path):
        raise UsageError(f"The bundle must be the path of a folder, got {path!r}.")
    root = Path(path)
    if not root.is_dir():
        problem = f"{str(path)!r} is a file" if root.is_file() else f"No folder at {str(path)!r}"
        raise UsageError(f"{problem}. Pass the folder that contains {MANIFEST_NAME}.")
    if not (root / MANIFEST_NAME).exists() and not (root / DIGEST_NAME).exists():
        reason = f"It has no {MANIFEST_NAME}"
        for name, kind in (("run.json", "run"), (CASCADE_NAME, "cascade")):
            if (root / name).exists():
                reason = f"It is a {kind}"
        raise UsageError(f"{str(path)!r} is not a bundle. {reason}. Pass the folder of a bundle.")
    check_native_path(root)
    root = root.resolve()
    try:
        manifest = _load_manifest(root, container)
        _check_consistency(manifest)
        notes = _check_files(root, manifest, container)
        check_graph_files(root, manifest.graphs)
    except OSError as error:
        raise BundleError(f"Cannot read {error.filename}: {error.strerror}. Copy the {container} again.") from error
    return Bundle(root, manifest, notes)


def _load_manifest(root: Path, container: str) -> Manifest:
    for name in (MANIFEST_NAME, DIGEST_NAME):
        check_inside(root, name, container)
    check_digest(root, MANIFEST_NAME, read_digest(root / DIGEST_NAME), container)
    try:
        value: Any = json.loads((root / MANIFEST_NAME).read_text(encoding="utf-8"))
    except ValueError as error:
        raise BundleError(f"{MANIFEST_NAME} is not valid JSON ({error}). {_EXPORT_AGAIN}.") from error
    try:
        return Manifest.from_json(value)
    except ValueError as error:
        other_schema = isinstance(value, dict) and value.get("schema", SCHEMA) != SCHEMA
        advice = "Install the edge-msa-runtime wheel from the bundle" if other_schema else _EXPORT_AGAIN
        raise BundleError(f"{MANIFEST_NAME}: {error}. {advice}.") from error


def _check_consistency(manifest: Manifest) -> None:
    """Refuse a manifest that contradicts itself, which only a defect of the exporter can cause."""
    if not manifest.modalities or set(manifest.modalities) - set(MODALITIES):
        names = ", ".join(sorted(manifest.modalities))
        raise _inconsistent(f"modalities must be some of {', '.join(MODALITIES)}, got {names or 'none'}")
    if not manifest.backends or set(manifest.backends) - set(BACKENDS):
        raise _inconsistent(
            f"backends must be some of {', '.join(BACKENDS)}, got {', '.join(manifest.backends) or 'none'}"
        )
    for name, spec in manifest.modalities.items():
        if not any(state.name == "tokens" for state in spec.states):
            names = ", ".join(state.name for state in spec.states)
            raise _inconsistent(f"modalities.{name}.states must contain tokens, got {names or 'none'}")
    _check_text(manifest)
    _check_calibration(manifest)
    files = [name for graph in manifest.graphs for name in (graph.file, graph.weights) if name]
    if manifest.language is not None:
        files += [name for name in (manifest.language.tokenizer, manifest.language.table) if name]
    for name in files:
        if name not in manifest.files:
            raise _inconsistent(f"files must list {name}")


def _check_text(manifest: Manifest) -> None:
    text = manifest.language
    if text is None:
        return
    if "language" not in manifest.modalities:
        raise _inconsistent("language must be null, because modalities does not contain language")
    if text.text_encoder not in TEXT_ENCODERS:
        raise _inconsistent(
            f"language.text_encoder must be one of {', '.join(TEXT_ENCODERS)}, got {text.text_encoder!r}"
        )
    if bool(text.table) != (text.text_encoder == "table"):
        raise _inconsistent(
            f"language.table must be set for a table and empty for an encoder, got {text.table!r} for a "
            f"{text.text_encoder}"
        )
    if text.max_tokens < 1:
        raise _inconsistent(f"language.max_tokens must be at least 1, got {text.max_tokens}")
    if text.context and text.text_encoder == "table":
        raise _inconsistent(f"language.context must be 0 for a table, got {text.context}")


def _check_calibration(manifest: Manifest) -> None:
    """Check that what was calibrated belongs to the task and the modalities."""
    task, classes = manifest.task, manifest.class_calibration
    if not task.is_score:
        for name, value in (("intervals", manifest.intervals), ("context", manifest.context)):
            if value is not None:
                raise _inconsistent(f"{name} must be null for {task.kind}")
    if classes is not None and task.kind != "classes":
        raise _inconsistent(f"class_calibration must be left out for {task.kind}")
    tables = {"intervals": manifest.intervals, "class_calibration.sets": None if classes is None else classes.sets}
    for name, calibration in tables.items():
        unknown = sorted(set(calibration.typical_frames if calibration else ()) - set(manifest.modalities))
        if unknown:
            raise _inconsistent(f"{name}.typical_frames must not have {', '.join(unknown)}, which modalities lacks")


def _inconsistent(message: str) -> BundleError:
    return BundleError(f"{MANIFEST_NAME}: {message}. {_EXPORT_AGAIN}.")


def _check_files(root: Path, manifest: Manifest, container: str) -> tuple[str, ...]:
    """Check the listed files, and return notes on the others."""
    for name in manifest.files:
        check_file_name(name)
    listed = {MANIFEST_NAME, DIGEST_NAME, *SIGNATURE_FILES, *manifest.files}
    notes = check_unlisted_files(root, listed, container=container)
    for name, expected in manifest.files.items():
        check_inside(root, name, container)
        check_digest(root, name, expected, container)
    return notes


def check_file_name(name: str) -> None:
    """Check that a name of a manifest's `files` is a path inside the bundle, and no code.

    Raises:
        BundleError: it is not.
    """
    pure = PurePosixPath(name)
    # A backslash or a colon is an ordinary character on Linux, but leads out of the folder on Windows.
    if not name or pure.is_absolute() or ".." in pure.parts or str(pure) != name or set(name) & set("\\:"):
        raise BundleError(
            f"{MANIFEST_NAME} lists {name!r}, which is not a path inside the bundle. Do not use the bundle."
        )
    if is_code(name):
        # Python and other programs import modules from the folder that they are started in.
        raise BundleError(f"{MANIFEST_NAME} lists {name}, which is code. Do not use the bundle.")


def read_digest(path: Path) -> str:
    """Return the digest in a file. `sha256sum` writes a file's name after it; a digest alone is accepted too."""
    words = path.read_text(encoding="utf-8", errors="replace").split()
    return words[0].lower() if words else "nothing"


def check_inside(root: Path, name: str, container: str = "bundle") -> None:
    """Check that a file is in a folder, and no link to a place outside. The advice is to copy `container` again.

    Raises:
        BundleError: it is not.
    """
    path = root / name
    if not path.is_file():
        raise BundleError(f"{name} is missing from the {container}. Copy the {container} again.")
    if root not in path.resolve().parents:
        raise BundleError(
            f"{name} is a link to a file outside the {container}. Copy the {container} again with the file itself."
        )


def check_digest(root: Path, name: str, expected: str, container: str = "bundle") -> None:
    """Check the SHA-256 of a file. The advice is to copy `container` again.

    Raises:
        BundleError: it differs.
    """
    actual = file_sha256(root / name)
    if actual != expected:
        raise BundleError(
            f"{name} has changed: its SHA-256 must start with {expected[:_SHOWN_DIGITS]}, "
            f"got {actual[:_SHOWN_DIGITS]}. Copy the {container} again."
        )
