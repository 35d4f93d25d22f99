"""Which layers may be int8: each alone, then greedily together, within a budget, the best so far always kept.

What a plan costs in accuracy is asked of the caller, for only it has data, a backend and a gate. Every answer is
written to a file at once, so a search that was killed or ran out of its budget goes on without asking twice.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from edge_msa_calibrate.errors import CalibrationError

_TRIED = 3
"""Candidates that are asked for before the next layer is made float."""


@dataclass(frozen=True)
class Score:
    """How a plan's predictions differ from fp32's.

    `drop`: points of the gate's metric lost on the worst subset that carries signal, negative where it gains.
    `distance`: mean |prediction - fp32's prediction| over subsets, in standard deviations of fp32's predictions.
    """

    drop: float
    distance: float


@dataclass(frozen=True)
class Limits:
    """What a plan may cost and still pass."""

    drop: float = 1.0
    distance: float = 0.05

    def keep(self, score: Score) -> bool:
        """Whether it costs no more."""
        # Accuracies are shares of whole samples: what a subtraction rounds does not decide.
        return score.drop <= self.drop + 1e-9 and score.distance <= self.distance

    def excess(self, score: Score) -> float:
        """How far it is beyond what may be lost; 0 where it passes. Smaller is better, and distance breaks ties."""
        if self.keep(score):
            return 0.0
        over = (max(score.drop, 0.0) / max(self.drop, 1e-9), score.distance / max(self.distance, 1e-9))
        return sum(max(value - 1, 0.0) for value in over) + 1e-3 * over[1]


@dataclass(frozen=True)
class Layer:
    """What one layer costs: the score where it alone is int8, and where it alone is float; None where not asked yet."""

    weight: str
    alone_int8: Score | None
    alone_float: Score | None


@dataclass(frozen=True)
class Plan:
    """What a search found.

    `fp32_weights`: weights that stay float, with the reason of each. `score`: of that plan; `passed`: whether it
    keeps within the limits. `all_int8`: the score with nothing kept float. `layers`: in graph order. `complete`: False
    where the budget ended first.
    """

    fp32_weights: dict[str, str]
    score: Score
    passed: bool
    all_int8: Score
    layers: tuple[Layer, ...]
    complete: bool


Evaluate = Callable[[frozenset[str]], Score]
"""The score of a plan, given the weights that stay float."""


class _OutOfTimeError(Exception):
    """The budget ended."""


@dataclass
class _Journal:
    """Every answer so far, in memory and on disk."""

    path: Path
    scores: dict[frozenset[str], Score] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> _Journal:
        """What is kept there.

        Raises:
            CalibrationError: the file is damaged.
        """
        if not path.is_file():
            return cls(path)
        try:
            rows = json.loads(path.read_text(encoding="utf-8"))["evaluations"]
            scores = {frozenset(row["float"]): Score(float(row["drop"]), float(row["distance"])) for row in rows}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CalibrationError(f"{path} cannot be read ({error}); delete it to search anew") from error
        return cls(path, scores)

    def add(self, floats: frozenset[str], score: Score, limits: Limits) -> None:
        """Keep an answer, and which plan is the best so far; the file is whole at every moment."""
        self.scores[floats] = score
        rows = [{"float": sorted(key), **asdict(value)} for key, value in self.scores.items()]
        text = json.dumps({"best": sorted(self.best(limits)), "evaluations": rows}, indent=1)
        partial = self.path.with_name(f".{self.path.name}.partial")
        with partial.open("w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.path)

    def best(self, limits: Limits) -> frozenset[str]:
        """Of what passes the plan with the fewest float layers; if nothing does, the nearest to passing."""

        def order(floats: frozenset[str]) -> tuple[float, int, float, list[str]]:
            score = self.scores[floats]
            return (limits.excess(score), len(floats), score.distance, sorted(floats))

        return min(self.scores, key=order)


def search_mixed_precision(
    weights: Sequence[str],
    evaluate: Evaluate,
    journal: Path,
    *,
    limits: Limits | None = None,
    budget: float = 60.0,
    progress: Callable[[str], None] = lambda _: None,
) -> Plan:
    """Find which layers must stay float.

    First everything in int8 and nothing; then each layer alone in int8 and alone in float; then, from all in int8, the
    layer that helps most is made float until the limits are kept; then each of those that were made float is tried
    in int8 again.

    Args:
        weights: the layers that could be int8, in graph order.
        evaluate: the score of a plan.
        journal: the file that answers are kept in; what is there is not asked again.
        limits: what may be lost.
        budget: seconds after which nothing new is asked; at least all int8 and all float are.
        progress: told a line now and then.

    Raises:
        CalibrationError: nothing could be int8, or the journal is damaged.
    """
    if not weights:
        raise CalibrationError("no layer of this model can be int8 under these rules: there is nothing to search")
    search = _Search(tuple(weights), evaluate, _Journal.read(journal), limits or Limits(), budget, progress)
    return search.run()


class _Search:
    def __init__(
        self,
        weights: tuple[str, ...],
        evaluate: Evaluate,
        journal: _Journal,
        limits: Limits,
        budget: float,
        progress: Callable[[str], None],
    ) -> None:
        self._weights = weights
        self._evaluate = evaluate
        self._journal = journal
        self._limits = limits
        self._end = time.monotonic() + budget
        self._progress = progress

    def run(self) -> Plan:
        every = frozenset(self._weights)
        all_int8 = self._ask((), must=True)
        # With nothing in int8 nothing is lost: the way out if no plan passes, and a check of the caller.
        self._ask(every, must=True)
        try:
            self._ask_alone()
            self._prune(self._grow())
            complete = True
        except _OutOfTimeError:
            complete = False
        best = self._journal.best(self._limits)
        score = self._journal.scores[best]
        reasons = {weight: self._reason(weight, all_int8) for weight in self._weights if weight in best}
        layers = tuple(self._layer(weight) for weight in self._weights)
        return Plan(reasons, score, self._limits.keep(score), all_int8, layers, complete)

    def _ask(self, floats: Collection[str], *, must: bool = False) -> Score:
        key = frozenset(floats)
        if key not in self._journal.scores:
            if not must and time.monotonic() > self._end:
                raise _OutOfTimeError
            self._journal.add(key, self._evaluate(key), self._limits)
        return self._journal.scores[key]

    def _ask_alone(self) -> None:
        every = frozenset(self._weights)
        for index, weight in enumerate(self._weights, 1):
            self._ask({weight})
            score = self._ask(every - {weight})
            told = f"alone in int8 {score.distance:.4f} of a deviation from fp32"
            self._progress(f"layer {index}/{len(self._weights)} {weight}: {told}")

    def _grow(self) -> frozenset[str]:
        """Make layers float until the limits are kept."""
        floats: frozenset[str] = frozenset()
        while not self._limits.keep(self._ask(floats)) and len(floats) < len(self._weights):
            tried = list(self._by_need(floats))[:_TRIED]
            floats = min((floats | {weight} for weight in tried), key=lambda item: self._limits.excess(self._ask(item)))
            self._progress(f"{len(floats)} float: {self._told(self._ask(floats))}")
        return floats

    def _prune(self, floats: frozenset[str]) -> None:
        """Give back to int8 what turned out not to be needed, the least sensitive first."""
        for weight in reversed(list(self._by_need(frozenset()))):
            if weight in floats and self._limits.keep(self._ask(floats - {weight})):
                floats -= {weight}

    def _by_need(self, floats: frozenset[str]) -> Iterator[str]:
        """Layers that are still int8, the one whose float helps most alone first."""
        scores = {weight: self._ask({weight}) for weight in self._weights if weight not in floats}
        yield from sorted(scores, key=lambda weight: (self._limits.excess(scores[weight]), scores[weight].distance))

    def _layer(self, weight: str) -> Layer:
        scores, every = self._journal.scores, frozenset(self._weights)
        return Layer(weight, scores.get(every - {weight}), scores.get(frozenset({weight})))

    def _reason(self, weight: str, all_int8: Score) -> str:
        alone = self._layer(weight).alone_float
        if alone is None:
            return "kept float: the budget ended before it was looked at alone"
        return (
            f"kept float: all int8 is {all_int8.distance:.4f} of a deviation from fp32, without it {alone.distance:.4f}"
        )

    def _told(self, score: Score) -> str:
        return f"{score.drop:.2f} points lost, {score.distance:.4f} of a deviation from fp32"
