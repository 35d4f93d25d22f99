"""Open every backend and precision of a bundle that this machine can run."""

from __future__ import annotations

import os

from edge_msa_runtime.bundle.loader import open_bundle
from edge_msa_runtime.errors import BackendUnavailableError
from edge_msa_runtime.modalities import subsets_of
from edge_msa_runtime.session import Session, load


def open_variants(
    bundle: str | os.PathLike[str], backend: str = "auto", *, strict: bool = False, threads: int = 1, device: str = ""
) -> tuple[tuple[Session, ...], tuple[str, ...]]:
    """Open every precision of one backend, or of every available backend of a bundle, with all graphs loaded.

    Args:
        bundle: the bundle's folder.
        backend: name of a backend, or `auto` for all of them.
        strict: raise an error for a variant that cannot be opened, and for a graph that the backend runs on another
            device than requested.
        threads: CPU threads for one prediction.
        device: device name, as for `load`.

    Returns:
        The sessions, and the reason why each skipped backend or precision cannot run.

    Raises:
        BackendUnavailableError: no variant can be opened; or, with `strict` or a named backend, one of them cannot.
        EdgeMsaError: see `load`.
    """
    opened = open_bundle(bundle)
    names = opened.manifest.backends if backend == "auto" else (backend,)
    sessions: list[Session] = []
    skipped: list[str] = []
    for name in names:
        for precision in opened.precisions(name) or (None,):
            try:
                session = load(bundle, name, strict=strict, precision=precision, threads=threads, device=device)
                session.prepare(*subsets_of(opened.manifest.modalities))
                sessions.append(session)
            except BackendUnavailableError as error:
                if strict or backend != "auto":
                    raise
                skipped.append(str(error))
    reasons = tuple(dict.fromkeys(skipped))
    if not sessions:
        raise BackendUnavailableError(" | ".join(reasons))
    return tuple(sessions), reasons
