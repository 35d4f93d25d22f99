"""Every backend and precision of a bundle that can run here, opened together."""

from __future__ import annotations

import os

from edge_msa_runtime.bundle.reader import open_bundle
from edge_msa_runtime.errors import BackendUnavailableError
from edge_msa_runtime.modalities import subsets_of
from edge_msa_runtime.session import Session, load


def open_all(
    bundle: str | os.PathLike[str], backend: str = "auto", *, strict: bool = False, threads: int = 1, device: str = ""
) -> tuple[tuple[Session, ...], tuple[str, ...]]:
    """Open every precision of a backend, or of every backend of a bundle that is here, its graphs loaded.

    Args:
        bundle: its folder.
        backend: a name, or `auto` for all of them.
        strict: refuse what cannot be opened, and a graph that a backend puts on another device.
        threads: for one inference, on a CPU.
        device: what the backend runs on, as `load` takes it.

    Returns:
        The sessions, and why each backend or precision that was left out cannot run.

    Raises:
        BackendUnavailableError: none can be opened; with `strict`, or by name, one cannot.
        EdgeMsaError: as `load`.
    """
    opened = open_bundle(bundle)
    names = opened.manifest.backends if backend == "auto" else (backend,)
    sessions: list[Session] = []
    left_out: list[str] = []
    for chosen, precision in [(name, each) for name in names for each in opened.precisions(name) or (None,)]:
        try:
            session = load(bundle, chosen, strict=strict, precision=precision, threads=threads, device=device)
            session.prepare(*subsets_of(opened.manifest.modalities))
            sessions.append(session)
        except BackendUnavailableError as error:
            if strict or backend != "auto":
                raise
            left_out.append(str(error))
    reasons = tuple(dict.fromkeys(left_out))
    if not sessions:
        raise BackendUnavailableError(" | ".join(reasons))
    return tuple(sessions), reasons
