"""Search which layers must stay FP32: measure each layer alone, then choose greedily within a time budget.

The caller scores a plan, because only the caller has data, a backend and a metric. Every score is written to a file at
once. A search that was killed or ran out of time therefore resumes without scoring a plan twice.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from edge_msa_calibrate.errors import CalibrationError
from edge_msa_calibrate.gate import GateLimits
from edge_msa_runtime.atomic_files import write_file

_CANDIDATES = 3
"""Number of layers that are scored before one of them becomes FP32."""


@dataclass(frozen=True)
class PlanScore:
    """How much the predictions of a plan differ from those of FP32.

    `drop`: points of the gate's metric lost on the worst subset that carries signal, negative for a gain.
    `distance`: mean absolute difference from FP32's predictions over all subsets, in standard deviations of FP32's
    predictions.
    """

    drop: float
    distance: float


@dataclass(frozen=True)
class PlanLimits(GateLimits):
    """The largest drop and distance of a plan that passes. The accuracy gate of `export` allows twice the distance."""

    distance: float = 0.05

    def allow(self, score: PlanScore) -> bool:
        """Return whether a score is within the limits."""
        # The tolerance absorbs the rounding of a subtraction: accuracies are shares of whole samples.
        return score.drop <= self.drop + 1e-9 and score.distance <= self.distance

    def excess(self, score: PlanScore) -> float:
        """Return how far a score exceeds the limits, 0 if it passes. The distance breaks ties."""
        if self.allow(score):
            return 0.0
        ratios = (max(score.drop, 0.0) / max(self.drop, 1e-9), score.distance / max(self.distance, 1e-9))
        return sum(max(value - 1, 0.0) for value in ratios) + 1e-3 * ratios[1]


@dataclass(frozen=True)
class LayerSensitivity:
    """The effect of one layer: the score if only it is INT8, and if only it is FP32. None if not measured yet."""

    weight: str
    only_int8: PlanScore | None
    only_fp32: PlanScore | None


@dataclass(frozen=True)
class MixedPrecisionPlan:
    """The result of a search.

    `fp32_weights`: weights of the layers that stay FP32, each with the reason.
    `score`: the score of this plan. `passed`: whether it is within the limits.
    `all_int8`: the score if every layer is INT8.
    `layers`: in graph order.
    `complete`: False if the time budget ended first.
    """

    fp32_weights: dict[str, str]
    score: PlanScore
    passed: bool
    all_int8: PlanScore
    layers: tuple[LayerSensitivity, ...]
    complete: bool


ScorePlan = Callable[[frozenset[str]], PlanScore]
"""Function that returns the score of a plan. It takes the weights whose layers stay FP32."""


def search_mixed_precision(
    weights: Sequence[str],
    score_plan: ScorePlan,
    scores_path: Path,
    *,
    limits: PlanLimits | None = None,
    budget: float = 60.0,
    progress: Callable[[str], None] = lambda _: None,
) -> MixedPrecisionPlan:
    """Find which layers must stay FP32.

    The search scores all layers in INT8 and all in FP32, then each layer alone in INT8 and alone in FP32. Starting from
    all INT8, it makes the most helpful layer FP32 until the limits are met. Finally it tries to return each of these
    layers to INT8.

    Args:
        weights: the layers that could be INT8, in graph order.
        score_plan: scores a plan.
        scores_path: JSON file of all scores. Plans in it are not scored again.
        limits: the largest drop and distance of a plan that passes (default: `PlanLimits()`).
        budget: seconds after which no new plan is scored. All INT8 and all FP32 are scored in any case.
        progress: called with one line of text after each step.

    Raises:
        CalibrationError: `weights` is empty, or the file of scores is damaged.
    """
    if not weights:
        raise CalibrationError("No layer of this model can be INT8 under this scheme, so there is nothing to search.")
    search = _Search(tuple(weights), score_plan, _ScoreLog.load(scores_path), limits or PlanLimits(), budget, progress)
    return search.run()


class _OutOfTimeError(Exception):
    """The time budget ended."""


@dataclass
class _ScoreLog:
    """All scores so far, in memory and on disk, by the set of FP32 weights."""

    path: Path
    scores: dict[frozenset[str], PlanScore] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> _ScoreLog:
        """Load a file of scores; an absent file is empty.

        Raises:
            CalibrationError: the file is damaged.
        """
        if not path.is_file():
            return cls(path)
        try:
            rows = json.loads(path.read_text(encoding="utf-8"))["scores"]
            scores = {
                frozenset(row["fp32_weights"]): PlanScore(float(row["drop"]), float(row["distance"])) for row in rows
            }
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CalibrationError(f"Cannot load {path} ({error}). Delete it to start the search again.") from error
        return cls(path, scores)

    def add(self, fp32_weights: frozenset[str], score: PlanScore, limits: PlanLimits) -> None:
        """Record a score and the best plan so far. The file is replaced atomically."""
        self.scores[fp32_weights] = score
        rows = [{"fp32_weights": sorted(key), **asdict(value)} for key, value in self.scores.items()]
        text = json.dumps({"best": sorted(self.best(limits)), "scores": rows}, indent=1) + "\n"
        write_file(self.path, text.encode())

    def best(self, limits: PlanLimits) -> frozenset[str]:
        """Return the passing plan with the fewest FP32 layers; if none passes, the one nearest to the limits."""

        def order(fp32_weights: frozenset[str]) -> tuple[float, int, float, list[str]]:
            score = self.scores[fp32_weights]
            return (limits.excess(score), len(fp32_weights), score.distance, sorted(fp32_weights))

        return min(self.scores, key=order)


class _Search:
    def __init__(
        self,
        weights: tuple[str, ...],
        score_plan: ScorePlan,
        log: _ScoreLog,
        limits: PlanLimits,
        budget: float,
        progress: Callable[[str], None],
    ) -> None:
        self._weights = weights
        self._score_plan = score_plan
        self._log = log
        self._limits = limits
        self._end = time.monotonic() + budget
        self._progress = progress

    def run(self) -> MixedPrecisionPlan:
        all_int8 = self._score((), required=True)
        # All FP32 loses nothing. It is the fallback if no other plan passes, and a check of `score_plan`.
        self._score(self._weights, required=True)
        try:
            self._score_single_layers()
            self._remove_unneeded(self._add_until_allowed())
            complete = True
        except _OutOfTimeError:
            complete = False
        best = self._log.best(self._limits)
        score = self._log.scores[best]
        reasons = {weight: self._reason(weight, all_int8) for weight in self._weights if weight in best}
        layers = tuple(self._sensitivity(weight) for weight in self._weights)
        return MixedPrecisionPlan(reasons, score, self._limits.allow(score), all_int8, layers, complete)

    def _score(self, fp32_weights: Collection[str], *, required: bool = False) -> PlanScore:
        key = frozenset(fp32_weights)
        if key not in self._log.scores:
            if not required and time.monotonic() > self._end:
                raise _OutOfTimeError
            self._log.add(key, self._score_plan(key), self._limits)
        return self._log.scores[key]

    def _score_single_layers(self) -> None:
        all_weights = frozenset(self._weights)
        for index, weight in enumerate(self._weights, 1):
            self._score({weight})
            score = self._score(all_weights - {weight})
            self._progress(
                f"layer {index}/{len(self._weights)} {weight}: as the only int8 layer {_format_distance(score)}"
            )

    def _add_until_allowed(self) -> frozenset[str]:
        """Make layers FP32 until the plan is within the limits."""
        fp32_weights: frozenset[str] = frozenset()
        while not self._limits.allow(self._score(fp32_weights)) and len(fp32_weights) < len(self._weights):
            candidates = list(self._by_benefit(fp32_weights))[:_CANDIDATES]
            fp32_weights = min(
                (fp32_weights | {weight} for weight in candidates),
                key=lambda item: self._limits.excess(self._score(item)),
            )
            score = self._score(fp32_weights)
            self._progress(
                f"{len(fp32_weights)} layers in fp32: {score.drop:.2f} points lost, {_format_distance(score)}"
            )
        return fp32_weights

    def _remove_unneeded(self, fp32_weights: frozenset[str]) -> None:
        """Return layers to INT8 where the limits permit, the least sensitive first."""
        for weight in reversed(list(self._by_benefit(frozenset()))):
            if weight in fp32_weights and self._limits.allow(self._score(fp32_weights - {weight})):
                fp32_weights -= {weight}

    def _by_benefit(self, fp32_weights: frozenset[str]) -> Iterator[str]:
        """Yield the layers that are still INT8, starting with the one that helps most as the only FP32 layer."""
        scores = {weight: self._score({weight}) for weight in self._weights if weight not in fp32_weights}
        yield from sorted(scores, key=lambda weight: (self._limits.excess(scores[weight]), scores[weight].distance))

    def _sensitivity(self, weight: str) -> LayerSensitivity:
        scores, all_weights = self._log.scores, frozenset(self._weights)
        return LayerSensitivity(weight, scores.get(all_weights - {weight}), scores.get(frozenset({weight})))

    def _reason(self, weight: str, all_int8: PlanScore) -> str:
        alone = self._sensitivity(weight).only_fp32
        if alone is None:
            return "kept in fp32: the time budget ended before this layer was measured alone"
        change = f"from {all_int8.distance:.4f} to {alone.distance:.4f} standard deviations"
        return f"kept in fp32: this layer alone changes the distance to fp32 {change}"


def _format_distance(score: PlanScore) -> str:
    return f"{score.distance:.4f} standard deviations from fp32"
