"""A session: a verified bundle on an engine, ready to read."""

from __future__ import annotations

import os
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Mapping

from edge_msa_runtime.bundle import Bundle, open_bundle
from edge_msa_runtime.engines import Engine, EngineOptions, check_engine_name, open_engine
from edge_msa_runtime.errors import EngineUnavailableError, UsageError
from edge_msa_runtime.frames import Intake
from edge_msa_runtime.graphs import Graphs
from edge_msa_runtime.manifest import Manifest
from edge_msa_runtime.modalities import Subset
from edge_msa_runtime.reading import Reading, make_reading
from edge_msa_runtime.stream import Stream
from edge_msa_runtime.text import text_front
from edge_msa_runtime.words import are_words

if TYPE_CHECKING:
    from edge_msa_runtime.programs import State


class Session:
    """Reads sentiment from any non-empty subset of the bundle's modalities; made by `load`, a context manager.

    For one thread at a time: its buffers are shared by all calls and streams. `bundle`; `engine` and `precision` by
    name, `engine_version` as the vendor says it; `threads`; `passed_over`: why each engine that the bundle prefers to
    this one could not be opened.
    """

    def __init__(self, bundle: Bundle, graphs: Graphs, threads: int, passed_over: tuple[str, ...] = ()) -> None:
        self.bundle = bundle
        self.engine = graphs.engine.name
        self.engine_version = graphs.engine.version
        self.precision = graphs.precision
        self.threads = threads
        self.passed_over = passed_over
        self._graphs = graphs
        self._task = bundle.manifest.task
        dims = {name: spec.dim for name, spec in bundle.manifest.modalities.items()}
        self._intake = Intake(dims, text_front(bundle, graphs))

    @property
    def manifest(self) -> Manifest:
        """The bundle's manifest."""
        return self.bundle.manifest

    @property
    def device(self) -> str:
        """What executes."""
        return self._graphs.device

    @property
    def notes(self) -> tuple[str, ...]:
        """What of the graphs loaded so far runs otherwise than is usual on this engine."""
        return self._graphs.notes

    @property
    def load_milliseconds(self) -> float:
        """Time spent so far on verifying the bundle, opening the engine and loading graphs."""
        return self._graphs.milliseconds

    def predict(
        self, *, language: Any = None, audio: Any = None, vision: Any = None, valid: Mapping[str, Any] | None = None
    ) -> Reading:
        """Read one utterance.

        The first reading of a subset loads its graph, which `prepare` does ahead of time.

        Args:
            language: what was said, as a text, where the bundle reads words: longer text than it has tokens for loses
                its end, and one without a token is absent. Or (T, d) finite real numbers within 1e30, not normalised;
                None or without a valid frame: absent.
            audio: frames, likewise, T of its own.
            vision: likewise.
            valid: by modality, a boolean mask (T,) of the frames that are real; others leave no trace.

        Raises:
            UsageError: an array or a mask does not fit, text is given to a bundle without a tokenizer or is no
                Unicode, or no modality has a valid frame.
            RuntimeFailure: the engine failed, or the tokenizers library is missing.
        """
        started = time.perf_counter()
        rows = self._intake.gather((language, audio, vision), valid)
        if not rows and are_words(language):
            raise UsageError(f"there is no word in {str(language)[:40]!r}, and no frame beside it; say something")
        if not rows:
            raise UsageError(
                f"there is no valid frame in any modality; give at least one of {', '.join(self.manifest.modalities)}"
            )
        subset = "".join([name[0] for name in rows])
        graphs = self._graphs
        window = graphs.window(subset, rows) if graphs.fits(rows) else None
        if window is not None:
            outputs = window.run(rows)
        else:
            states: dict[str, State] = {}
            graphs.advance(rows, states)
            outputs = graphs.fuse(states)
        return make_reading(
            outputs,
            self._task,
            subset=subset,
            executed=(self.engine, graphs.device, self.precision),
            milliseconds=(time.perf_counter() - started) * 1e3,
        )

    def frames_of(self, text: str) -> int:
        """How many frames of language a text becomes: its tokens.

        Raises:
            UsageError: the bundle reads no words, or it is no Unicode text.
            RuntimeFailure: the tokenizers library is missing.
        """
        return len(self._intake.words().tokenizer.ids(text))

    def stream(self) -> Stream:
        """A new stream, with a state of its own."""
        return Stream(self._graphs, self._intake, self._task)

    def prepare(self, *subsets: Subset | str) -> None:
        """Load the graphs of these subsets now, rather than at their first reading.

        Raises:
            UsageError: there is no such subset, or the bundle lacks a modality of it.
        """
        for subset in subsets:
            try:
                chosen = Subset(subset)
            except ValueError:
                raise UsageError(f"unknown subset {subset!r}; there are {', '.join(s.value for s in Subset)}") from None
            missing = [name for name in chosen.modalities if name not in self.manifest.modalities]
            if missing:
                raise UsageError(f"this bundle reads {', '.join(self.manifest.modalities)}, not {missing[0]}")
            self._graphs.prepare(chosen.value)

    def close(self) -> None:
        """Let go of the loaded graphs; a later call would load them again."""
        self._graphs.close()

    def __enter__(self) -> Session:  # noqa: PYI034 - typing.Self is of 3.11
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def load(
    bundle: str | os.PathLike[str],
    engine: str = "auto",
    strict: bool = False,
    precision: str | None = None,
    threads: int = 1,
    device: str = "",
) -> Session:
    """Verify a bundle and open an engine for it.

    Args:
        bundle: the folder.
        engine: a name, or `auto`: the first of the bundle's engines that can be opened here.
        strict: refuse, with `auto`, any engine but the bundle's first, and any graph that the engine puts on another
            device than it was asked for.
        precision: `fp32`, `fp16` or `int8`; None: the one that the bundle chose for the engine.
        threads: for one inference, on a CPU.
        device: what the engine runs on, in its own words: `CPU`, `GPU`, `GPU.1` or `NPU` for OpenVINO, `GPU:1` for
            TensorRT; empty for its usual one.

    Raises:
        UsageError: there is no such folder, engine or precision, or the folder is no bundle.
        BundleError: the bundle is damaged.
        EngineUnavailableError: no engine that is allowed can be opened; the message has the command that installs it.
    """
    started = time.perf_counter()
    if engine != "auto":
        check_engine_name(engine)
    options = EngineOptions(threads, device)
    opened = open_bundle(bundle)
    chosen, passed_over = _open_first(opened.manifest, _candidates(opened, engine, precision, strict=strict), options)
    graphs = Graphs(opened, chosen, choose_precision(opened, chosen.name, precision), strict=strict)
    graphs.milliseconds = (time.perf_counter() - started) * 1e3
    return Session(opened, graphs, threads, passed_over)


