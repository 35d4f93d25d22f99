"""Programs by the role of their graph. Each runs on its own buffers, which are reused, in one thread at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping, Sequence

import numpy as np

from edge_msa_runtime.errors import BundleError
from edge_msa_runtime.modalities import MODALITIES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_msa_runtime.backends.base import Program
    from edge_msa_runtime.bundle.manifest import ModalitySpec
    from edge_msa_runtime.inputs.validation import Frames

    State = dict[str, NDArray[Any]]


class RoleProgram:
    """A program of a graph with a role."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._is_warm = False

    def warm_up(self) -> None:
        """Run the program with whatever its inputs contain, the first time this is called: a first run is slow."""
        if not self._is_warm:
            self._program.run()
            self._is_warm = True

    def close(self) -> None:
        """Release the program's resources. It cannot run afterwards."""
        self._program.close()


class StepProgram(RoleProgram):
    """A modality's step graph: updates the state of the modality's encoder with a chunk of frames."""

    def __init__(self, program: Program, file: str, spec: ModalitySpec) -> None:
        states = {f"state.{state.name}": state.shape for state in spec.states}
        next_states = {f"next.{state.name}": state.shape for state in spec.states}
        frames = {"frames": (1, spec.chunk, spec.dim), "valid": (1, spec.chunk)}
        _check_signature(file, program, {**frames, **states}, next_states)
        super().__init__(program)
        self._spec = spec
        self._input = _FramesInput(program.inputs["frames"], program.inputs["valid"])
        self._states = [
            (state.name, program.inputs[f"state.{state.name}"], program.outputs[f"next.{state.name}"])
            for state in spec.states
        ]

    def initial_state(self) -> State:
        """Return a new state, as before the first frame."""
        dtypes = {name: buffer.dtype for name, buffer, _ in self._states}
        return {state.name: np.full(state.shape, state.initial, dtypes[state.name]) for state in self._spec.states}

    def run(self, frames: Frames, state: State) -> None:
        """Update a state in place with raw valid frames (n, dim), n > 0."""
        for name, buffer, _ in self._states:
            buffer[...] = state[name]
        for start in range(0, len(frames), self._spec.chunk):
            if start:
                for _, buffer, next_buffer in self._states:
                    buffer[...] = next_buffer
            self._input.write(frames[start : start + self._spec.chunk])
            self._program.run()
        for name, _, next_buffer in self._states:
            state[name][...] = next_buffer


class FuseProgram(RoleProgram):
    """The fuse graph: computes the outputs from the tokens of the available modalities."""

    def __init__(self, program: Program, file: str, specs: Mapping[str, ModalitySpec], outputs: int) -> None:
        shapes = {name: next(s.shape for s in spec.states if s.name == "tokens") for name, spec in specs.items()}
        tokens = {f"tokens.{name}": shape for name, shape in shapes.items()}
        _check_signature(file, program, {**tokens, "available": (1, len(MODALITIES))}, {"prediction": (1, outputs)})
        super().__init__(program)
        self._available = program.inputs["available"][0]
        self._prediction = program.outputs["prediction"][0]
        self._tokens = [(name, MODALITIES.index(name), program.inputs[f"tokens.{name}"]) for name in specs]

    def run(self, states: Mapping[str, State]) -> list[float]:
        """Return the outputs. `states` holds the modalities that have had a valid frame; the others are absent."""
        for name, column, buffer in self._tokens:
            available = name in states
            buffer[...] = states[name]["tokens"] if available else 0
            self._available[column] = available
        self._program.run()
        outputs: list[float] = self._prediction.tolist()
        return outputs


class WindowProgram(RoleProgram):
    """The window graph of a subset: computes the outputs from at most `lengths[modality]` frames of each modality."""

    def __init__(
        self,
        program: Program,
        file: str,
        specs: Mapping[str, ModalitySpec],
        lengths: Mapping[str, int],
        outputs: int,
    ) -> None:
        frames = {f"frames.{name}": (1, lengths[name], spec.dim) for name, spec in specs.items()}
        valid = {f"valid.{name}": (1, lengths[name]) for name in specs}
        _check_signature(file, program, {**frames, **valid}, {"prediction": (1, outputs)})
        super().__init__(program)
        self._prediction = program.outputs["prediction"][0]
        self._inputs = [
            (name, _FramesInput(program.inputs[f"frames.{name}"], program.inputs[f"valid.{name}"]).write)
            for name in specs
        ]

    def run(self, frames: Mapping[str, Frames]) -> list[float]:
        """Return the outputs for raw valid frames of exactly the subset's modalities, at most `lengths` frames each."""
        for name, write in self._inputs:
            write(frames[name])
        self._program.run()
        outputs: list[float] = self._prediction.tolist()
        return outputs


class TextEncoderProgram(RoleProgram):
    """A text encoder graph for texts of at most `length` tokens."""

    def __init__(self, program: Program, file: str, length: int, dim: int) -> None:
        _check_signature(file, program, {"ids": (1, length), "valid": (1, length)}, {"frames": (1, length, dim)})
        super().__init__(program)
        self._ids = program.inputs["ids"][0]
        self._valid = program.inputs["valid"][0]
        self._frames = program.outputs["frames"][0]

    def run(self, ids: Sequence[int]) -> Frames:
        """Return the frames (n, dim) of n token ids, n at most `length`."""
        count = len(ids)
        self._ids[:count] = ids
        self._ids[count:] = 0
        self._valid[:count] = 1
        self._valid[count:] = 0
        self._program.run()
        frames: Frames = self._frames[:count].copy()  # another thread may run the program next
        return frames


class _FramesInput:
    """The inputs of one modality: raw frames, followed by zeros, and the mask of the frames."""

    def __init__(self, frames: NDArray[Any], valid: NDArray[Any]) -> None:
        self._frames = frames[0]
        self._valid = valid[0]
        self._target = self._frames[:0]

    def write(self, frames: Frames) -> None:
        """Write raw frames (n, dim), n at most the length of the input."""
        count, previous = len(frames), len(self._target)
        if count != previous:
            self._frames[count:previous] = 0
            self._valid[:count] = 1
            self._valid[count:] = 0
            self._target = self._frames[:count]
        self._target[...] = frames


def _check_signature(
    file: str, program: Program, inputs: Mapping[str, tuple[int, ...]], outputs: Mapping[str, tuple[int, ...]]
) -> None:
    """Raise a BundleError if the names or shapes of a graph's inputs and outputs are not those of the manifest."""
    for kind, expected, buffers in (("input", inputs, program.inputs), ("output", outputs, program.outputs)):
        actual = {name: buffer.shape for name, buffer in buffers.items()}
        for name in sorted({*expected, *actual}):
            if name not in actual:
                raise BundleError(f"{file} has no {kind} {name}. Export the bundle again.")
            if name not in expected:
                raise BundleError(f"{file} has an unknown {kind} {name}. Export the bundle again.")
            if expected[name] != actual[name]:
                raise BundleError(
                    f"{kind.capitalize()} {name} of {file} must have shape {expected[name]}, got {actual[name]}. "
                    "Export the bundle again."
                )
