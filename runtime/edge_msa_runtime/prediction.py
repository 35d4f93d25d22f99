"""Predictions: the outputs of a graph, interpreted by the task."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Mapping, Sequence

from edge_msa_runtime.classes import describe_classes
from edge_msa_runtime.errors import InferenceError
from edge_msa_runtime.interpretation import Interpreter


@dataclasses.dataclass(frozen=True, repr=False)
class Prediction:
    """The result of `Session.predict` or `Stream.predict`.

    Attributes:
        score: sentiment, clamped to the task's scale; None for classes and emotions.
        label: name of the range that contains the score, or the most probable class or emotion; empty if the task has
            no labels. `uncertain` if the session abstains, and `interval` has values on both sides of zero or
            `prediction_set` has more than one class.
        probabilities: probability of each class, with the sum 1, or of each emotion, independent of the others; empty
            for scores.
        outputs: the unprocessed outputs of the graph: the score before it is clamped, or logits of classes or emotions.
        subset: the modalities that had a valid frame, such as `la`.
        backend: name of the backend that ran the graphs.
        device: the device that the graphs ran on.
        precision: `fp32`, `fp16`, `int8` or `int4`.
        latency_ms: wall time of the call in milliseconds.
        warnings: what was done to the inputs to predict anyway, such as clipping values far outside the range seen in
            training; empty if nothing.
        interval: (low, high) on the scale of the score, which contains the label with the coverage that was passed to
            `load`. None for classes and emotions, if the bundle has no intervals, or if the calibration data do not
            support the coverage and the scale has no end.
        prediction_set: the classes, the most probable first, among which the label is with the coverage that was passed
            to `load`. All classes if the calibration data do not support the coverage. None for other tasks, and if the
            bundle has no prediction sets.
        ages: seconds from the newest used frame of each modality to the moment of the prediction, also for modalities
            that are absent now; empty for `Session.predict`.
        masked: share of the frames of each modality in the utterance, 0 to 1, that were masked or never came; empty for
            `Session.predict`.
        delay_ms: milliseconds from the arrival of the newest frame that was used to the prediction; `latency_ms` for
            `Session.predict`.
        member: name of the member of a cascade that was asked last; empty for a bundle.
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
    prediction_set: tuple[str, ...] | None = None
    ages: Mapping[str, float] = dataclasses.field(default_factory=dict)
    masked: Mapping[str, float] = dataclasses.field(default_factory=dict)
    delay_ms: float = 0.0
    member: str = ""

    def __repr__(self) -> str:
        """Return the result, e.g. `<Prediction 1.23 positive from la, 0.41 ms>`; warnings are counted."""
        if self.score is not None:
            result = " ".join(filter(None, [f"{self.score:.3g}", self.label]))
        else:
            result = describe_classes(self.label, self.probabilities, self.prediction_set)
        count = len(self.warnings)
        warnings = f", {count} warning{'s' * (count > 1)}" if count else ""
        member = f" by {self.member}" if self.member else ""
        return f"<Prediction {result} from {self.subset}{member}, {self.latency_ms:.3g} ms{warnings}>"

    def to_json(self) -> dict[str, Any]:
        """Return the prediction as plain JSON values."""
        return dataclasses.asdict(self)


def make_prediction(
    outputs: Sequence[float],
    interpreter: Interpreter,
    *,
    subset: str,
    backend: str,
    device: str,
    precision: str,
    latency_ms: float,
    warnings: tuple[str, ...] = (),
    counts: Mapping[str, int] | None = None,
    with_context: bool = False,
    ages: Mapping[str, float] | None = None,
    masked: Mapping[str, float] | None = None,
    delay_ms: float | None = None,
) -> Prediction:
    """Interpret the outputs of a graph. The arguments from `subset` to `warnings` are attributes.

    Args:
        outputs: the outputs, adjusted by the conversation memory if there is one.
        interpreter: knows what they mean.
        subset: the modalities that had a valid frame.
        backend: name of the backend.
        device: the device.
        precision: the precision.
        latency_ms: wall time of the call.
        warnings: what was done to the inputs.
        counts: number of valid frames of each modality of the subset, if `interpreter.needs_counts`.
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
    result = interpreter.interpret(numbers, subset, counts, with_context=with_context)
    prediction = Prediction.__new__(Prediction)
    # The constructor of a frozen class sets attribute by attribute, which takes twice as long.
    prediction.__dict__.update(
        score=result.score,
        label=result.label,
        probabilities=result.probabilities,
        outputs=numbers,
        subset=subset,
        backend=backend,
        device=device,
        precision=precision,
        latency_ms=latency_ms,
        warnings=warnings,
        interval=result.interval,
        prediction_set=result.prediction_set,
        ages={} if ages is None else ages,
        masked={} if masked is None else masked,
        delay_ms=latency_ms if delay_ms is None else delay_ms,
        member="",
    )
    return prediction


def revise(prediction: Prediction, **changes: Any) -> Prediction:
    """Return a prediction with other attributes, as `dataclasses.replace` does, but five times as fast."""
    revised = Prediction.__new__(Prediction)
    revised.__dict__.update(prediction.__dict__, **changes)
    return revised
