"""The precisions in which the layers of a plan run, from the JSON of TensorRT's engine inspector.

Sources: "Engine Inspector" in the developer guides of 8.x and 10.x (the field `Format/Datatype` of a layer's `Inputs`)
and "Migrating IEngineInspector Usage from TensorRT 10.x to 11.x", where that field is split into two.
"""

from __future__ import annotations

import json
import re
from typing import Any, Mapping

PRECISIONS = ("int8", "fp16", "fp32")
_PATTERNS = {"int8": r"int8", "fp16": r"fp16|half", "fp32": r"fp32|float"}
_TYPE_FIELDS = ("datatype", "format/datatype", "format")
# Layer types that move or hold data and compute nothing.
_NON_COMPUTING = {"reformat", "constant", "noop", "shuffle", "identity", "shape", "signal", "wait"}
_MIN_INT8_SHARE = 0.25


def count_layers_by_precision(inspection: str) -> dict[str, int]:
    """Count the layers with int8, fp16 and fp32 inputs, and the `other` ones: copies, constants, integer arithmetic.

    A layer counts for the lowest precision among its inputs and weights. TensorRT reports fused layers as one layer, so
    float arithmetic that is fused with an int8 input counts as int8.

    Args:
        inspection: JSON from `IEngineInspector.get_engine_information`.
    """
    counts = dict.fromkeys((*PRECISIONS, "other"), 0)
    for layer in json.loads(inspection).get("Layers", []):
        counts[_layer_precision(layer) if isinstance(layer, dict) else "other"] += 1
    return counts


def int8_remark(layers: Mapping[str, int], quantized: int) -> str:
    """Return a remark about an int8 plan in which few or no layers have int8 inputs; empty otherwise.

    Args:
        layers: result of `count_layers_by_precision`.
        quantized: number of QuantizeLinear nodes in the graph.
    """
    if not quantized:
        return "no layer of this graph is quantized"
    computing = sum(layers.get(name, 0) for name in PRECISIONS)
    int8 = layers.get("int8", 0)
    if not computing:
        return "this TensorRT version does not report the precisions of the layers"
    if int8 > _MIN_INT8_SHARE * computing:
        return ""
    number = f"only {int8}" if int8 else "none"
    return f"{number} of {computing} layers run in int8, so fp16 may be as fast; compare them with edge-msa-run bench"


def _layer_precision(layer: Mapping[str, Any]) -> str:
    if str(layer.get("LayerType", "")).lower() in _NON_COMPUTING:
        return "other"
    precisions = [_tensor_precision(tensor) for tensor in layer.get("Inputs", []) if isinstance(tensor, dict)]
    weights = layer.get("Weights")
    if isinstance(weights, dict):
        precisions.append(_parse_precision(str(weights.get("Type", ""))))
    return next((name for name in PRECISIONS if name in precisions), "other")


def _tensor_precision(tensor: Mapping[str, Any]) -> str:
    fields = {str(name).lower(): str(value) for name, value in tensor.items()}
    return next((_parse_precision(fields[name]) for name in _TYPE_FIELDS if name in fields), "")


def _parse_precision(text: str) -> str:
    return next((name for name, pattern in _PATTERNS.items() if re.search(pattern, text, re.IGNORECASE)), "")
