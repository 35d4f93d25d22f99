"""Programs by the role of their graph. Each runs on its own buffers, which are reused, in one thread at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping, Sequence

import numpy as np

from edge_msa_runtime.backends.buffers import allocate_buffers, padded_size
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
        # A state is six to eight small arrays. Copying them one by one takes a third of the time around a step.
        block = _joined([buffer for _, buffer, _ in self._states])
        next_block = _joined([buffer for _, _, buffer in self._states])
        self._blocks = None if block is None or next_block is None else (block, next_block)

    def initial_state(self) -> State:
        """Return a new state, as before the first frame. Its arrays are parts of one array, if they have one type."""
        new = allocate_buffers((name, buffer.shape, buffer.dtype) for name, buffer, _ in self._states)
        for state in self._spec.states:
            new[state.name][...] = state.initial
        return new

    def run(self, frames: Frames, state: State) -> None:
        """Update a state in place with raw valid frames (n, dim), n > 0."""
        size, chunk, blocks = len(frames), self._spec.chunk, self._blocks
        whole = None if blocks is None else state["tokens"].base  # None: a copy, whose arrays are separate
        parts: Sequence[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]
        if blocks is None or whole is None:
            parts = [(state[name], buffer, next_buffer) for name, buffer, next_buffer in self._states]
        else:
            parts = ((whole, blocks[0], blocks[1]),)
        for array, buffer, _ in parts:
            buffer[...] = array
        for start in range(0, size, chunk):
            if start:
                for _, buffer, next_buffer in parts:
                    buffer[...] = next_buffer
            self._input.write(frames if size <= chunk else frames[start : start + chunk])
            self._program.run()
        for array, _, next_buffer in parts:
            array[...] = next_buffer


class StepJob:
    """Frames that a step graph will add to the state of one stream's encoder.

    Attributes:
        frames: raw valid frames (n, dim), n > 0.
        source: the state before the frames, which does not change; None before the first frame.
        state: the state after the frames; empty until the graph has run.
        error: why the graph failed; None if it did not.
    """

    __slots__ = ("error", "frames", "source", "state")

    def __init__(self, frames: Frames, source: State | None) -> None:
        self.frames = frames
        self.source = source
        self.state: State = {}
        self.error: Exception | None = None


class StepBatchProgram(RoleProgram):
    """A modality's step graph for several streams: each row updates the state of one stream."""

    def __init__(self, program: Program, file: str, spec: ModalitySpec, batch: int) -> None:
        states = {state.name: (batch, *state.shape[1:]) for state in spec.states}
        frames = {"frames": (batch, spec.chunk, spec.dim), "valid": (batch, spec.chunk)}
        inputs = {**frames, **{f"state.{name}": shape for name, shape in states.items()}}
        _check_signature(file, program, inputs, {f"next.{name}": shape for name, shape in states.items()})
        super().__init__(program)
        self._chunk = spec.chunk
        self._frames, self._valid = program.inputs["frames"], program.inputs["valid"]
        self._sizes = [0] * batch  # ones in each row of `valid`
        self._states = [(name, program.inputs[f"state.{name}"], program.outputs[f"next.{name}"]) for name in states]
        dtypes = {name: buffer.dtype for name, buffer, _ in self._states}
        self._initial = {
            state.name: np.full((1, *state.shape[1:]), state.initial, dtypes[state.name]) for state in spec.states
        }

    def run(self, jobs: Sequence[StepJob], chunks: int) -> None:
        """Set the states of jobs to those after their first `chunks` chunks of frames. At most one job per row."""
        count, chunk = len(jobs), self._chunk
        sources = [self._initial if job.source is None else job.source for job in jobs]
        for name, buffer, _ in self._states:
            np.concatenate([state[name] for state in sources], out=buffer[:count])
        lengths = [min(len(job.frames), chunks * chunk) for job in jobs]
        results: list[tuple[StepJob, State]] = []
        for row in range(count, len(self._sizes)):
            self._set_size(row, 0)
        for start in range(0, max(lengths), chunk):
            if start:
                for _, buffer, next_buffer in self._states:
                    buffer[...] = next_buffer
            for row, job in enumerate(jobs):
                size = max(0, min(lengths[row] - start, chunk))
                self._frames[row, :size] = job.frames[start : start + size]
                self._set_size(row, size)
            self._program.run()
            for row, length in enumerate(lengths):
                if start < length <= start + chunk:
                    # Later chunks of other rows would round the state of this one again.
                    state = {name: buffer[row : row + 1].copy() for name, _, buffer in self._states}
                    results.append((jobs[row], state))
        for job, state in results:
            job.state.update(state)

    def _set_size(self, row: int, size: int) -> None:
        """Set the number of valid frames in a row. What follows them does not matter."""
        if self._sizes[row] != size:
            self._valid[row, :size], self._valid[row, size:] = 1, 0
            self._sizes[row] = size


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
            state = states.get(name)
            buffer[...] = 0 if state is None else state["tokens"]
            self._available[column] = state is not None
        self._program.run()
        outputs: list[float] = self._prediction.tolist()
        return outputs


class FuseBatchProgram(RoleProgram):
    """The fuse graph for several streams: computes the outputs of one stream per row."""

    def __init__(
        self, program: Program, file: str, specs: Mapping[str, ModalitySpec], outputs: int, batch: int
    ) -> None:
        shapes = {name: next(s.shape for s in spec.states if s.name == "tokens") for name, spec in specs.items()}
        tokens = {f"tokens.{name}": (batch, *shape[1:]) for name, shape in shapes.items()}
        inputs = {**tokens, "available": (batch, len(MODALITIES))}
        _check_signature(file, program, inputs, {"prediction": (batch, outputs)})
        super().__init__(program)
        self._available, self._prediction = program.inputs["available"], program.outputs["prediction"]
        self._tokens = [
            (name, MODALITIES.index(name), program.inputs[f"tokens.{name}"], np.zeros((1, *shape[1:]), np.float32))
            for name, shape in shapes.items()
        ]

    def run(self, streams: Sequence[Mapping[str, State]]) -> list[list[float]]:
        """Return the outputs of each stream from the states of its available modalities. At most one stream per row."""
        count = len(streams)
        for name, column, buffer, zeros in self._tokens:
            rows = [states[name]["tokens"] if name in states else zeros for states in streams]
            np.concatenate(rows, out=buffer[:count])
            self._available[:count, column] = [name in states for states in streams]
        self._program.run()
        outputs: list[list[float]] = self._prediction[:count].tolist()
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


def _joined(buffers: Sequence[NDArray[Any]]) -> NDArray[Any] | None:
    """Return the part of one array that these buffers fill, if `allocate_buffers` returned them in this order."""
    block, dtype = buffers[0].base, buffers[0].dtype
    if not isinstance(block, np.ndarray) or block.ndim != 1 or block.dtype != dtype:
        return None
    first = expected = (buffers[0].ctypes.data - block.ctypes.data) // dtype.itemsize
    for buffer in buffers:
        start = (buffer.ctypes.data - block.ctypes.data) // dtype.itemsize
        if buffer.base is not block or start != expected:
            return None
        expected += padded_size(buffer.shape, dtype)
    return block[first:expected] if expected <= len(block) else None


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
