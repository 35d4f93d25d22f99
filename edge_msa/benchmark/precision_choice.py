"""Which precision a backend gets: the fastest that was measured, among those that lose little enough."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from edge_msa_calibrate.gate import decide

NOISE = 0.1
"""Share of fp32's p50 that a lower precision must save, in every round: two runs of one graph may differ by less."""


@dataclass(frozen=True)
class Measured:
    """One backend at one precision on validation.

    `points` is the gate's metric in percent by subset, `by_subset` all metrics; `signal` the subsets whose fp32
    predictions carry signal. `rounds`: the p50 of the fullest subset in milliseconds in each round of the measurement, all
    precisions in turns in each; empty where the backend executed nowhere. `measured_by` executed, `timed_on` a machine
    that is not of the target's kind; empty where the time is the target's.
    """

    backend: str
    precision: str
    measured_by: str
    points: Mapping[str, float]
    by_subset: Mapping[str, Mapping[str, float]]
    signal: frozenset[str]
    rounds: tuple[float, ...]
    timed_on: str = ""

    @property
    def p50_ms(self) -> float | None:
        """The median of the rounds."""
        return statistics.median(self.rounds) if self.rounds else None

    def saves(self, reference: Measured) -> bool:
        """Whether it is faster than the reference by more than noise, in every round."""
        pairs = zip(self.rounds, reference.rounds, strict=False)
        return bool(reference.rounds) and all(mine <= (1 - NOISE) * theirs for mine, theirs in pairs)


@dataclass(frozen=True)
class Choice:
    """The precision that a backend's graphs are loaded at, why, what else passed, and what failed if that was asked."""

    backend: str
    precision: str
    reason: str
    kept: tuple[str, ...]
    failure: str | None = None


def choose(backend: str, measured: tuple[Measured, ...], wanted: str, max_drop: float) -> Choice:
    """The precision for a backend.

    Args:
        backend: its name.
        measured: of all backends; every backend has fp32.
        wanted: `auto`, or a precision by name.
        max_drop: points of the gate's metric that may be lost on the worst subset that carries signal.
    """
    own = {item.precision: item for item in measured if item.backend == backend}
    reference = own["fp32"]
    verdicts = {
        name: decide(reference.points, item.points, set(reference.signal), max_drop)
        for name, item in own.items()
        if name != "fp32"
    }
    passing = ["fp32", *(name for name, verdict in verdicts.items() if verdict.passed)]
    if wanted != "auto":
        if wanted not in own:
            return Choice(backend, "fp32", f"it has no {wanted}", ("fp32",))
        if wanted not in passing:
            return Choice(backend, "fp32", verdicts[wanted].reason, ("fp32",), f"{backend} {verdicts[wanted].reason}")
        passed = f", {verdicts[wanted].reason}" if wanted in verdicts else ""
        return Choice(backend, wanted, f"as asked{passed}", (wanted,))
    speeds = {name: own[name].p50_ms for name in passing}
    known = {name: speed for name, speed in speeds.items() if speed is not None}
    if not known:
        best = "fp16" if "fp16" in passing else "fp32"
        return Choice(
            backend,
            best,
            f"not timed, it executes neither here nor on a --host: {', '.join(passing)} pass the gate",
            tuple(passing),
        )
    ahead = [name for name in known if name != "fp32" and own[name].saves(reference)]
    fastest = min(ahead, key=lambda name: known[name], default="fp32")
    gain = f"more than {NOISE:.0%} faster than fp32 in every round"
    why = f"nothing that passes the gate is {gain}" if fastest == "fp32" else f"passes the gate, {gain}"
    told = ", ".join(f"{name} {speed:.3f} ms" for name, speed in known.items())
    if reference.timed_on:
        told += f" on {reference.timed_on}, not on the target: give --host, or bench there"
    dropped = "".join(f"; {name} refused: {item.reason}" for name, item in verdicts.items() if not item.passed)
    return Choice(backend, fastest, f"{why} ({told}){dropped}", tuple(passing))
