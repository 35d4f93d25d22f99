"""What a session answers: the numbers of a graph, made sense of by the task."""

from __future__ import annotations

import dataclasses
import math
from bisect import bisect_right
from typing import Any, Mapping, Sequence

from edge_msa_runtime.bundle.manifest import TaskSpec
from edge_msa_runtime.errors import InferenceError


@dataclasses.dataclass(frozen=True)
class Prediction:
    """One prediction.

    `score`: the sentiment on the task's scale, None for emotions. `label`: the score's range or the most probable
    emotion; empty where the task names no ranges. `probabilities`: of each emotion, in [0, 1], independent of each
    other; empty for scores. `outputs`: the graph's own numbers, logits for emotions. `subset`: the modalities that
    had a valid frame, as in `la`. `backend`, `device`, `precision`: what executed. `milliseconds`: wall time from the
    call to the prediction.
    """

    score: float | None
    label: str
    probabilities: Mapping[str, float]
    outputs: tuple[float, ...]
    subset: str
    backend: str
    device: str
    precision: str
    milliseconds: float

    def to_json(self) -> dict[str, Any]:
        """The prediction as plain JSON values."""
        return dataclasses.asdict(self)


def make_prediction(
    outputs: Sequence[float], task: TaskSpec, *, subset: str, executed: tuple[str, str, str], milliseconds: float
) -> Prediction:
    """Make sense of a graph's outputs.

    Args:
        outputs: as many as `task.outputs`.
        task: what they mean.
        subset: the modalities that were read.
        executed: backend, device and precision.
        milliseconds: time spent.

    Raises:
        InferenceError: an output is not finite.
    """
    numbers = tuple(outputs)
    if not all(map(math.isfinite, numbers)):
        raise InferenceError(
            f"{executed[0]} at {executed[2]} read {numbers} from {subset}, which is not finite: "
            "run `edge-msa-run verify` on the bundle, or use --precision fp32"
        )
    if task.kind == "emotions":
        probabilities = {label: _sigmoid(logit) for label, logit in zip(task.labels, numbers)}
        score, label = None, max(probabilities, key=probabilities.__getitem__)
    else:
        probabilities = {}
        score = numbers[0]
        label = task.labels[bisect_right(task.edges, score)] if task.labels else ""
    return Prediction(score, label, probabilities, numbers, subset, *executed, milliseconds)


def _sigmoid(logit: float) -> float:
    """Without overflow for large negative logits."""
    if logit >= 0:
        return 1.0 / (1.0 + math.exp(-logit))
    grown = math.exp(logit)
    return grown / (1.0 + grown)
