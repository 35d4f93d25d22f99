"""The graphs of one bundle on one backend at one precision, each loaded when it is first asked for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Mapping

from edge_msa_runtime.backends.base import is_device
from edge_msa_runtime.errors import BackendUnavailableError, BundleError
from edge_msa_runtime.modalities import Subset
from edge_msa_runtime.programs import FuseProgram, StepProgram, TextEncoderProgram, WindowProgram

if TYPE_CHECKING:
    from edge_msa_runtime.backends.base import Backend, Program
    from edge_msa_runtime.bundle.reader import Bundle
    from edge_msa_runtime.inputs.validation import Rows
    from edge_msa_runtime.programs import State


class Graphs:
    """Loads graphs and runs them by role.

    `device` is what executes, the backend's word until the first graph is loaded and that graph's from then on;
    `milliseconds` is the time spent on loading so far.
    """

    def __init__(self, bundle: Bundle, backend: Backend, precision: str, *, strict: bool) -> None:
        self.backend = backend
        self.precision = precision
        self.device = backend.device
        self.milliseconds = 0.0
        self._bundle = bundle
        self._specs = bundle.manifest.modalities
        self._strict = strict
        self._steps: dict[str, StepProgram] = {}
        self._windows: dict[str, WindowProgram | None] = {}
        self._text_encoders: dict[int, TextEncoderProgram] = {}
        self._window_lengths = self._lengths_of("window")
        self._text_encoder_lengths = [length for length, _ in self._lengths_of("text_encoder").get("", [])]
        self._fuse: FuseProgram | None = None
        self._loaded: list[Program] = []

    @property
    def notes(self) -> tuple[str, ...]:
        """What the loaded programs note, each once."""
        return tuple(dict.fromkeys(note for program in self._loaded for note in program.notes))

    def fits(self, rows: Mapping[str, Rows]) -> bool:
        """Whether no modality has more frames than its window."""
        return all(len(frames) <= self._specs[name].window for name, frames in rows.items())

    def window(self, subset: str, rows: Mapping[str, Rows]) -> WindowProgram | None:
        """The shortest window graph of a subset that holds these frames, or None where the bundle has none."""
        scope = subset
        if subset in self._window_lengths:
            longest = max(map(len, rows.values()))
            scope = next((shorter for most, shorter in self._window_lengths[subset] if longest <= most), subset)
        if scope not in self._windows:
            self._windows[scope] = self._load_window(scope)
        return self._windows[scope]

    def text_encoder(self, count: int) -> TextEncoderProgram:
        """The shortest text encoder graph that holds so many tokens."""
        length = next((length for length in self._text_encoder_lengths if count <= length), count)
        return self._text_encoders.get(length) or self._load_text_encoder(length)

    def advance(self, rows: Mapping[str, Rows], states: dict[str, State]) -> None:
        """Bring the states of the modalities in `rows` forward; a modality's first frames make its state."""
        for name, frames in rows.items():
            step = self._steps.get(name) or self._load_step(name)
            state = states[name] if name in states else step.initial()
            step.advance(frames, state)
            states[name] = state

    def fuse(self, states: Mapping[str, State]) -> list[float]:
        """The outputs from the states there are."""
        return (self._fuse or self._load_fuse()).run(states)

    def prepare(self, subset: str) -> None:
        """Load all that a subset needs, whole or streamed."""
        for scope in [subset, *(shorter for _, shorter in self._window_lengths.get(subset, []))]:
            if scope not in self._windows:
                self._windows[scope] = self._load_window(scope)
        for length in self._text_encoder_lengths if "l" in subset else ():
            self.text_encoder(length)
        for name in Subset(subset).modalities:
            if name not in self._steps:
                self._load_step(name)
        if self._fuse is None:
            self._load_fuse()

    def close(self) -> None:
        """Let go of every loaded graph."""
        for program in self._loaded:
            program.close()
        self._loaded, self._steps, self._windows, self._text_encoders, self._fuse = [], {}, {}, {}, None

    def _lengths_of(self, role: str) -> dict[str, list[tuple[int, str]]]:
        """By what stands before the length in a scope (`l` of `l.16`), the lengths and scopes, shortest first."""
        found: dict[str, list[tuple[int, str]]] = {}
        for spec in self._bundle.manifest.graphs:
            subset, _, length = spec.scope.rpartition(".")
            if (spec.backend, spec.precision, spec.role) == (self.backend.name, self.precision, role) and (
                length.isdigit()
            ):
                found.setdefault(subset, []).append((int(length), spec.scope))
        return {subset: sorted(lengths) for subset, lengths in found.items()}

    def _load_window(self, scope: str) -> WindowProgram | None:
        if self._bundle.graph(self.backend.name, self.precision, "window", scope) is None:
            return None
        program, file = self._load("window", scope)
        subset, _, length = scope.partition(".")
        specs = {name: self._specs[name] for name in Subset(subset).modalities}
        lengths = {name: int(length) if length else spec.window for name, spec in specs.items()}
        return WindowProgram(program, file, specs, lengths, self._bundle.manifest.task.outputs)

    def _load_text_encoder(self, length: int) -> TextEncoderProgram:
        program, file = self._load("text_encoder", str(length))
        self._text_encoders[length] = TextEncoderProgram(program, file, length, self._specs["language"].dim)
        return self._text_encoders[length]

    def _load_step(self, name: str) -> StepProgram:
        program, file = self._load("step", name)
        self._steps[name] = StepProgram(program, file, self._specs[name])
        return self._steps[name]

    def _load_fuse(self) -> FuseProgram:
        program, file = self._load("fuse", "")
        self._fuse = FuseProgram(program, file, self._specs, self._bundle.manifest.task.outputs)
        return self._fuse

    def _load(self, role: str, scope: str) -> tuple[Program, str]:
        spec = self._bundle.graph(self.backend.name, self.precision, role, scope)
        if spec is None:
            raise BundleError(
                f"the bundle has no {role} graph {scope or ''} for {self.backend.name} at {self.precision}; "
                "export the bundle again"
            )
        started = time.perf_counter()
        program = self.backend.load(self._bundle.path / spec.file, self.precision)
        self.milliseconds += (time.perf_counter() - started) * 1e3
        self._loaded.append(program)
        if self._strict and not is_device(program.device, self.backend.device):
            raise BackendUnavailableError(
                f"{self.backend.name} put {spec.file} on {program.device}, asked was {self.backend.device}; "
                "leave --strict out to accept it"
            )
        self.device = program.device
        return program, spec.file
