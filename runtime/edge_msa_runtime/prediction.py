"""Predictions: the outputs of a graph, interpreted by the task."""

from __future__ import annotations

import dataclasses
import math
from bisect import bisect_right
from typing import Any, Mapping, Sequence

from edge_msa_runtime.bundle.manifest import TaskSpec
from edge_msa_runtime.errors import InferenceError
from edge_msa_runtime.intervals import UNCERTAIN, ScoreIntervals


@dataclasses.dataclass(frozen=True, repr=False)
class Prediction:
    """The result of `Session.predict` or `Stream.predict`.

    Attributes:
        score: sentiment, clamped to the task's scale; None for emotions.
        label: name of the range that contains the score, or the most probable emotion; empty if the task has no labels.
            `uncertain` if the session abstains and `interval` has values on both sides of zero.
        probabilities: probability of each emotion, independent of the others; empty for scores.
        outputs: the unprocessed outputs of the graph: the score before it is clamped, or logits for emotions.
        subset: the modalities that had a valid frame, such as `la`.
        backend: name of the backend that ran the graphs.
        device: the device that the graphs ran on.
        precision: `fp32`, `fp16` or `int8`.
        latency_ms: wall time of the call in milliseconds.
        warnings: what was done to the inputs to predict anyway, such as clipping values far outside the range seen in
            training; empty if nothing.
        interval: (low, high) on the scale of the score, which contains the label with the coverage that was passed to
            `load`. None for emotions, if the bundle has no intervals, or if the calibration data do not support the
            coverage and the scale has no end.
        ages: seconds from the newest used frame of each modality to the moment of the prediction, also for modalities
            that are absent now; empty for `Session.predict`.
        masked: share of the frames of each modality in the utterance, 0 to 1, that were masked or never came; empty for
            `Session.predict`.
        delay_ms: milliseconds from the arrival of the newest frame that was used to the prediction; `latency_ms` for
            `Session.predict`.
    """

    score: float | None
    label: str
    probabilities: Mapping[str, float]
    outputs: tuple[float, ...]
    subset: str
    backend: str
    device: str
    precision: str
    latency_ms: float
    warnings: tuple[str, ...] = ()
    interval: tuple[float, float] | None = None
    ages: Mapping[str, float] = dataclasses.field(default_factory=dict)
    masked: Mapping[str, float] = dataclasses.field(default_factory=dict)
    delay_ms: float = 0.0

    def __repr__(self) -> str:
        """Return the result, e.g. `<Prediction 1.23 positive from la, 0.41 ms>`; warnings are counted."""
        if self.score is not None:
            result = " ".join(filter(None, [f"{self.score:.3g}", self.label]))
        else:
            result = f"{self.label} {self.probabilities.get(self.label, 0.0):.2f}"
        count = len(self.warnings)
        warnings = f", {count} warning{'s' * (count > 1)}" if count else ""
        return f"<Prediction {result} from {self.subset}, {self.latency_ms:.3g} ms{warnings}>"

    def to_json(self) -> dict[str, Any]:
        """Return the prediction as plain JSON values."""
        return dataclasses.asdict(self)


def make_prediction(
    outputs: Sequence[float],
    task: TaskSpec,
    *,
    subset: str,
    backend: str,
    device: str,
    precision: str,
    latency_ms: float,
    warnings: tuple[str, ...] = (),
    intervals: ScoreIntervals | None = None,
    counts: Mapping[str, int] | None = None,
    with_context: bool = False,
    ages: Mapping[str, float] | None = None,
    masked: Mapping[str, float] | None = None,
    delay_ms: float | None = None,
) -> Prediction:
    """Interpret `task.outputs` outputs of a graph. The arguments from `subset` to `warnings` are attributes.

    Args:
        outputs: the outputs, adjusted by the conversation memory if there is one.
        task: what they mean.
        subset: the modalities that had a valid frame.
        backend: name of the backend.
        device: the device.
        precision: the precision.
        latency_ms: wall time of the call.
        warnings: what was done to the inputs.
        intervals: computes the interval of a score; None for emotions and without intervals.
        counts: number of valid frames of each modality of the subset; needed for an interval.
        with_context: whether the conversation memory has adjusted the outputs.
        ages: attribute; None for none.
        masked: attribute; None for none.
        delay_ms: attribute; None for `latency_ms`.

    Raises:
        InferenceError: an output is not finite.
    """
    numbers = tuple(outputs)
    if not math.isfinite(sum(numbers)) and not all(map(math.isfinite, numbers)):
        raise InferenceError(
            f"Outputs must be finite, got {numbers} from {backend} at {precision} for subset {subset}. "
            "Run `edge-msa-run verify` on the bundle, or use the precision fp32."
        )
    interval = None
    if task.kind == "emotions":
        probabilities = {label: _sigmoid(logit) for label, logit in zip(task.labels, numbers)}
        score, label = None, max(probabilities, key=probabilities.__getitem__)
    else:
        probabilities = {}
        score = _clamp(numbers[0], task)
        label = task.labels[bisect_right(task.edges, score)] if task.labels else ""
        if intervals is not None and counts is not None:
            interval = intervals.interval(score, subset, counts, with_context=with_context)
            if intervals.abstain and interval is not None and interval[0] < 0.0 < interval[1]:
                label = UNCERTAIN
    prediction = Prediction.__new__(Prediction)
    # The constructor of a frozen class sets attribute by attribute, which takes twice as long.
    prediction.__dict__.update(
        score=score,
        label=label,
        probabilities=probabilities,
        outputs=numbers,
        subset=subset,
        backend=backend,
        device=device,
        precision=precision,
        latency_ms=latency_ms,
        warnings=warnings,
        interval=interval,
        ages={} if ages is None else ages,
        masked={} if masked is None else masked,
        delay_ms=latency_ms if delay_ms is None else delay_ms,
    )
    return prediction


def _clamp(score: float, task: TaskSpec) -> float:
    """Return the score clamped to the scale of the task."""
    if task.low is not None and score < task.low:
        return task.low
    return task.high if task.high is not None and score > task.high else score


def _sigmoid(logit: float) -> float:
    """Return the sigmoid without overflow for large negative logits."""
    if logit >= 0:
        return 1.0 / (1.0 + math.exp(-logit))
    exponential = math.exp(logit)
    return exponential / (1.0 + exponential)
