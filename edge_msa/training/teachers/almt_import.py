"""Import checkpoints of ALMT that others trained, with the tensor names of the authors or of MMSA.

All sizes are derived from the shapes of the tensors. A checkpoint is untrusted input: it is loaded with
`weights_only=True`, and every tensor must belong to the network.
"""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_msa.errors import DataError
from edge_msa.models.almt import SCALES, Almt, AlmtConfig
from edge_msa.training.predict import weights_to_numpy
from edge_msa_runtime.modalities import MODALITIES

_WRAPPERS = ("module.", "Model.")
"""Prefixes that DataParallel and MMSA add to every name."""
_BERT = "bertmodel."
_RENAMED = {
    "embedding_l": "proj_l",
    "embedding_a": "proj_a",
    "embedding_v": "proj_v",
    "regression_head": "regression_layer.0",
}
"""First part of tensor names: from MMSA's name to the authors' name."""
_FUSION = "fusion_layer.CrossTransformerEncoder.layers"
_AHL = "h_hyper_layer.layers"
_MAX_LISTED = 3
"""Maximum number of tensors named in an error message."""
_MAX_SIZE = 1 << 16
"""Larger than any size of a real checkpoint. Networks with larger sizes are not built."""


@dataclass(frozen=True)
class ImportedAlmt:
    """The result of `import_almt`."""

    weights: dict[str, NDArray[np.float32]]
    """Weights by the authors' names."""
    config: AlmtConfig
    """Sizes of the network."""
    notes: tuple[str, ...]
    """Notes about omitted tensors."""


def import_almt(path: Path) -> ImportedAlmt:
    """Load a checkpoint of ALMT.

    Args:
        path: A state dict written by `torch.save`, or a dict that contains one as `state_dict`. Tensors of BERT are
            ignored.

    Raises:
        DataError: The file cannot be read, would execute code, or is not a state dict of ALMT; or tensors are missing,
            unexpected, or have the wrong shape.
    """
    tensors, notes = _rename_tensors(_state_dict(path), path)
    config = _derive_config(tensors)
    with torch.device("meta"):
        network = Almt(config)
    _check_tensors({name: tuple(value.shape) for name, value in network.state_dict().items()}, tensors, path)
    network = network.to_empty(device="cpu")
    network.load_state_dict(tensors)
    return ImportedAlmt(weights_to_numpy(network), config, notes)


def _state_dict(path: Path) -> dict[str, Tensor]:
    content = _load_file(path)
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not content:
        actual = "an empty dict" if isinstance(content, Mapping) else f"a {type(content).__name__}"
        raise DataError(f"{path} must contain a state dict, got {actual}. Save model.state_dict().")
    for name, value in content.items():
        if not isinstance(name, str):
            raise DataError(f"{path} must contain a state dict, got the key {name!r}. Save model.state_dict().")
        if not isinstance(value, Tensor):
            raise DataError(
                f"{path} must contain a state dict, got a {type(value).__name__} as {name!r}. Save model.state_dict()."
            )
    return dict(content)


def _load_file(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about formats that are rejected below
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror or error}. Pass a checkpoint.") from None
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        if named:
            raise DataError(
                f"{path} requires {named[1]!r}, which could execute code. Save only tensors, with model.state_dict()."
            ) from None
        raise DataError(f"{path} is damaged, or not a checkpoint of tensors. Save model.state_dict().") from None
    except Exception as error:  # noqa: BLE001 - for damaged files torch raises arbitrary exceptions
        reason = str(error).splitlines()[0].partition(". ")[0] if str(error) else type(error).__name__
        raise DataError(f"{path} is damaged, or was not written by torch.save: {reason}.") from None


def _rename_tensors(tensors: Mapping[str, Tensor], path: Path) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Return the tensors of ALMT by the authors' names, and notes about omitted tensors."""
    named: dict[str, Tensor] = {}
    dropped = 0
    for original, value in tensors.items():
        name = original
        for wrapper in _WRAPPERS:
            name = name.removeprefix(wrapper)
        if name.startswith(_BERT):
            dropped += 1
            continue
        first, dot, rest = name.partition(".")
        name = f"{_RENAMED.get(first, first)}{dot}{rest}"
        if name in named:
            raise DataError(f"{path} contains {name} twice, once as {original}. Remove one of the two.")
        named[name] = value
    bert = f"Omitted {dropped} tensors of BERT; pass its token features as the language modality."
    return named, (bert,) if dropped else ()


def _derive_config(tensors: Mapping[str, Tensor]) -> AlmtConfig:
    """Derive sizes from the tensors. An unknown size becomes 1, and `_check_tensors` then reports the tensor."""
    dims, lengths = {}, {}
    tokens = _size(tensors, "h_hyper", 1)
    for name in MODALITIES:
        prefix = f"proj_{name[0]}"
        dims[name] = _size(tensors, f"{prefix}.0.weight", 1)
        lengths[name] = max(1, _size(tensors, f"{prefix}.1.pos_embedding", 1) - tokens)
    return AlmtConfig(
        dims,
        lengths,
        fusion_depth=max(1, len(_layer_numbers(tensors, _FUSION))),
        outputs=_size(tensors, "regression_layer.0.weight", 0),
        tokens=tokens,
        share_ahl=_layer_numbers(tensors, _AHL).isdisjoint(map(str, range(1, SCALES))),
    )


def _size(tensors: Mapping[str, Tensor], name: str, axis: int) -> int:
    shape = tensors[name].shape if name in tensors else ()
    return shape[axis] if axis < len(shape) and 0 < shape[axis] <= _MAX_SIZE else 1


def _layer_numbers(tensors: Collection[str], prefix: str) -> set[str]:
    """Return the numbers of the layers with a prefix."""
    return {name[len(prefix) + 1 :].partition(".")[0] for name in tensors if name.startswith(f"{prefix}.")}


def _check_tensors(expected: Mapping[str, tuple[int, ...]], tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raise a DataError that names tensors that are missing, unexpected, of another shape, or unusable."""
    missing = [name for name in expected if name not in tensors]
    unexpected = [name for name in tensors if name not in expected]
    misshapen = [
        f"{name} is {tuple(tensors[name].shape)}, expected {shape}"
        for name, shape in expected.items()
        if name in tensors and tuple(tensors[name].shape) != shape
    ]
    unusable = [f"{name} has {reason}" for name, value in tensors.items() if (reason := _defect(value))]
    problems = [("missing", missing), ("unexpected", unexpected), ("wrong shape", misshapen), ("unusable", unusable)]
    parts = [f"{problem}: {_format_names(names)}" for problem, names in problems if names]
    if parts:
        raise DataError(f"{path} is not a checkpoint of ALMT. Tensors {'; '.join(parts)}.")


def _defect(value: Tensor) -> str:
    """Return why the values of a tensor cannot be used, or an empty string."""
    if not value.is_floating_point() or value.layout != torch.strided:
        return f"{value.dtype} values instead of dense floating-point values"
    if value.is_meta:
        return "a shape but no values"
    return "" if bool(torch.isfinite(value.float()).all()) else "values that are not finite in float32"


def _format_names(names: list[str]) -> str:
    more = f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    return ", ".join(names[:_MAX_LISTED]) + more