def _candidates(bundle: Bundle, engine: str, precision: str | None, *, strict: bool) -> tuple[str, ...]:
    """The engines to try: with a precision that is asked for by name, those that have graphs at it."""
    manifest = bundle.manifest
    if engine == "auto":
        names = manifest.engines[:1] if strict else manifest.engines
        return tuple(name for name in names if precision in (None, *bundle.precisions(name))) or names
    if engine not in manifest.engines:
        raise UsageError(
            f"this bundle is for {', '.join(manifest.engines)}, not for {engine}; export one for a target that runs it"
        )
    return (engine,)


def _open_first(manifest: Manifest, names: tuple[str, ...], options: EngineOptions) -> tuple[Engine, tuple[str, ...]]:
    refusals: list[str] = []
    for name in names:
        try:
            engine = open_engine(name, options)
            engine.check_target(manifest.profile)
            return engine, tuple(refusals)
        except EngineUnavailableError as error:
            refusals.append(str(error))
    raise EngineUnavailableError(" | ".join(refusals) or "the bundle names no engine; export it again")


def choose_precision(bundle: Bundle, engine: str, wanted: str | None) -> str:
    """The precision that is wanted, or the one that the bundle chose for an engine.

    Raises:
        UsageError: the bundle has no graphs at it.
    """
    there = bundle.precisions(engine)
    chosen = wanted if wanted is not None else bundle.manifest.precision.get(engine, "")
    if chosen not in there:
        raise UsageError(
            f"the bundle has no graphs at {chosen!r} for {engine}, only {', '.join(there) or 'none'}; "
            "choose --precision or --engine by that"
        )
    return chosen
