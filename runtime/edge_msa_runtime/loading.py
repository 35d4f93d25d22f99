"""Load a bundle, or a cascade of bundles: verify it and open a backend."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Iterable, Sequence

from edge_msa_runtime.backends import Backend, BackendOptions, check_backend_name, open_backend
from edge_msa_runtime.bundle.loader import Bundle, open_bundle
from edge_msa_runtime.cascade.loader import is_cascade, open_cascade
from edge_msa_runtime.cascade.session import CascadeSession
from edge_msa_runtime.conformal import DEFAULT_COVERAGE, check_coverage
from edge_msa_runtime.errors import BackendUnavailableError, PackageImportError, UsageError
from edge_msa_runtime.graphs import Graphs
from edge_msa_runtime.log_notes import LOGGER
from edge_msa_runtime.session import Session

if TYPE_CHECKING:
    import os


def load(
    bundle: str | os.PathLike[str],
    backend: str = "auto",
    strict: bool = False,
    precision: str | None = None,
    threads: int = 1,
    device: str = "",
    workers: int = 1,
    spin: bool = False,
    coverage: float = DEFAULT_COVERAGE,
    abstain: bool = False,
    trusted_keys: Iterable[str | os.PathLike[str]] | None = None,
    minimum_version: int = 0,
    versions: str | os.PathLike[str] | None = None,
) -> Session:
    """Verify a bundle and open a backend for it.

    If a backend of the bundle cannot be used, the next one is, and the logger `edge_msa_runtime` warns of that.

    If several threads of your program predict, set `workers` to the number of predictions of one subset that should run
    at the same time, so that `threads * workers` is at most the number of CPU cores. OpenVINO then loads graphs more
    slowly and needs more memory. Predictions are correct for any number of threads.

    The names of backends, precisions and devices may be in upper or lower case.

    The folder of a cascade gives a session that asks its members one after the other, see `CascadeSession`. The options
    then apply to each of them.

    Args:
        bundle: the folder of a bundle or of a cascade.
        backend: name of a backend, or `auto` for the first backend of the bundle that can be opened here.
        strict: with `auto`, accept only the bundle's first backend. With any backend, refuse a graph that runs on
            another device than the requested one.
        precision: `fp32`, `fp16`, `int8` or `int4`; None for the precision that the bundle chose for the backend.
        threads: CPU threads for one prediction.
        device: name of the backend's device: `CPU`, `GPU`, `GPU.1` or `NPU` for OpenVINO, `GPU:1` for TensorRT; empty
            for the backend's default.
        workers: predictions that run on one graph at the same time; others wait. Predictions of different subsets use
            different graphs and are not limited together.
        spin: let the idle CPU threads of ONNX Runtime spin between predictions. With `threads` above 1 this saves a few
            microseconds per prediction and keeps the CPU busy all the time.
        coverage: share of the intervals or sets of predictions, between 0 and 1, that contain the label. Bundles state
            them for some coverages; the next larger one counts. Beyond the largest, an interval is the whole scale, and
            a set has all classes.
        abstain: whether a prediction gets the label `uncertain` if its interval has values on both sides of zero, or if
            its prediction set has more than one class.
        trusted_keys: files with public keys, or folders with `*.pub` files. The bundle must be signed by one of them.
            None: signatures are not looked at.
        minimum_version: with `trusted_keys`, refuse releases with a smaller version.
        versions: with `trusted_keys`, a JSON file that remembers the largest version of each bundle, so that an older
            one is refused later.

    Raises:
        UsageError: the folder is not a bundle; there is no such backend or precision; `coverage` is not between 0 and
            1; or `abstain` is set, and the bundle has no intervals or sets, or its scores have no sign.
        BundleError: the bundle is damaged.
        SignatureError: with `trusted_keys`, none of them signed the bundle as it is, or it has expired or is too old.
        BackendUnavailableError: none of the allowed backends can be opened. The message says how to install one.
    """
    started = time.perf_counter()
    backend = _check_text("backend", backend).lower()
    precision = None if precision is None else _check_text("precision", precision).lower()
    options = BackendOptions(threads, _check_text("device", device).upper(), workers, spin)
    check_coverage(coverage)
    if trusted_keys is not None:
        from edge_msa_runtime.bundle.signature import verify_signature

        verify_signature(bundle, trusted_keys, minimum_version=minimum_version, versions=versions)
    elif minimum_version or versions is not None:
        raise UsageError("minimum_version and versions need trusted_keys. Pass the keys, or leave them out.")
    if is_cascade(bundle):
        folder = open_cascade(bundle)
        with ExitStack() as stack:
            members = []
            for opened in folder.members:
                # Sets of classes are those of the members; intervals are those of the cascade.
                abstains = abstain and opened.manifest.task.kind == "classes"
                member = _open_session(
                    opened, backend, precision, options, strict=strict, coverage=coverage, abstain=abstains
                )
                members.append(stack.enter_context(member))
            session = CascadeSession(folder, members, coverage=coverage, abstain=abstain)
            stack.pop_all()
            return session
    return _open_session(
        open_bundle(bundle),
        backend,
        precision,
        options,
        strict=strict,
        coverage=coverage,
        abstain=abstain,
        started=started,
    )


def _open_session(
    opened: Bundle,
    backend: str,
    precision: str | None,
    options: BackendOptions,
    *,
    strict: bool,
    coverage: float,
    abstain: bool = False,
    started: float | None = None,
) -> Session:
    """Open a backend for a verified bundle. Loading started at `started`, from `time.perf_counter`; None: now."""
    started = time.perf_counter() if started is None else started
    names = _candidates(opened, backend, strict=strict)
    chosen, fallbacks = _open_first(opened, names, precision, options)
    load_ms = (time.perf_counter() - started) * 1e3
    graphs = Graphs(opened, chosen, opened.choose_precision(chosen.name, precision), strict=strict, load_ms=load_ms)
    return Session(opened, graphs, fallbacks, coverage=coverage, abstain=abstain)


def _check_text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise UsageError(f"{name} must be a text, got {value!r}.")
    return value


def _candidates(bundle: Bundle, backend: str, *, strict: bool) -> tuple[str, ...]:
    """Return the names of the backends to try, in order."""
    manifest = bundle.manifest
    if backend == "auto":
        return manifest.backends[:1] if strict else manifest.backends
    check_backend_name(backend, manifest.backends)
    if backend not in manifest.backends:
        raise UsageError(
            f"This bundle has no graphs for {backend}. Available: {', '.join(manifest.backends)}. "
            f"Export a bundle for a target that uses {backend}."
        )
    return (backend,)


def _open_first(
    bundle: Bundle, names: Sequence[str], precision: str | None, options: BackendOptions
) -> tuple[Backend, tuple[str, ...]]:
    """Open the first available backend with graphs at the precision, if one is requested. Log and return fallbacks."""
    # If none has the precision, the first available one is opened, so that the error lists what it has.
    able = [name for name in names if precision in (None, *bundle.precisions(name))] or names
    reasons: dict[str, str] = {}
    unusable = []  # with a requested device: why installed backends lack it
    for name in names:
        if name not in able:
            reasons[name] = f"The bundle has no {precision} graphs for it."
            continue
        try:
            backend = open_backend(name, options)
            backend.check_target(bundle.manifest.profile)
        except BackendUnavailableError as error:
            reasons[name] = str(error)
            if options.device and not isinstance(error, PackageImportError):
                unusable.append(str(error))
        else:
            fallbacks = tuple(f"using {name} instead of {other}: {reason}" for other, reason in reasons.items())
            for fallback in fallbacks:
                LOGGER.warning("%s", fallback)
            return backend, fallbacks
    raise BackendUnavailableError(" | ".join(unusable or reasons.values()))
