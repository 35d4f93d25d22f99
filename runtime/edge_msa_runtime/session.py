"""A session: a verified bundle on a backend, ready to read."""

from __future__ import annotations

import os
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Mapping

from edge_msa_runtime.backends import Backend, BackendOptions, check_backend_name, open_backend
from edge_msa_runtime.bundle.manifest import Manifest
from edge_msa_runtime.bundle.reader import Bundle, open_bundle
from edge_msa_runtime.errors import BackendUnavailableError, UsageError
from edge_msa_runtime.graphs import Graphs
from edge_msa_runtime.inputs.validation import InputValidator
from edge_msa_runtime.modalities import Subset
from edge_msa_runtime.prediction import Prediction, make_prediction
from edge_msa_runtime.stream import Stream
from edge_msa_runtime.text.encoders import open_text_encoder
from edge_msa_runtime.text.words import is_text

if TYPE_CHECKING:
    from edge_msa_runtime.programs import State


class Session:
    """Reads sentiment from any non-empty subset of the bundle's modalities; made by `load`, a context manager.

    For one thread at a time: its buffers are shared by all calls and streams. `bundle`; `backend` and `precision` by
    name, `backend_version` as the vendor says it; `threads`; `passed_over`: why each backend that the bundle prefers to
    this one could not be opened.
    """

    def __init__(self, bundle: Bundle, graphs: Graphs, threads: int, passed_over: tuple[str, ...] = ()) -> None:
        self.bundle = bundle
        self.backend = graphs.backend.name
        self.backend_version = graphs.backend.version
        self.precision = graphs.precision
        self.threads = threads
        self.passed_over = passed_over
        self._graphs = graphs
        self._task = bundle.manifest.task
        dims = {name: spec.dim for name, spec in bundle.manifest.modalities.items()}
        self._validator = InputValidator(dims, open_text_encoder(bundle, graphs))

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
        """What of the graphs loaded so far runs otherwise than is usual on this backend."""
        return self._graphs.notes

    @property
    def load_milliseconds(self) -> float:
        """Time spent so far on verifying the bundle, opening the backend and loading graphs."""
        return self._graphs.load_ms

    def predict(
        self, *, language: Any = None, audio: Any = None, vision: Any = None, valid: Mapping[str, Any] | None = None
    ) -> Prediction:
        """Read one utterance.

        The first prediction of a subset loads its graph, which `prepare` does ahead of time.

        Args:
            language: what was said, as a text, where the bundle reads words: longer text than it has tokens for loses
                its end, and one without a token is absent. Or (T, d) finite real numbers within 1e30, not normalized;
                None or without a valid frame: absent.
            audio: frames, likewise, T of its own.
            vision: likewise.
            valid: by modality, a boolean mask (T,) of the frames that are real; others leave no trace.

        Raises:
            UsageError: an array or a mask does not fit, text is given to a bundle without a tokenizer or is no
                Unicode, or no modality has a valid frame.
            InferenceError: the backend failed.
            BackendUnavailableError: the tokenizers library is not installed.
        """
        started = time.perf_counter()
        rows = self._validator.gather((language, audio, vision), valid)
        if not rows and is_text(language):
            raise UsageError(f"there is no word in {str(language)[:40]!r}, and no frame beside it; say something")
        if not rows:
            raise UsageError(
                f"there is no valid frame in any modality; give at least one of {', '.join(self.manifest.modalities)}"
            )
        subset = Subset.of(rows)
        graphs = self._graphs
        window = graphs.window(subset, rows) if graphs.fits_windows(rows) else None
        if window is not None:
            outputs = window.run(rows)
        else:
            states: dict[str, State] = {}
            graphs.step(rows, states)
            outputs = graphs.fuse(states)
        return make_prediction(
            outputs,
            self._task,
            subset=subset.value,
            executed=(self.backend, graphs.device, self.precision),
            milliseconds=(time.perf_counter() - started) * 1e3,
        )

    def frames_of(self, text: str) -> int:
        """How many frames of language a text becomes: its tokens.

        Raises:
            UsageError: the bundle reads no words, or it is no Unicode text.
            BackendUnavailableError: the tokenizers library is not installed.
        """
        return len(self._validator.words().tokenizer.ids(text))

    def create_stream(self) -> Stream:
        """A new stream, with a state of its own."""
        return Stream(self._graphs, self._validator, self._task)

    def prepare(self, *subsets: Subset | str) -> None:
        """Load the graphs of these subsets now, rather than at their first prediction.

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
            self._graphs.prepare(chosen)

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
    backend: str = "auto",
    strict: bool = False,
    precision: str | None = None,
    threads: int = 1,
    device: str = "",
) -> Session:
    """Verify a bundle and open a backend for it.

    Args:
        bundle: the folder.
        backend: a name, or `auto`: the first of the bundle's backends that can be opened here.
        strict: refuse, with `auto`, any backend but the bundle's first, and any graph that the backend puts on another
            device than it was asked for.
        precision: `fp32`, `fp16` or `int8`; None: the one that the bundle chose for the backend.
        threads: for one inference, on a CPU.
        device: what the backend runs on, in its own words: `CPU`, `GPU`, `GPU.1` or `NPU` for OpenVINO, `GPU:1` for
            TensorRT; empty for its usual one.

    Raises:
        UsageError: there is no such folder, backend or precision, or the folder is no bundle.
        BundleError: the bundle is damaged.
        BackendUnavailableError: no backend that is allowed can be opened; the message has the command that installs it.
    """
    started = time.perf_counter()
    if backend != "auto":
        check_backend_name(backend)
    options = BackendOptions(threads, device)
    opened = open_bundle(bundle)
    chosen, passed_over = _open_first(opened.manifest, _candidates(opened, backend, precision, strict=strict), options)
    graphs = Graphs(opened, chosen, choose_precision(opened, chosen.name, precision), strict=strict)
    graphs.load_ms = (time.perf_counter() - started) * 1e3
    return Session(opened, graphs, threads, passed_over)


def _candidates(bundle: Bundle, backend: str, precision: str | None, *, strict: bool) -> tuple[str, ...]:
    """The backends to try: with a precision that is asked for by name, those that have graphs at it."""
    manifest = bundle.manifest
    if backend == "auto":
        names = manifest.backends[:1] if strict else manifest.backends
        return tuple(name for name in names if precision in (None, *bundle.precisions(name))) or names
    if backend not in manifest.backends:
        raise UsageError(
            f"this bundle is for {', '.join(manifest.backends)}, not for {backend}; export one for a target that runs it"
        )
    return (backend,)


def _open_first(manifest: Manifest, names: tuple[str, ...], options: BackendOptions) -> tuple[Backend, tuple[str, ...]]:
    refusals: list[str] = []
    for name in names:
        try:
            backend = open_backend(name, options)
            backend.check_target(manifest.profile)
            return backend, tuple(refusals)
        except BackendUnavailableError as error:
            refusals.append(str(error))
    raise BackendUnavailableError(" | ".join(refusals) or "the bundle names no backend; export it again")


def choose_precision(bundle: Bundle, backend: str, wanted: str | None) -> str:
    """The precision that is wanted, or the one that the bundle chose for a backend.

    Raises:
        UsageError: the bundle has no graphs at it.
    """
    there = bundle.precisions(backend)
    chosen = wanted if wanted is not None else bundle.manifest.precision.get(backend, "")
    if chosen not in there:
        raise UsageError(
            f"the bundle has no graphs at {chosen!r} for {backend}, only {', '.join(there) or 'none'}; "
            "choose --precision or --backend by that"
        )
    return chosen
