"""Every engine and precision of a bundle that can run here, opened together."""

from __future__ import annotations

import os

from edge_msa_runtime.bundle import open_bundle
from edge_msa_runtime.errors import EngineUnavailableError
from edge_msa_runtime.modalities import subsets_of
from edge_msa_runtime.session import Session, load


def open_all(
    bundle: str | os.PathLike[str], engine: str = "auto", *, strict: bool = False, threads: int = 1, device: str = ""
) -> tuple[tuple[Session, ...], tuple[str, ...]]:
    """Open every precision of an engine, or of every engine of a bundle that is here, its graphs loaded.

    Args:
        bundle: its folder.
        engine: a name, or `auto` for all of them.
        strict: refuse what cannot be opened, and a graph that an engine puts on another device.
        threads: for one inference, on a CPU.
        device: what the engine runs on, as `load` takes it.

    Returns:
        The sessions, and why each engine or precision that was left out cannot run.

    Raises:
        EngineUnavailableError: none can be opened; with `strict`, or by name, one cannot.
        RuntimeFailure: as `load`.
    """
    opened = open_bundle(bundle)
    names = opened.manifest.engines if engine == "auto" else (engine,)
    sessions: list[Session] = []
    left_out: list[str] = []
    for chosen, precision in [(name, each) for name in names for each in opened.precisions(name) or (None,)]:
        try:
            session = load(bundle, chosen, strict=strict, precision=precision, threads=threads, device=device)
            session.prepare(*subsets_of(opened.manifest.modalities))
            sessions.append(session)
        except EngineUnavailableError as error:
            if strict or engine != "auto":
                raise
            left_out.append(str(error))
    reasons = tuple(dict.fromkeys(left_out))
    if not sessions:
        raise EngineUnavailableError(" | ".join(reasons))
    return tuple(sessions), reasons
