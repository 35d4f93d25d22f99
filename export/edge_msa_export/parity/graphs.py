"""How far a graph is from torch: every graph is run as a device would run it, and its prediction compared.

SweepPoint and fuse graphs are rolled out together over chunks; a window graph reads at once. Each golden sample is read
twice, whole and with holes in its mask, since a masked frame is where a stream goes wrong first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_msa_runtime.bundle.manifest import GraphKey, StateSpec
from edge_msa_runtime.modalities import MODALITIES, Subset

Array = NDArray[np.float32]
Program = Callable[[Mapping[str, Any]], Mapping[str, Array]]


@dataclass(frozen=True)
class ParityCase:
    """Normalized frames (T, d) with masks (T,) by modality of one subset, and what torch reads from them.

    `window`: the key of the window graph for them, `lengths` its frames by modality; T is at most that.
    """

    subset: Subset
    window: GraphKey
    lengths: Mapping[str, int]
    frames: Mapping[str, Array]
    valid: Mapping[str, NDArray[np.bool_]]
    prediction: Array


def measure_parity(
    programs: Mapping[GraphKey, Program],
    cases: Sequence[ParityCase],
    states: Mapping[str, tuple[StateSpec, ...]],
    chunks: Mapping[str, int],
) -> dict[GraphKey, float]:
    """The largest |prediction of the graph - prediction of torch| of every graph, over the cases that it takes part in.

    Args:
        programs: one a graph, from named inputs to named outputs; text encoder graphs have no part in it.
        cases: at least one a window graph.
        states: of each modality's step graph.
        chunks: frames a call of the step graphs.
    """
    worst = {key: 0.0 for key in programs if key.role != "text_encoder"}
    for case in cases:
        chain = _difference(read_chain(programs, case.frames, case.valid, states, chunks), case.prediction)
        window = _difference(read_window(programs, case), case.prediction)
        took_part = [GraphKey.fuse(states), *(GraphKey.step(name) for name in case.subset.modalities)]
        for key, difference in [(case.window, window), *((key, chain) for key in took_part)]:
            worst[key] = float(np.maximum(worst[key], difference))  # keeps a NaN, which max() may lose
    return worst


def read_chain(
    programs: Mapping[GraphKey, Program],
    frames: Mapping[str, Array],
    valid: Mapping[str, NDArray[np.bool_]],
    states: Mapping[str, tuple[StateSpec, ...]],
    chunks: Mapping[str, int],
) -> Array:
    """The prediction (outputs,) of step graphs rolled out over chunks, then fused; masked frames are dropped first."""
    inputs: dict[str, Array] = {
        f"tokens.{name}": _initial(next(spec for spec in specs if spec.name == "tokens"))
        for name, specs in states.items()
    }
    available = np.zeros((1, len(MODALITIES)), dtype=np.float32)
    for name, values in frames.items():
        packed = values[valid[name]]
        if not len(packed):
            continue
        available[0, MODALITIES.index(name)] = 1
        inputs[f"tokens.{name}"] = _roll_out(programs[GraphKey.step(name)], packed, states[name], chunks[name])
    prediction = programs[GraphKey.fuse(states)]({**inputs, "available": available})["prediction"]
    return np.asarray(prediction[0])


def read_window(programs: Mapping[GraphKey, Program], case: ParityCase) -> Array:
    """The prediction (outputs,) of the case's window graph."""
    inputs: dict[str, Array] = {}
    for name, values in case.frames.items():
        packed = values[case.valid[name]]
        inputs[f"frames.{name}"], inputs[f"valid.{name}"] = _padded(packed, case.lengths[name])
    return np.asarray(programs[case.window](inputs)["prediction"][0])


def with_holes(length: int) -> NDArray[np.bool_]:
    """A mask (length,) whose first frame and every third after are missing; a single frame stays."""
    valid = np.ones(length, dtype=np.bool_)
    if length > 1:
        valid[::3] = False
    return valid


def _roll_out(step: Program, packed: Array, specs: Sequence[StateSpec], chunk: int) -> Array:
    state = {spec.name: _initial(spec) for spec in specs}
    for start in range(0, len(packed), chunk):
        frames, valid = _padded(packed[start : start + chunk], chunk)
        named = {f"state.{name}": value for name, value in state.items()}
        after = step({"frames": frames, "valid": valid, **named})
        # A copy: a backend may write its next outputs over these.
        state = {name: np.array(after[f"next.{name}"]) for name in state}
    return state["tokens"]


def _initial(spec: StateSpec) -> Array:
    return np.full(spec.shape, spec.initial, dtype=np.float32)


def _padded(packed: Array, length: int) -> tuple[Array, Array]:
    frames = np.zeros((1, length, packed.shape[1]), dtype=np.float32)
    valid = np.zeros((1, length), dtype=np.float32)
    frames[0, : len(packed)], valid[0, : len(packed)] = packed, 1
    return frames, valid


def _difference(prediction: Array, expected: Array) -> float:
    return float(np.abs(prediction - expected).max())
