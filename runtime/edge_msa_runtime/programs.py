"""Loaded graphs by role: what each reads and gives, on buffers that are allotted once and used again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping, Sequence

import numpy as np

from edge_msa_runtime.errors import BundleError
from edge_msa_runtime.modalities import MODALITIES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_msa_runtime.backends.base import Program
    from edge_msa_runtime.bundle.manifest import ModalitySpec
    from edge_msa_runtime.inputs.validation import Rows

    State = dict[str, NDArray[Any]]


class _Slot:
    """One modality's frames and validity in a program's inputs: normalized, valid ones first, zero behind them."""

    def __init__(self, frames: NDArray[Any], valid: NDArray[Any], spec: ModalitySpec) -> None:
        self._frames = frames[0]
        self._valid = valid[0]
        self._mean = np.asarray(spec.mean, dtype=np.float32)
        self._std = np.asarray(spec.std, dtype=np.float32)
        self._as_given = not self._mean.any() and bool((self._std == 1).all())
        self._count = 0

    def fill(self, rows: Rows) -> None:
        """Write raw frames (n, dim), n at most the slot's length."""
        count = len(rows)
        target = self._frames[:count]
        if self._as_given:
            target[...] = rows
        else:
            np.subtract(rows, self._mean, out=target)
            np.divide(target, self._std, out=target)
        if count != self._count:
            self._frames[count : self._count] = 0
            self._valid[:count] = 1
            self._valid[count:] = 0
            self._count = count


class StepProgram:
    """A modality's step graph: frames by the chunk, the state handed in and taken out."""

    def __init__(self, program: Program, file: str, spec: ModalitySpec) -> None:
        states = {f"state.{state.name}": state.shape for state in spec.states}
        after = {f"next.{state.name}": state.shape for state in spec.states}
        frames = {"frames": (1, spec.chunk, spec.dim), "valid": (1, spec.chunk)}
        _expect(file, program, {**frames, **states}, after)
        self.program = program
        self._spec = spec
        self._chunk = spec.chunk
        self._slot = _Slot(program.inputs["frames"], program.inputs["valid"], spec)
        self._states = [
            (state.name, program.inputs[f"state.{state.name}"], program.outputs[f"next.{state.name}"])
            for state in spec.states
        ]

    def initial(self) -> State:
        """The state before the first frame."""
        kinds = {name: before.dtype for name, before, _ in self._states}
        return {state.name: np.full(state.shape, state.initial, kinds[state.name]) for state in self._spec.states}

    def advance(self, rows: Rows, state: State) -> None:
        """Read raw valid frames (n, dim), any n > 0, and bring the state forward in place."""
        for name, before, _ in self._states:
            before[...] = state[name]
        for start in range(0, len(rows), self._chunk):
            if start:
                for _, before, after in self._states:
                    before[...] = after
            self._slot.fill(rows[start : start + self._chunk])
            self.program.run()
        for name, _, after in self._states:
            state[name][...] = after


class FuseProgram:
    """The fuse graph: tokens of what there is, and the prediction."""

    def __init__(self, program: Program, file: str, specs: Mapping[str, ModalitySpec], outputs: int) -> None:
        shapes = {name: next(s.shape for s in spec.states if s.name == "tokens") for name, spec in specs.items()}
        wanted = {f"tokens.{name}": shape for name, shape in shapes.items()}
        _expect(file, program, {**wanted, "available": (1, len(MODALITIES))}, {"prediction": (1, outputs)})
        self.program = program
        self._available = program.inputs["available"][0]
        self._prediction = program.outputs["prediction"][0]
        self._tokens = [(name, MODALITIES.index(name), program.inputs[f"tokens.{name}"]) for name in specs]

    def run(self, states: Mapping[str, State]) -> list[float]:
        """The outputs from the states of the modalities that have had a valid frame."""
        for name, column, buffer in self._tokens:
            there = name in states
            buffer[...] = states[name]["tokens"] if there else 0
            self._available[column] = there
        self.program.run()
        numbers: list[float] = self._prediction.tolist()
        return numbers


class WindowProgram:
    """The fused graph of one subset, for `lengths` frames of each modality."""

    def __init__(
        self,
        program: Program,
        file: str,
        specs: Mapping[str, ModalitySpec],
        lengths: Mapping[str, int],
        outputs: int,
    ) -> None:
        frames = {f"frames.{name}": (1, lengths[name], spec.dim) for name, spec in specs.items()}
        valid = {f"valid.{name}": (1, lengths[name]) for name, spec in specs.items()}
        _expect(file, program, {**frames, **valid}, {"prediction": (1, outputs)})
        self.program = program
        self._prediction = program.outputs["prediction"][0]
        self._slots = {
            name: _Slot(program.inputs[f"frames.{name}"], program.inputs[f"valid.{name}"], spec)
            for name, spec in specs.items()
        }

    def run(self, rows: Mapping[str, Rows]) -> list[float]:
        """The outputs from raw valid frames of exactly the subset's modalities, none longer than its length."""
        for name, slot in self._slots.items():
            slot.fill(rows[name])
        self.program.run()
        numbers: list[float] = self._prediction.tolist()
        return numbers


class TextEncoderProgram:
    """An encoder of texts of at most `length` tokens."""

    def __init__(self, program: Program, file: str, length: int, dim: int) -> None:
        _expect(file, program, {"ids": (1, length), "valid": (1, length)}, {"frames": (1, length, dim)})
        self.program = program
        self._ids = program.inputs["ids"][0]
        self._valid = program.inputs["valid"][0]
        self._frames = program.outputs["frames"][0]

    def run(self, ids: Sequence[int]) -> Rows:
        """The frames (n, dim) of n ids, at most its length; the next run overwrites them."""
        count = len(ids)
        self._ids[:count] = ids
        self._ids[count:] = 0
        self._valid[:count] = 1
        self._valid[count:] = 0
        self.program.run()
        frames: Rows = self._frames[:count]
        return frames


def _expect(
    file: str, program: Program, inputs: Mapping[str, tuple[int, ...]], outputs: Mapping[str, tuple[int, ...]]
) -> None:
    """Refuse a graph that is not what the manifest says, by name and shape."""
    for what, wanted, there in (("input", inputs, program.inputs), ("output", outputs, program.outputs)):
        found = {name: buffer.shape for name, buffer in there.items()}
        for name in sorted({*wanted, *found}):
            if wanted.get(name) != found.get(name):
                raise BundleError(
                    f"{file} has {found.get(name)} for {what} {name}, the manifest says {wanted.get(name)}; "
                    "export the bundle again"
                )
