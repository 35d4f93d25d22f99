"""Runs graphs as a device would and compares their predictions with those of torch.

Step and fuse graphs run together over chunks; a window graph runs in one call. Each golden sample is used twice, as it
is and with gaps in its mask, because masked frames are where streaming errors show first. The graphs for several
streams take all samples at once, as streams of different lengths.
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
"""A loaded graph: maps input arrays by name to output arrays by name."""


@dataclass(frozen=True)
class ParityCase:
    """One sample, and the prediction of torch for it.

    Attributes:
        subset: the modalities of the sample.
        window: key of the window graph that takes it.
        lengths: number of frames of that graph, by modality.
        rows: raw frames (n, d) for the graph by modality: valid ones, and gap frames if the student has them. n is at
            most the number of frames of the graph, and may be 0.
        prediction: prediction (outputs,) of torch.
    """

    subset: Subset
    window: GraphKey
    lengths: Mapping[str, int]
    rows: Mapping[str, Array]
    prediction: Array


def measure_parity(
    programs: Mapping[GraphKey, Program],
    cases: Sequence[ParityCase],
    states: Mapping[str, tuple[StateSpec, ...]],
    chunks: Mapping[str, int],
) -> dict[GraphKey, float]:
    """Return the largest |prediction of the graph - prediction of torch| per graph, over the cases that use it.

    Args:
        programs: the loaded graphs. Text encoder graphs are ignored.
        cases: at least one case per window graph.
        states: states of the step graphs, by modality.
        chunks: frames per call of the step graphs, by modality.
    """
    worst = {key: 0.0 for key in programs if key.role != "text_encoder"}
    for case in cases:
        chunked = predict_in_chunks(programs, case.rows, states, chunks)
        chunked_difference = _max_difference(chunked, case.prediction)
        differences = {
            case.window: _max_difference(predict_window(programs, case), case.prediction),
            GraphKey.fuse(states): chunked_difference,
            **{GraphKey.step(name): chunked_difference for name in case.subset.modalities},
        }
        _keep_largest(worst, differences)
    batch = max((key.batch for key in programs), default=1)
    for start in range(0, len(cases) if batch > 1 else 0, batch):
        group = cases[start : start + batch]
        for case, prediction in zip(group, predict_batch(programs, group, states, chunks, batch), strict=True):
            difference = _max_difference(prediction, case.prediction)
            keys = [GraphKey.step(name, batch) for name in case.subset.modalities]
            _keep_largest(worst, dict.fromkeys([*keys, GraphKey.fuse(states, batch)], difference))
    return worst


def _keep_largest(worst: dict[GraphKey, float], differences: Mapping[GraphKey, float]) -> None:
    for key, difference in differences.items():
        worst[key] = float(np.maximum(worst[key], difference))  # np.maximum keeps NaN, max() may lose it


def predict_in_chunks(
    programs: Mapping[GraphKey, Program],
    rows: Mapping[str, Array],
    states: Mapping[str, tuple[StateSpec, ...]],
    chunks: Mapping[str, int],
) -> Array:
    """Return the prediction (outputs,) of the step graphs over chunks and the fuse graph."""
    inputs: dict[str, Array] = {
        f"tokens.{name}": _make_initial_state(next(spec for spec in specs if spec.name == "tokens"))
        for name, specs in states.items()
    }
    available = np.zeros((1, len(MODALITIES)), dtype=np.float32)
    for name, values in rows.items():
        if len(values):
            available[0, MODALITIES.index(name)] = 1
            inputs[f"tokens.{name}"] = _run_steps(programs[GraphKey.step(name)], values, states[name], chunks[name])
    prediction = programs[GraphKey.fuse(states)]({**inputs, "available": available})["prediction"]
    return np.asarray(prediction[0])


def predict_batch(
    programs: Mapping[GraphKey, Program],
    cases: Sequence[ParityCase],
    states: Mapping[str, tuple[StateSpec, ...]],
    chunks: Mapping[str, int],
    batch: int,
) -> list[Array]:
    """Return the predictions (outputs,) of at most `batch` cases by the step and fuse graphs for `batch` streams."""
    inputs: dict[str, Array] = {}
    available = np.zeros((batch, len(MODALITIES)), dtype=np.float32)
    for name, specs in states.items():
        rows = {row: case.rows[name] for row, case in enumerate(cases) if name in case.rows}
        frames = {row: values for row, values in rows.items() if len(values)}
        available[list(frames), MODALITIES.index(name)] = 1
        step = programs[GraphKey.step(name, batch)]
        inputs[f"tokens.{name}"] = _run_batch_steps(step, frames, specs, chunks[name], batch)
    prediction = programs[GraphKey.fuse(states, batch)]({**inputs, "available": available})["prediction"]
    return list(prediction[: len(cases)])


def predict_window(programs: Mapping[GraphKey, Program], case: ParityCase) -> Array:
    """Return the prediction (outputs,) of the window graph of a case."""
    inputs: dict[str, Array] = {}
    for name, values in case.rows.items():
        inputs[f"frames.{name}"], inputs[f"valid.{name}"] = _pad(values, case.lengths[name])
    return np.asarray(programs[case.window](inputs)["prediction"][0])


def make_mask_with_gaps(length: int) -> NDArray[np.bool_]:
    """Return a mask (length,) without the first frame and every third one after it. A single frame stays valid."""
    valid = np.ones(length, dtype=np.bool_)
    if length > 1:
        valid[::3] = False
    return valid


def _run_steps(step: Program, frames: Array, specs: Sequence[StateSpec], chunk: int) -> Array:
    """Run a step graph over all chunks and return the final tokens."""
    state = {spec.name: _make_initial_state(spec) for spec in specs}
    for start in range(0, len(frames), chunk):
        padded, valid = _pad(frames[start : start + chunk], chunk)
        outputs = step({"frames": padded, "valid": valid, **{f"state.{name}": value for name, value in state.items()}})
        # Copy, because a backend may overwrite its outputs in the next call.
        state = {name: np.array(outputs[f"next.{name}"]) for name in state}
    return state["tokens"]


def _run_batch_steps(
    step: Program, frames: Mapping[int, Array], specs: Sequence[StateSpec], chunk: int, batch: int
) -> Array:
    """Run a step graph on frames by row until all are used, and return the tokens of each row after its last frame."""
    state = {spec.name: np.repeat(_make_initial_state(spec), batch, axis=0) for spec in specs}
    tokens = np.zeros_like(state["tokens"])
    for start in range(0, max(map(len, frames.values()), default=0), chunk):
        padded = np.zeros((batch, chunk, next(iter(frames.values())).shape[1]), np.float32)
        valid = np.zeros((batch, chunk), np.float32)
        for row, values in frames.items():
            part = values[start : start + chunk]
            padded[row, : len(part)], valid[row, : len(part)] = part, 1
        outputs = step({"frames": padded, "valid": valid, **{f"state.{name}": value for name, value in state.items()}})
        state = {name: np.array(outputs[f"next.{name}"]) for name in state}
        for row, values in frames.items():
            if start < len(values) <= start + chunk:
                tokens[row] = state["tokens"][row]
    return tokens


def _make_initial_state(spec: StateSpec) -> Array:
    return np.full(spec.shape, spec.initial, dtype=np.float32)


def _pad(frames: Array, length: int) -> tuple[Array, Array]:
    """Return frames (1, length, d), zero-padded at the end, and valid (1, length)."""
    padded = np.zeros((1, length, frames.shape[1]), dtype=np.float32)
    valid = np.zeros((1, length), dtype=np.float32)
    padded[0, : len(frames)], valid[0, : len(frames)] = frames, 1
    return padded, valid


def _max_difference(prediction: Array, expected: Array) -> float:
    return float(np.abs(prediction - expected).max())
