"""Parse archives: this project's own feature files, `.npz` without pickles.

An archive has these arrays for each of its splits (`train`, `valid`, `test`) and each modality of the split:

- `header`: a JSON string with `schema` (1), `name`, `task` (its name, its fields, or null), `notes`, and optionally
  `clip_labels` (false keeps labels that are slightly beyond the task's scale) and `features`: a
  `FeatureSource` of `edge_msa_runtime.features` for each modality where something is known. Archives of earlier
  versions have `frame_rates` in Hz instead
- `train/labels`: scores (N,), emotions (N, E) with values 0 and 1, or classes: indices (N,), one-hot rows (N, K) or
  text (N,). NaN, and empty text, for samples without a label
- `class_names` (K,): text, optional. The names of classes in the order of their indices, unless the task has them
- `train/ids`, `train/groups`, `train/texts` (transcripts): text (N,), optional. A split without labels must have `ids`
- `train/positions`: number or start in seconds of each sample inside its video (its group), (N,), NaN where unknown;
  optional. Without it, ids such as `video[3]` or `video$_$3` tell the order
- `train/audio`: (N, T, d) float32; or `train/language_ids`: (N, T) integers, rows of `language_table` (V, d), which
  all splits share
- `train/audio_valid`: (N, T) bool. Required with ids. Optional with frames; without it, zero frames at both ends
  are padding

Features that are not finite are an error. They are not replaced, because an archive can mark their frames as not valid.
"""

from __future__ import annotations

import dataclasses
import json
import math
from typing import TYPE_CHECKING, Any, Mapping

import numpy as np

from edge_msa_runtime.errors import DataError
from edge_msa_runtime.features import FeatureSource, parse_features
from edge_msa_runtime.inputs.class_names import KEYS as CLASS_NAMES
from edge_msa_runtime.inputs.class_names import find_labels, stated_class_names
from edge_msa_runtime.inputs.frames import RawFrames, RawSplit
from edge_msa_runtime.inputs.split_names import SPLITS, find_splits, ignored_split_note
from edge_msa_runtime.modalities import MODALITIES

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_msa_runtime.inputs.npz_files import Arrays
    from edge_msa_runtime.inputs.split_names import SplitName

SCHEMA = 1
HEADER = "header"
FIELDS = (
    "ids",
    "groups",
    "labels",
    "classes",
    "texts",
    "positions",
    *(m + end for m in MODALITIES for end in ("", "_ids", "_valid")),
)


@dataclasses.dataclass(frozen=True)
class Archive:
    """The content of an archive.

    Attributes:
        name: name of the corpus.
        task: what the header states about the task: a name, fields, or None.
        features: what is known about the features, by modality.
        clip_labels: whether labels slightly beyond the task's scale are clipped; None if the header does not say.
        notes: what loading the original file changed or dropped, and which splits are ignored.
        splits: the splits.
    """

    name: str
    task: Any
    features: Mapping[str, FeatureSource]
    clip_labels: bool | None
    notes: tuple[str, ...]
    splits: Mapping[SplitName, RawSplit]


def parse_archive(arrays: Arrays, path: Path) -> Archive:
    """Return the content of the arrays of an archive.

    Raises:
        DataError: The archive has another schema, an unknown array, an invalid header, or a value that is not finite.
    """
    header = _parse_header(arrays, path)
    _check_names(arrays, path)
    check_finite(arrays, path)
    keys = find_splits(dict.fromkeys(name.partition("/")[0] for name in arrays if "/" in name), path)
    notes = [*header["notes"], *(ignored_split_note(key, _count(arrays, key)) for key in keys.unknown)]
    if not keys.known:
        raise DataError(f"{path} must have the splits {', '.join(SPLITS)}, got {', '.join(keys.unknown) or 'none'}.")
    splits = {split: _raw_split(arrays, split, key, path) for split, key in keys.known.items()}
    return Archive(header["name"], header["task"], header["features"], header["clip_labels"], tuple(notes), splits)


def check_finite(arrays: Arrays, path: Path) -> None:
    """Check that all features are finite, and that no label and no position is infinite.

    Raises:
        DataError: The message names the array and the first position.
    """
    for name, array in arrays.items():
        if not np.issubdtype(array.dtype, np.floating):
            continue
        may_be_unknown = name.endswith(("/labels", "/positions"))
        bad = np.isinf(array) if may_be_unknown else ~np.isfinite(array)
        if bad.any():
            first = tuple(int(axis) for axis in np.argwhere(bad)[0])
            kinds = "inf" if may_be_unknown else "NaN or inf"
            raise DataError(
                f"{name} of {path} must be finite, got {int(bad.sum())} {kinds} values, the first at {list(first)}. "
                f"{_how_to_fix(name)}"
            )


def _how_to_fix(name: str) -> str:
    if name.endswith("/labels"):
        return "Correct these labels, or set them to NaN for samples without a label."
    if name.endswith("/positions"):
        return "Correct these positions, or set them to NaN where they are unknown."
    if name.endswith("_table"):
        return "Set them to 0."
    return "Set them to 0 and mark their frames as not valid."


def _parse_header(arrays: Arrays, path: Path) -> dict[str, Any]:
    try:
        header = json.loads(str(arrays[HEADER]))
    except (ValueError, RecursionError) as error:
        raise DataError(f"The header of {path} must be JSON ({error}).") from None
    if not isinstance(header, dict):
        raise DataError(f"The header of {path} must be a JSON object.")
    if header.get("schema") != SCHEMA:
        raise DataError(f"{path} must have schema {SCHEMA}, got {header.get('schema')!r}. Convert it again.")
    notes = header.get("notes", [])
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
        raise DataError(f"notes in the header of {path} must be a list of texts, got {notes!r:.60}.")
    name = header.get("name", path.stem)
    if not isinstance(name, str):
        raise DataError(f"name in the header of {path} must be a text, got {name!r:.60}.")
    clip_labels = header.get("clip_labels")
    if clip_labels is not None and not isinstance(clip_labels, bool):
        raise DataError(f"clip_labels in the header of {path} must be true or false, got {clip_labels!r:.60}.")
    fields = {"name": name, "task": header.get("task"), "features": _parse_features(header, path), "notes": notes}
    return {**fields, "clip_labels": clip_labels}


