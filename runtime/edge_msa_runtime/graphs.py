"""The graphs of one bundle on one backend at one precision. Each graph is loaded when it is first needed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Mapping

from edge_msa_runtime.backends.base import matches_device
from edge_msa_runtime.bundle.manifest import GraphKey
from edge_msa_runtime.errors import BackendUnavailableError, BundleError
from edge_msa_runtime.modalities import Subset
from edge_msa_runtime.programs import FuseProgram, StepProgram, TextEncoderProgram, WindowProgram

if TYPE_CHECKING:
    from edge_msa_runtime.backends.base import Backend, Program
    from edge_msa_runtime.bundle.loader import Bundle
    from edge_msa_runtime.inputs.validation import Frames
    from edge_msa_runtime.programs import State


class Graphs:
    """Load the graphs of a bundle and run them by role.

    Attributes:
        backend: the backend that runs the graphs.
        precision: the precision of the graphs.
        device: the requested device until the first graph is loaded, then the device that the graph runs on.
        load_ms: milliseconds spent so far on opening the bundle and the backend and on loading graphs.
    """

    def __init__(self, bundle: Bundle, backend: Backend, precision: str, *, strict: bool, load_ms: float = 0.0) -> None:
        self.backend = backend
        self.precision = precision
        self.device = backend.device
        self.load_ms = load_ms
        self._bundle = bundle
        self._specs = bundle.manifest.modalities
        self._strict = strict
        self._steps: dict[str, StepProgram] = {}
        self._windows: dict[GraphKey, WindowProgram | None] = {}
        self._text_encoders: dict[int, TextEncoderProgram] = {}
        self._fuse: FuseProgram | None = None
        self._loaded: list[Program] = []
        keys = [s.key for s in bundle.manifest.graphs if (s.backend, s.precision) == (backend.name, precision)]
        self._short_windows = {subset: _lengths(keys, GraphKey.window(subset)) for subset in Subset}
        self._text_lengths = _lengths(keys, GraphKey("text_encoder", ("language",)))

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks on how the backend executes the loaded graphs, each once."""
        return tuple(dict.fromkeys(note for program in self._loaded for note in program.notes))

    def fits_windows(self, frames: Mapping[str, Frames]) -> bool:
        """Return whether the frames of every modality fit its window."""
        return all(len(values) <= self._specs[name].window for name, values in frames.items())

    def window(self, subset: Subset, frames: Mapping[str, Frames]) -> WindowProgram | None:
        """Return the shortest window graph of a subset that holds the frames, or None if the bundle has none."""
        key = GraphKey.window(subset)
        if lengths := self._short_windows[subset]:
            longest = max(map(len, frames.values()))
            key = GraphKey.window(subset, next((length for length in lengths if longest <= length), None))
        if key not in self._windows:
            self._windows[key] = self._load_window(key)
        return self._windows[key]

    def text_encoder(self, tokens: int) -> TextEncoderProgram:
        """Return the shortest text encoder graph that holds this many tokens."""
        length = next((length for length in self._text_lengths if tokens <= length), tokens)
        return self._text_encoders.get(length) or self._load_text_encoder(length)

    def step(self, frames: Mapping[str, Frames], states: dict[str, State]) -> None:
        """Run the step graphs on frames and update the states in place. A modality without a state gets one."""
        for name, values in frames.items():
            program = self._steps.get(name) or self._load_step(name)
            state = states[name] if name in states else program.initial_state()
            program.run(values, state)
            states[name] = state

    def fuse(self, states: Mapping[str, State]) -> list[float]:
        """Run the fuse graph on the states of the available modalities and return its outputs."""
        return (self._fuse or self._load_fuse()).run(states)

    def prepare(self, subset: Subset) -> None:
        """Load every graph that `Session.predict` or a stream needs for a subset."""
        for length in (None, *self._short_windows[subset]):
            key = GraphKey.window(subset, length)
            if key not in self._windows:
                self._windows[key] = self._load_window(key)
        for length in self._text_lengths if "language" in subset.modalities else ():
            self.text_encoder(length)
        for name in subset.modalities:
            if name not in self._steps:
                self._load_step(name)
        if self._fuse is None:
            self._load_fuse()

    def close(self) -> None:
        """Release every loaded graph."""
        for program in self._loaded:
            program.close()
        self._loaded, self._steps, self._windows, self._text_encoders, self._fuse = [], {}, {}, {}, None

    def _load_window(self, key: GraphKey) -> WindowProgram | None:
        if self._bundle.graph(self.backend.name, self.precision, key) is None:
            return None
        program, file = self._load(key)
        specs = {name: self._specs[name] for name in key.modalities}
        lengths = {name: key.length or spec.window for name, spec in specs.items()}
        return WindowProgram(program, file, specs, lengths, self._bundle.manifest.task.outputs)

    def _load_text_encoder(self, length: int) -> TextEncoderProgram:
        program, file = self._load(GraphKey.text_encoder(length))
        self._text_encoders[length] = TextEncoderProgram(program, file, length, self._specs["language"].dim)
        return self._text_encoders[length]

    def _load_step(self, name: str) -> StepProgram:
        program, file = self._load(GraphKey.step(name))
        self._steps[name] = StepProgram(program, file, self._specs[name])
        return self._steps[name]

    def _load_fuse(self) -> FuseProgram:
        program, file = self._load(GraphKey.fuse(self._specs))
        self._fuse = FuseProgram(program, file, self._specs, self._bundle.manifest.task.outputs)
        return self._fuse

    def _load(self, key: GraphKey) -> tuple[Program, str]:
        spec = self._bundle.graph(self.backend.name, self.precision, key)
        if spec is None:
            raise BundleError(
                f"The bundle has no {key} graph for {self.backend.name} at {self.precision}. Export the bundle again."
            )
        started = time.perf_counter()
        program = self.backend.load(self._bundle.path / spec.file, self.precision)
        self.load_ms += (time.perf_counter() - started) * 1e3
        self._loaded.append(program)
        if self._strict and not matches_device(program.device, self.backend.device):
            raise BackendUnavailableError(
                f"{spec.file} must run on {self.backend.device}, but {self.backend.name} runs it on {program.device}. "
                "Remove --strict to accept that."
            )
        self.device = program.device
        return program, spec.file


def _lengths(keys: list[GraphKey], graph: GraphKey) -> tuple[int, ...]:
    """Return the lengths of the keys that equal `graph` except for their length, shortest first."""
    lengths = [key.length for key in keys if (key.role, key.modalities) == (graph.role, graph.modalities)]
    return tuple(sorted(length for length in lengths if length is not None))
