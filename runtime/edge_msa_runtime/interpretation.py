"""What the outputs of a graph mean, by task."""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import TYPE_CHECKING, Mapping, NamedTuple, Sequence

from edge_msa_runtime.classes import ClassCalibration, select_labels, softmax
from edge_msa_runtime.conformal import UNCERTAIN
from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.intervals import ScoreIntervals

if TYPE_CHECKING:
    from edge_msa_runtime.bundle.manifest import Manifest, TaskSpec
    from edge_msa_runtime.conformal import Lookup


class Interpretation(NamedTuple):
    """The fields of a `Prediction` that depend on the task."""

    score: float | None
    label: str
    probabilities: Mapping[str, float]
    interval: tuple[float, float] | None = None
    prediction_set: tuple[str, ...] | None = None


class Interpreter:
    """Interprets outputs.

    Attributes:
        needs_counts: whether the number of valid frames has an effect.
    """

    needs_counts = False

    def interpret(
        self, outputs: Sequence[float], subset: str, counts: Mapping[str, int] | None, *, with_context: bool
    ) -> Interpretation:
        """Interpret finite outputs.

        Args:
            outputs: the outputs of a graph.
            subset: the modalities that they were predicted from.
            counts: number of valid frames of each of them; None if `needs_counts` is false.
            with_context: whether the conversation memory has adjusted the outputs.
        """
        raise NotImplementedError


class ScoreInterpreter(Interpreter):
    """Interprets a score."""

    def __init__(self, task: TaskSpec, intervals: ScoreIntervals | None = None) -> None:
        self._labels, self._edges, self._low, self._high = task.labels, task.edges, task.low, task.high
        self._intervals = intervals
        self.needs_counts = intervals is not None

    def interpret(
        self, outputs: Sequence[float], subset: str, counts: Mapping[str, int] | None, *, with_context: bool
    ) -> Interpretation:
        """Interpret `outputs`; see the base class."""
        score, low, high = outputs[0], self._low, self._high
        if low is not None and score < low:
            score = low
        elif high is not None and score > high:
            score = high
        label = self._labels[bisect_right(self._edges, score)] if self._labels else ""
        intervals = self._intervals
        if intervals is None or counts is None:
            return Interpretation(score, label, {})
        interval = intervals.interval(score, subset, counts, with_context=with_context)
        if intervals.abstain and interval is not None and interval[0] < 0.0 < interval[1]:
            label = UNCERTAIN
        return Interpretation(score, label, {}, interval)


class EmotionInterpreter(Interpreter):
    """Interprets one logit per emotion."""

    def __init__(self, task: TaskSpec) -> None:
        self._labels = task.labels

    def interpret(
        self, outputs: Sequence[float], subset: str, counts: Mapping[str, int] | None, *, with_context: bool
    ) -> Interpretation:
        """Interpret `outputs`; see the base class."""
        del subset, counts, with_context
        probabilities = dict(zip(self._labels, map(_sigmoid, outputs)))
        return Interpretation(None, max(probabilities, key=probabilities.__getitem__), probabilities)


class ClassInterpreter(Interpreter):
    """Interprets one logit per class.

    Args:
        task: the task.
        temperature: the logits are divided by it.
        thresholds: finds the thresholds of prediction sets; None for no sets.
        abstain: whether a prediction whose set has more than one class gets the label `UNCERTAIN`.
    """

    def __init__(
        self, task: TaskSpec, temperature: float = 1.0, thresholds: Lookup | None = None, *, abstain: bool = False
    ) -> None:
        self._labels = task.labels
        self._temperature = temperature
        self._thresholds = thresholds
        self._abstain = abstain
        self.needs_counts = thresholds is not None

    def interpret(
        self, outputs: Sequence[float], subset: str, counts: Mapping[str, int] | None, *, with_context: bool
    ) -> Interpretation:
        """Interpret `outputs`; see the base class."""
        del with_context
        probabilities = dict(zip(self._labels, softmax(outputs, self._temperature)))
        if self._thresholds is None or counts is None:
            return Interpretation(None, max(probabilities, key=probabilities.__getitem__), probabilities)
        labels = select_labels(probabilities, self._thresholds.find(subset, counts))
        label = UNCERTAIN if self._abstain and len(labels) > 1 else labels[0]
        return Interpretation(None, label, probabilities, prediction_set=labels)


def make_interpreter(task: TaskSpec) -> Interpreter:
    """Return what interprets outputs without anything that a bundle calibrates."""
    if task.kind == "classes":
        return ClassInterpreter(task)
    return EmotionInterpreter(task) if task.kind == "emotions" else ScoreInterpreter(task)


def open_interpreter(
    manifest: Manifest, backend: str, precision: str, coverage: float, *, abstain: bool
) -> Interpreter:
    """Return what interprets the outputs of a bundle.

    Args:
        manifest: the manifest.
        backend: name of the backend.
        precision: precision of the graphs.
        coverage: share of the intervals, or prediction sets, that contain the label.
        abstain: whether predictions without a clear label abstain.

    Raises:
        UsageError: `abstain` is set, and the bundle cannot abstain.
    """
    task = manifest.task
    if task.kind == "classes":
        return _open_classes(manifest, backend, precision, coverage, abstain=abstain)
    intervals = manifest.intervals
    if abstain and not task.has_sign:
        raise UsageError(
            f"abstain needs classes, or scores with a sign, but the task of this bundle is {task.kind}. Load it "
            "without abstain."
        )
    if intervals is None or precision not in intervals.half_widths.get(backend, ()):
        if abstain:
            raise _cannot_abstain("intervals", backend, precision)
        return make_interpreter(task)
    scale = (task.low, task.high)
    return ScoreInterpreter(
        task, ScoreIntervals(intervals, backend, precision, scale, coverage=coverage, abstain=abstain)
    )


def _open_classes(
    manifest: Manifest, backend: str, precision: str, coverage: float, *, abstain: bool
) -> ClassInterpreter:
    calibration = manifest.class_calibration or ClassCalibration()
    sets, thresholds = calibration.sets, None
    if sets is not None and precision in sets.thresholds.get(backend, ()):
        thresholds = sets.lookup(backend, precision, coverage)
    elif abstain:
        raise _cannot_abstain("prediction sets", backend, precision)
    if abstain and UNCERTAIN in manifest.task.labels:
        raise UsageError(f"abstain needs a bundle without a class named {UNCERTAIN!r}. Load it without abstain.")
    return ClassInterpreter(manifest.task, calibration.temperature, thresholds, abstain=abstain)


def _cannot_abstain(what: str, backend: str, precision: str) -> UsageError:
    return UsageError(
        f"abstain needs {what}, which this bundle does not have for {backend} at {precision}. Load it without abstain."
    )


def _sigmoid(logit: float) -> float:
    """Return the sigmoid without overflow for large negative logits."""
    if logit >= 0:
        return 1.0 / (1.0 + math.exp(-logit))
    exponential = math.exp(logit)
    return exponential / (1.0 + exponential)
