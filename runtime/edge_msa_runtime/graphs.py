"""The graphs of one bundle on one backend at one precision. Each graph is loaded when it is first needed."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Callable, Mapping, Sequence, TypeVar

from edge_msa_runtime.backends.base import matches_device
from edge_msa_runtime.bundle.manifest import GraphKey
from edge_msa_runtime.errors import BackendUnavailableError, BundleError, EdgeMsaError
from edge_msa_runtime.log_notes import LOGGER
from edge_msa_runtime.modalities import Subset, subsets_of
from edge_msa_runtime.program_pool import ProgramPool, closed_error
from edge_msa_runtime.programs import (
    FuseBatchProgram,
    FuseProgram,
    RoleProgram,
    StepBatchProgram,
    StepJob,
    StepProgram,
    TextEncoderProgram,
    WindowProgram,
)

if TYPE_CHECKING:
    from edge_msa_runtime.backends.base import Backend, Program
    from edge_msa_runtime.bundle.loader import Bundle
    from edge_msa_runtime.inputs.validation import Frames
    from edge_msa_runtime.programs import State

_Role = TypeVar("_Role", bound=RoleProgram)


class Graphs:
    """Load the graphs of a bundle and run them by role, from any number of threads.

    Attributes:
        backend: the backend that runs the graphs.
        precision: the precision of the graphs.
        device: the requested device until the first graph is loaded, then the device that the graph runs on.
        is_closed: whether the graphs were released.
    """

    def __init__(self, bundle: Bundle, backend: Backend, precision: str, *, strict: bool, load_ms: float = 0.0) -> None:
        self.backend = backend
        self.precision = precision
        self.device = backend.device
        self._bundle = bundle
        self._specs = bundle.manifest.modalities
        self._strict = strict
        # Threads look graphs up without the lock. They load graphs with it, so that no graph is compiled twice.
        self._lock = threading.RLock()
        self.is_closed = False
        self._steps: dict[str, ProgramPool[StepProgram]] = {}
        self._windows: dict[GraphKey, ProgramPool[WindowProgram]] = {}
        self._text_encoders: dict[int, ProgramPool[TextEncoderProgram]] = {}
        self._fuse: ProgramPool[FuseProgram] | None = None
        self._batch_steps: dict[str, ProgramPool[StepBatchProgram]] = {}
        self._batch_fuse: ProgramPool[FuseBatchProgram] | None = None
        # Pools create programs without the lock, so these change in single operations, which are atomic.
        self._load_times = [load_ms]
        self._fallbacks: dict[str, object] = {}
        keys = [s.key for s in bundle.manifest.graphs if (s.backend, s.precision) == (backend.name, precision)]
        self._batch = max((key.batch for key in keys), default=1) if backend.gains_from_batches else 1
        # The window graphs of each subset, shortest first, with the frames of each modality that they take.
        self._window_lengths = {
            subset: tuple(
                (key, tuple((name, length or self._specs[name].window) for name in subset.modalities))
                for length in (*_lengths(keys, GraphKey.window(subset)), None)
                if (key := GraphKey.window(subset, length)) in keys
            )
            for subset in subsets_of(self._specs)
        }
        self._text_lengths = _lengths(keys, GraphKey("text_encoder", ("language",)))

    @property
    def fallbacks(self) -> tuple[str, ...]:
        """What could not be used to execute the loaded graphs, such as a device or a CUDA graph, each once."""
        return tuple(self._fallbacks)

    @property
    def load_ms(self) -> float:
        """Milliseconds spent so far on opening the bundle and the backend and on loading graphs."""
        return sum(self._load_times)

    def check_open(self) -> None:
        """Raise a UsageError if the graphs are closed."""
        if self.is_closed:
            raise closed_error()

    def window_key(self, subset: Subset, frames: Mapping[str, Frames]) -> GraphKey | None:
        """Return the key of the shortest window graph of a subset that holds the frames.

        The result is None if the frames of a modality exceed its window, or if the bundle has no window graphs.
        """
        for key, lengths in self._window_lengths[subset]:
            for name, length in lengths:
                if len(frames[name]) > length:
                    break
            else:
                return key
        return None

    def run_window(self, subset: Subset, frames: Mapping[str, Frames]) -> list[float] | None:
        """Run the graph of `window_key` and return its outputs; None if there is no such graph."""
        key = self.window_key(subset, frames)
        if key is None:
            return None
        pool = self._windows.get(key) or self._window_pool(key)
        program = pool.take()
        try:
            return program.run(frames)
        finally:
            pool.give(program)

    def encode_text(self, ids: Sequence[int]) -> Frames:
        """Run the shortest text encoder graph that holds n > 0 token ids, and return the frames (n, d)."""
        count = len(ids)
        length = next((length for length in self._text_lengths if count <= length), count)
        pool = self._text_encoders.get(length) or self._text_encoder_pool(length)
        program = pool.take()
        try:
            return program.run(ids)
        finally:
            pool.give(program)

    def step(self, frames: Mapping[str, Frames], states: dict[str, State]) -> None:
        """Run the step graphs on frames and update the states in place. A modality without a state gets one."""
        for name, values in frames.items():
            states[name] = self.step_one(name, values, states.get(name))

    def step_one(self, name: str, frames: Frames, state: State | None) -> State:
        """Run the step graph of one modality on frames. Update its state in place, or create one; return the state.

        If the graph fails, the state is unchanged.
        """
        pool = self._steps.get(name) or self._step_pool(name)
        program = pool.take()
        try:
            if state is None:
                state = program.initial_state()
            program.run(frames, state)
        finally:
            pool.give(program)
        return state

    def fuse(self, states: Mapping[str, State]) -> list[float]:
        """Run the fuse graph on the states of the available modalities and return its outputs."""
        pool = self._fuse or self._fuse_pool()
        program = pool.take()
        try:
            return program.run(states)
        finally:
            pool.give(program)

    @property
    def batch(self) -> int:
        """Number of streams that a graph takes at once; 1 if the bundle has no such graphs for the backend."""
        return self._batch

    @property
    def min_batch(self) -> int:
        """Number of streams from which one step for `batch` streams is faster than one step per stream.

        It is 3 or 4 of 8, for the presets nano to small on ONNX Runtime and OpenVINO.
        """
        return self._batch // 2 if self._batch > 1 else sys.maxsize

    def step_many(self, name: str, jobs: Sequence[StepJob]) -> None:
        """Run the step graph of one modality for several streams, several at once where that is faster.

        It sets the state or the error of each job.
        """
        batch, chunk = self._batch, self._specs[name].chunk
        # Streams with equally many chunks run together.
        waiting = sorted(jobs, key=lambda job: len(job.frames), reverse=True)
        while len(waiting) >= self.min_batch:
            group, waiting = waiting[:batch], waiting[batch:]
            # Chunks that too few streams have are left for the graph of single streams.
            last = group[self.min_batch - 1]
            chunks = -(-len(last.frames) // chunk)
            try:
                self._run_batch(name, group, chunks)
            except EdgeMsaError as error:
                for job in group:
                    job.error = error
                continue
            for job in group:
                if len(job.frames) > chunks * chunk:
                    self._step_job(name, job, job.frames[chunks * chunk :], job.state)
        for job in waiting:
            self._step_job(name, job, job.frames, job.source)

    def _run_batch(self, name: str, jobs: Sequence[StepJob], chunks: int) -> None:
        pool = self._batch_steps.get(name) or self._batch_step_pool(name)
        program = pool.take()
        try:
            program.run(jobs, chunks)
        finally:
            pool.give(program)

    def _step_job(self, name: str, job: StepJob, frames: Frames, state: State | None) -> None:
        """Set the state of a job to the state after some frames. `state`, before them, does not change."""
        try:
            copied = None if state is None else {key: array.copy() for key, array in state.items()}
            job.state.update(self.step_one(name, frames, copied))
        except EdgeMsaError as error:
            job.state.clear()
            job.error = error

    def fuse_many(self, streams: Sequence[Mapping[str, State]]) -> list[list[float] | EdgeMsaError]:
        """Return the outputs of `fuse` for the states of each stream, or the error of the backend."""
        results: list[list[float] | EdgeMsaError] = []
        size = self._batch
        for start in range(0, len(streams), size):
            group = streams[start : start + size]
            try:
                # Even two streams are faster at once.
                results += self._fuse_batch(group) if len(group) > 1 else [self.fuse(group[0])]
            except EdgeMsaError as error:
                results += [error] * len(group)
        return results

    def _fuse_batch(self, streams: Sequence[Mapping[str, State]]) -> list[list[float]]:
        pool = self._batch_fuse or self._batch_fuse_pool()
        program = pool.take()
        try:
            return program.run(streams)
        finally:
            pool.give(program)

    def run(self, subset: Subset, frames: Mapping[str, Frames]) -> list[float]:
        """Return the outputs for frames of exactly a subset's modalities.

        A window graph computes them, or the step graphs if there are too many frames.
        """
        outputs = self.run_window(subset, frames)
        if outputs is not None:
            return outputs
        states: dict[str, State] = {}
        self.step(frames, states)
        return self.fuse(states)

    def prepare(self, subset: Subset, streams: int = 1) -> None:
        """Load every graph that a subset needs, and run all programs of each once.

        Args:
            subset: the subset.
            streams: largest number of streams that are predicted at once.
        """
        pools: list[ProgramPool[Any]] = [self._window_pool(key) for key, _ in self._window_lengths[subset]]
        if "language" in subset.modalities:
            pools += [self._text_encoder_pool(length) for length in self._text_lengths]
        pools += [self._step_pool(name) for name in subset.modalities]
        if streams >= self.min_batch:
            pools += [self._batch_step_pool(name) for name in subset.modalities]
            pools.append(self._batch_fuse_pool())
        for pool in (*pools, self._fuse_pool()):
            pool.fill()
            pool.apply(lambda program: program.warm_up())

    def close(self) -> None:
        """Release every loaded graph. Programs that are running are released when they have ended."""
        with self._lock:
            self.is_closed = True
            pools = (
                *self._steps.values(),
                *self._windows.values(),
                *self._text_encoders.values(),
                self._fuse,
                *self._batch_steps.values(),
                self._batch_fuse,
            )
        for pool in pools:
            if pool is not None:
                pool.close()

    def _window_pool(self, key: GraphKey) -> ProgramPool[WindowProgram]:
        with self._lock:
            if key not in self._windows:
                specs = {name: self._specs[name] for name in key.modalities}
                lengths = {name: key.length or spec.window for name, spec in specs.items()}
                outputs = self._bundle.manifest.task.outputs
                self._windows[key] = self._load(
                    key, lambda program, file: WindowProgram(program, file, specs, lengths, outputs)
                )
            return self._windows[key]

    def _text_encoder_pool(self, length: int) -> ProgramPool[TextEncoderProgram]:
        with self._lock:
            if length not in self._text_encoders:
                dim = self._specs["language"].dim
                self._text_encoders[length] = self._load(
                    GraphKey.text_encoder(length), lambda program, file: TextEncoderProgram(program, file, length, dim)
                )
            return self._text_encoders[length]

    def _step_pool(self, name: str) -> ProgramPool[StepProgram]:
        with self._lock:
            if name not in self._steps:
                spec = self._specs[name]
                self._steps[name] = self._load(
                    GraphKey.step(name), lambda program, file: StepProgram(program, file, spec)
                )
            return self._steps[name]

    def _fuse_pool(self) -> ProgramPool[FuseProgram]:
        with self._lock:
            if self._fuse is None:
                outputs = self._bundle.manifest.task.outputs
                self._fuse = self._load(
                    GraphKey.fuse(self._specs), lambda program, file: FuseProgram(program, file, self._specs, outputs)
                )
            return self._fuse

    def _batch_step_pool(self, name: str) -> ProgramPool[StepBatchProgram]:
        with self._lock:
            if name not in self._batch_steps:
                spec, batch = self._specs[name], self._batch
                self._batch_steps[name] = self._load(
                    GraphKey.step(name, batch), lambda program, file: StepBatchProgram(program, file, spec, batch)
                )
            return self._batch_steps[name]

    def _batch_fuse_pool(self) -> ProgramPool[FuseBatchProgram]:
        with self._lock:
            if self._batch_fuse is None:
                outputs, batch = self._bundle.manifest.task.outputs, self._batch
                self._batch_fuse = self._load(
                    GraphKey.fuse(self._specs, batch),
                    lambda program, file: FuseBatchProgram(program, file, self._specs, outputs, batch),
                )
            return self._batch_fuse

    def _load(self, key: GraphKey, create_role: Callable[[Program, str], _Role]) -> ProgramPool[_Role]:
        """Compile a graph and return the pool of its programs, with the first program in it. Call it with the lock."""
        self.check_open()
        spec = self._bundle.graph(self.backend.name, self.precision, key)
        if spec is None:
            raise BundleError(
                f"The bundle has no {key} graph for {self.backend.name} at {self.precision}. Export the bundle again."
            )
        file = spec.file
        started = time.perf_counter()
        create_program = self.backend.compile(self._bundle.path / file, self.precision)
        self._load_times.append((time.perf_counter() - started) * 1e3)

        def create() -> _Role:
            started = time.perf_counter()
            program = create_program()
            try:
                fallbacks = [*self._check_device(program, file), *program.notes]
                role = create_role(program, file)
            except BaseException:
                program.close()
                raise
            self._load_times.append((time.perf_counter() - started) * 1e3)
            for fallback in fallbacks:
                mark = object()
                if self._fallbacks.setdefault(fallback, mark) is mark:
                    LOGGER.warning("%s", fallback)
            self.device = program.device
            return role

        pool = ProgramPool(create, self.backend.options.workers)
        pool.give(pool.take())
        if self.is_closed:  # by a signal handler, which runs in this thread and does not wait for the lock
            pool.close()
        return pool

    def _check_device(self, program: Program, file: str) -> list[str]:
        """Return the fallback to another device than the requested one, if any. With `strict` it is an error."""
        requested = self.backend.device
        if matches_device(program.device, requested):
            return []
        if self._strict:
            raise BackendUnavailableError(
                f"{file} must run on {requested}, but {self.backend.name} runs it on {program.device}. "
                "Turn strict off to accept that."
            )
        return [f"{self.backend.name} runs on {program.device} instead of {requested}"]


def _lengths(keys: list[GraphKey], graph: GraphKey) -> tuple[int, ...]:
    """Return the lengths of the keys that equal `graph` except for their length, shortest first."""
    lengths = [key.length for key in keys if (key.role, key.modalities) == (graph.role, graph.modalities)]
    return tuple(sorted(length for length in lengths if length is not None))
