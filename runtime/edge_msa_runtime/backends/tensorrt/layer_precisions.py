"""In what precision the layers of a plan run, from the backend inspector's JSON.

Read: "Backend Inspector" in the developer guide of 8.x and 10.x (`Format/Datatype` of a layer's `Inputs`), and
"Migrating IEngineInspector Usage from TensorRT 10.x to 11.x", where that field is two.
"""

from __future__ import annotations

import json
import re
from typing import Any, Mapping

PRECISIONS = ("int8", "fp16", "fp32")
_WORDS = {"int8": r"int8", "fp16": r"fp16|half", "fp32": r"fp32|float"}
_TYPE_FIELDS = ("datatype", "format/datatype", "format")
# They move or hold data and compute nothing.
_MOVES = {"reformat", "constant", "noop", "shuffle", "cache_key", "shape", "signal", "wait"}
_FEW = 0.25


def layers_by_precision(told: str) -> dict[str, int]:
    """How many layers read int8, fp16 or fp32, and how many are `other`: copies, constants, integers.

    A layer counts by the lowest precision that it reads, its weights included. What the vendor fuses is one layer, so
    that float arithmetic behind an int8 input counts as int8.

    Args:
        told: `IEngineInspector.get_engine_information` as JSON.
    """
    counts = dict.fromkeys((*PRECISIONS, "other"), 0)
    for layer in json.loads(told).get("Layers", []):
        counts[_precision(layer) if isinstance(layer, dict) else "other"] += 1
    return counts


def int8_remark(layers: Mapping[str, int], quantized: int) -> str:
    """What to say of an int8 plan with few layers that read int8, or none; empty where there is nothing to say.

    Args:
        layers: `layers_by_precision`.
        quantized: how many QuantizeLinear the graph has.
    """
    if not quantized:
        return "no layer of this graph is quantized"
    computing = sum(layers.get(name, 0) for name in PRECISIONS)
    found = layers.get("int8", 0)
    if not computing:
        return "the inspector of this TensorRT does not tell in what precision the layers run"
    if found > _FEW * computing:
        return ""
    which = "none" if not found else f"only {found}"
    return f"{which} of {computing} layers run in int8, so fp16 may be as fast: compare them with edge-msa-run bench"


def _precision(layer: Mapping[str, Any]) -> str:
    if str(layer.get("LayerType", "")).lower() in _MOVES:
        return "other"
    kinds = [_tensor_kind(put) for put in layer.get("Inputs", []) if isinstance(put, dict)]
    weights = layer.get("Weights")
    if isinstance(weights, dict):
        kinds.append(_kind(str(weights.get("Type", ""))))
    return next((name for name in PRECISIONS if name in kinds), "other")


def _tensor_kind(tensor: Mapping[str, Any]) -> str:
    fields = {str(name).lower(): str(value) for name, value in tensor.items()}
    return next((_kind(fields[name]) for name in _TYPE_FIELDS if name in fields), "")


def _kind(text: str) -> str:
    return next((name for name, words in _WORDS.items() if re.search(words, text, re.IGNORECASE)), "")
