"""ALMT from others' checkpoints: the authors' naming and MMSA's, every size read off the tensors.

A checkpoint is untrusted: it is loaded with `weights_only=True`, and every tensor must be one that the network has.
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
from edge_msa.training.predict import to_numpy
from edge_msa_runtime.modalities import MODALITIES

_WRAPPERS = ("module.", "Model.")
"""What DataParallel and MMSA put before every name."""
_BERT = "bertmodel."
_RENAMED = {
    "embedding_l": "proj_l",
    "embedding_a": "proj_a",
    "embedding_v": "proj_v",
    "regression_head": "regression_layer.0",
}
"""MMSA's first parts of names, and the authors'."""
_FUSION = "fusion_layer.CrossTransformerEncoder.layers"
_AHL = "h_hyper_layer.layers"
_TOLD = 3
_LARGEST = 1 << 16
"""More than any size of a real checkpoint; a larger one is not built."""


@dataclass(frozen=True)
class ImportedAlmt:
    """Weights by the authors' names, float32; what rebuilds the network; `notes` on what was left out."""

    weights: dict[str, NDArray[np.float32]]
    config: AlmtConfig
    notes: tuple[str, ...]


def import_almt(path: Path) -> ImportedAlmt:
    """Read a checkpoint of ALMT.

    Args:
        path: a state dict that `torch.save` wrote, or a dict that holds one as `state_dict`; BERT may lie beside it.

    Raises:
        DataError: it cannot be read, wants code, is no state dict, or lacks tensors, has others, or of other shapes.
    """
    tensors, notes = _named_as_authors(_state_dict(path), path)
    config = _config_of(tensors)
    with torch.device("meta"):
        network = Almt(config)
    _check({name: tuple(value.shape) for name, value in network.state_dict().items()}, tensors, path)
    network = network.to_empty(device="cpu")
    network.load_state_dict(tensors)
    return ImportedAlmt(to_numpy(network), config, notes)


def _state_dict(path: Path) -> dict[str, Tensor]:
    content = _loaded(path)
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not content:
        what = "an empty one" if isinstance(content, Mapping) else f"a {type(content).__name__}"
        raise DataError(f"{path} holds {what}, no state dict: save model.state_dict()")
    for name, value in content.items():
        if not isinstance(name, str):
            raise DataError(f"{path} is no state dict (it has the key {name!r}, no name): save model.state_dict()")
        if not isinstance(value, Tensor):
            raise DataError(
                f"{path} is no state dict ({name!r} is a {type(value).__name__}, no tensor): save model.state_dict()"
            )
    return dict(content)


def _loaded(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on formats that are refused a line later
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}): give a checkpoint") from None
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        if named:
            raise DataError(
                f"{path} asks for {named[1]!r}, which could run code: only a plain state dict of tensors is read; "
                "save model.state_dict()"
            ) from None
        raise DataError(f"{path} is not a checkpoint of tensors, or is damaged: save model.state_dict()") from None
    except Exception as error:  # noqa: BLE001 - damaged files make torch raise anything at all
        reason = str(error).splitlines()[0].partition(". ")[0] if str(error) else type(error).__name__
        raise DataError(f"{path} is not a checkpoint of torch.save, or is damaged ({reason})") from None


def _named_as_authors(tensors: Mapping[str, Tensor], path: Path) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The tensors of ALMT by the authors' names, and notes on the others."""
    named: dict[str, Tensor] = {}
    dropped = 0
    for given, value in tensors.items():
        name = given
        for wrapper in _WRAPPERS:
            name = name.removeprefix(wrapper)
        if name.startswith(_BERT):
            dropped += 1
            continue
        first, dot, rest = name.partition(".")
        name = f"{_RENAMED.get(first, first)}{dot}{rest}"
        if name in named:
            raise DataError(f"{path} holds {name} twice, the second time as {given}: keep one naming")
        named[name] = value
    bert = f"left out: {dropped} tensors of BERT; give its token features as language"
    return named, (bert,) if dropped else ()


def _config_of(tensors: Mapping[str, Tensor]) -> AlmtConfig:
    """Sizes off the tensors; one that cannot be told is 1, and the check that follows names the tensor."""
    dims, lengths = {}, {}
    tokens = _size(tensors, "h_hyper", 1)
    for name in MODALITIES:
        place = f"proj_{name[0]}"
        dims[name] = _size(tensors, f"{place}.0.weight", 1)
        lengths[name] = max(1, _size(tensors, f"{place}.1.pos_embedding", 1) - tokens)
    return AlmtConfig(
        dims,
        lengths,
        fusion_depth=max(1, len(_numbers(tensors, _FUSION))),
        outputs=_size(tensors, "regression_layer.0.weight", 0),
        tokens=tokens,
        share_ahl=_numbers(tensors, _AHL).isdisjoint(map(str, range(1, SCALES))),
    )


def _size(tensors: Mapping[str, Tensor], name: str, axis: int) -> int:
    shape = tensors[name].shape if name in tensors else ()
    return shape[axis] if axis < len(shape) and 0 < shape[axis] <= _LARGEST else 1


def _numbers(tensors: Collection[str], place: str) -> set[str]:
    """The layers' numbers at a place."""
    return {name[len(place) + 1 :].partition(".")[0] for name in tensors if name.startswith(f"{place}.")}


def _check(wanted: Mapping[str, tuple[int, ...]], tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raise a DataError that names what is missing, too much, or of another shape or kind."""
    missing = [name for name in wanted if name not in tensors]
    extra = [name for name in tensors if name not in wanted]
    shaped = [
        f"{name} is {tuple(tensors[name].shape)}, not {shape}"
        for name, shape in wanted.items()
        if name in tensors and tuple(tensors[name].shape) != shape
    ]
    wrong = [f"{name} holds {reason}" for name, value in tensors.items() if (reason := _unusable(value))]
    found = [("lacks", missing), ("has besides", extra), ("misshapen:", shaped), ("unusable:", wrong)]
    parts = [f"{what} {_listed(names)}" for what, names in found if names]
    if parts:
        raise DataError(f"{path} is not a checkpoint of ALMT: {'; '.join(parts)}")


def _unusable(value: Tensor) -> str:
    if not value.is_floating_point() or value.layout != torch.strided:
        return f"{value.dtype} values, no plain numbers"
    if value.is_meta:
        return "a shape alone, no values"
    return "" if bool(torch.isfinite(value.float()).all()) else "NaN or inf, or more than float32 holds"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _TOLD} more" if len(names) > _TOLD else ""
    return ", ".join(names[:_TOLD]) + more
