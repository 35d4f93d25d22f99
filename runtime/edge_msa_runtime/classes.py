"""Classes: calibrated probabilities and prediction sets.

Probabilities are the softmax of the logits, divided by a temperature that `edge-msa export` fits on the validation
split. Guo et al., "On calibration of modern neural networks" (2017).

A prediction set has as many of the most probable classes as are needed to contain the label with a chosen coverage: all
whose probability is at least 1 - a threshold that the bundle states, and always the most probable one. Of all sets with
the same coverage, these have the fewest classes on average. Sadinle, Lei and Wasserman, "Least ambiguous set-valued
classifiers with bounded error levels" (2019). `conformal` explains the tables.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Mapping, Sequence

from edge_msa_runtime.conformal import UNCERTAIN, Calibration, Lookup, Tables, read_calibration, read_tables
from edge_msa_runtime.json_fields import JsonFields

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 100.0


@dataclasses.dataclass(frozen=True)
class PredictionSets(Calibration):
    """The thresholds of a bundle's prediction sets.

    Attributes:
        thresholds: 1 - the smallest probability of the other classes of a set than the most probable one, by backend
            and precision.
    """

    thresholds: Tables

    @classmethod
    def from_json(cls, value: Any, path: str) -> PredictionSets:
        """Build from JSON; a ValueError names the invalid field."""
        fields = JsonFields(value, path, [field.name for field in dataclasses.fields(cls)])
        coverages, edges, typical, videos = read_calibration(fields)
        thresholds = read_tables(fields, "thresholds", typical, (len(edges) + 1, len(coverages)))
        return cls(coverages, edges, typical, videos, thresholds)

    def lookup(self, backend: str, precision: str, coverage: float) -> Lookup:
        """Return what finds the thresholds at a coverage. The next larger coverage that is stated counts."""
        return Lookup(self, self.thresholds.get(backend, {}).get(precision, {}), coverage)

    def renamed(self, backend: str, executing: str) -> PredictionSets:
        """Return the thresholds of a backend under the name of the one that runs its graphs instead."""
        own = {executing: self.thresholds[backend]} if backend in self.thresholds else {}
        return dataclasses.replace(self, thresholds=own)


@dataclasses.dataclass(frozen=True)
class ClassCalibration:
    """How the logits of classes become probabilities and prediction sets.

    Attributes:
        temperature: logits are divided by it before the softmax.
        sets: prediction sets; None if there were no data to calibrate them.
    """

    temperature: float = 1.0
    sets: PredictionSets | None = None

    @classmethod
    def from_json(cls, value: Any, path: str) -> ClassCalibration:
        """Build from JSON; a ValueError names the invalid field."""
        fields = JsonFields(value, path, ("temperature", "sets"))
        temperature, sets = float(fields.number("temperature")), fields.raw("sets")
        if not MIN_TEMPERATURE <= temperature <= MAX_TEMPERATURE:
            raise ValueError(
                f"{fields.path('temperature')} must be {MIN_TEMPERATURE:g} to {MAX_TEMPERATURE:g}, got {temperature:g}"
            )
        return cls(temperature, None if sets is None else PredictionSets.from_json(sets, fields.path("sets")))


def softmax(logits: Sequence[float], temperature: float = 1.0) -> list[float]:
    """Return the probabilities of finite logits; their sum is 1 up to rounding."""
    largest = max(logits)
    weights = [math.exp((logit - largest) / temperature) for logit in logits]
    total = sum(weights)
    return [weight / total for weight in weights]


def select_labels(probabilities: Mapping[str, float], threshold: float | None) -> tuple[str, ...]:
    """Return the labels of a prediction set, the most probable first; all if there is no threshold."""
    ordered = sorted(probabilities, key=probabilities.__getitem__, reverse=True)
    if threshold is None:
        return tuple(ordered)
    return (ordered[0], *(label for label in ordered[1:] if 1.0 - probabilities[label] <= threshold))


def describe_classes(label: str, probabilities: Mapping[str, float], labels: Sequence[str] | None) -> str:
    """Return a prediction of classes or emotions, with what else is in its set: `happy 0.55 (or sad)`.

    Args:
        label: the most probable one, or `uncertain`.
        probabilities: their probabilities.
        labels: the prediction set; None if there is none.
    """
    if label == UNCERTAIN and UNCERTAIN not in probabilities:
        return f"{label}: " + ", ".join(f"{name} {probabilities.get(name, 0.0):.2f}" for name in labels or ())
    others = f" (or {', '.join(labels[1:])})" if labels is not None and len(labels) > 1 else ""
    return f"{label} {probabilities.get(label, 0.0):.2f}{others}"