def _parse_features(header: dict[str, Any], path: Path) -> dict[str, FeatureSource]:
    """Return the sources of the features by modality. Archives of earlier versions state only frame rates."""
    try:
        features = parse_features(header.get("features", {}), "features")
    except ValueError as error:
        raise DataError(f"The header of {path} is invalid: {error}. Correct or omit it.") from None
    rates = _parse_frame_rates(header.get("frame_rates", {}), path)
    if rates and features:
        raise DataError(f"The header of {path} must have features or frame_rates, got both. State rate_hz in features.")
    return features or {name: FeatureSource(rate_hz=rate) for name, rate in rates.items()}


def _parse_frame_rates(stated: Any, path: Path) -> dict[str, float]:
    where = f"frame_rates in the header of {path}"
    if not isinstance(stated, dict):
        raise DataError(f"{where} must be an object of numbers, got {stated!r:.60}.")
    for name, rate in stated.items():
        if name not in MODALITIES:
            raise DataError(f"{where} must be for {', '.join(MODALITIES)}, got {name!r}.")
        number = isinstance(rate, (int, float)) and not isinstance(rate, bool)
        if not number or not 0 < rate < math.inf:
            raise DataError(f"{where} must be positive numbers in Hz, got {rate!r:.60} for {name}. Correct or omit it.")
    return {name: float(rate) for name, rate in stated.items()}


def _check_names(arrays: Arrays, path: Path) -> None:
    """Reject unknown arrays: a misspelled name would silently drop a modality."""
    for name in sorted(arrays):
        split, _, field = name.partition("/")
        if name not in {HEADER, *CLASS_NAMES, *(f"{m}_table" for m in MODALITIES)} and field not in FIELDS:
            raise DataError(f"Unknown array {name!r} in {path}. Arrays of a split: {', '.join(FIELDS)}.")
        if field and not split:
            raise DataError(f"The array {name!r} in {path} must start with the name of a split: {', '.join(SPLITS)}.")


def _count(arrays: Arrays, key: str) -> int:
    """Return the number of samples of a split: that of the first array that has an axis."""
    return next((len(arrays[f"{key}/{field}"]) for field in FIELDS if np.ndim(arrays.get(f"{key}/{field}", 0))), 0)


def _raw_split(arrays: Arrays, split: SplitName, key: str, path: Path) -> RawSplit:
    labels = find_labels(arrays, "labels", f"{key}/")
    ids = _texts(arrays, f"{key}/ids", path)
    if ids is None:
        if labels is None:
            raise DataError(f"{path} must have {key}/labels, or {key}/ids for a split without labels.")
        ids = [f"{split}-{row}" for row in range(len(np.atleast_1d(labels)))]
    modalities = {
        modality: RawFrames(
            values=arrays.get(f"{key}/{modality}"),
            ids=arrays.get(f"{key}/{modality}_ids"),
            table=_load_table(arrays, key, modality, path),
            valid=_mask(arrays, f"{key}/{modality}_valid", path),
        )
        for modality in MODALITIES
        if f"{key}/{modality}" in arrays or f"{key}/{modality}_ids" in arrays
    }
    groups = _texts(arrays, f"{key}/groups", path)
    texts = _texts(arrays, f"{key}/texts", path) or ()
    positions = _positions(arrays, f"{key}/positions", path)
    return RawSplit(ids, labels, modalities, groups, texts, positions, stated_class_names(arrays))


def _texts(arrays: Arrays, name: str, path: Path) -> list[str] | None:
    """Return an array of one text (or number) per sample as texts; None if the archive does not have it."""
    array = arrays.get(name)
    if array is None:
        return None
    if array.ndim != 1 or array.dtype.kind not in "USiu":
        raise DataError(f"{name} of {path} must be an array of texts (samples,), got {array.dtype} {array.shape}.")
    return [item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item) for item in array.tolist()]


def _positions(arrays: Arrays, name: str, path: Path) -> list[float] | None:
    array = arrays.get(name)
    if array is None:
        return None
    if array.ndim != 1 or array.dtype.kind not in "fiu":
        raise DataError(f"{name} of {path} must be an array of numbers (samples,), got {array.dtype} {array.shape}.")
    positions: list[float] = array.astype(np.float64).tolist()
    return positions


def _mask(arrays: Arrays, name: str, path: Path) -> NDArray[Any] | None:
    mask = arrays.get(name)
    if mask is not None and mask.dtype.kind not in "biu":
        raise DataError(f"{name} of {path} must be an array of bool (samples, frames), got {mask.dtype} {mask.shape}.")
    return mask


def _load_table(arrays: Arrays, key: str, modality: str, path: Path) -> NDArray[np.float32] | None:
    if f"{key}/{modality}_ids" not in arrays:
        return None
    table = arrays.get(f"{modality}_table")
    if table is None or table.ndim != 2 or not np.issubdtype(table.dtype, np.floating):
        raise DataError(f"{path} has {key}/{modality}_ids, so it must have {modality}_table (V, d) of floats.")
    # One object for all splits, so that normalization and embedding process it once.
    arrays[f"{modality}_table"] = table.astype(np.float32, copy=False)
    return arrays[f"{modality}_table"]
