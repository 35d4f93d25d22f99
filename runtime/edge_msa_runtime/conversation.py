"""Conversation memory: earlier utterances of a conversation adjust the score of the current one.

Speakers keep a mood: in CMU-MOSI, 30 % of the variance of labels lies between videos. The memory therefore keeps a
running mean of how far earlier predictions were from the average prediction, and moves later scores toward it. It has
two numbers of state, and only utterances that have ended enter it, so no score depends on a later utterance.

`edge-msa export` fits the head on validation data (`edge_msa.evaluation.context`).
"""

from __future__ import annotations

import dataclasses
import math
from numbers import Real
from typing import Any, Mapping, Sequence

from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.json_fields import JsonFields
from edge_msa_runtime.modalities import MODALITIES, subsets_of

_SUBSETS = tuple(subset.value for subset in subsets_of(MODALITIES))
MAX_DEVIATION = 4.0
"""Deviations from the mean count up to this many standard deviations, so that one output cannot dominate."""


@dataclasses.dataclass(frozen=True)
class SubsetContext:
    """The parameters of one subset of modalities.

    Attributes:
        mean: mean of the subset's outputs.
        spread: their standard deviation. (output - mean) / spread is the *deviation* of an output, within
            `MAX_DEVIATION`.
        weight: weight of an utterance that was predicted from this subset, between 0 and 1. Subsets whose predictions
            say little about the labels have little weight.
        evidence: what a deviation of 1 adds to the evidence of the memory. Relative to `weight`, it is larger for a
            subset whose predictions say little, because their deviations are damped.
        shift: how far the evidence moves an output of this subset, in units of the score, at least 0.
        shrink: how far an output of this subset moves toward the mean once the memory is full, in units of the score,
            at least 0: the more is known about the speaker, the less a single utterance counts.
    """

    mean: float
    spread: float
    weight: float
    evidence: float
    shift: float
    shrink: float

    @classmethod
    def from_json(cls, value: Any, path: str) -> SubsetContext:
        """Build from JSON; a ValueError names the invalid field."""
        names = [field.name for field in dataclasses.fields(cls)]
        fields = JsonFields(value, path, names)
        numbers = {name: float(fields.number(name)) for name in names}
        if numbers["spread"] <= 0:
            raise ValueError(f"{fields.path('spread')} must be positive, got {value['spread']!r}")
        if not 0 <= numbers["weight"] <= 1:
            raise ValueError(f"{fields.path('weight')} must be between 0 and 1, got {value['weight']!r}")
        for name in ("shift", "shrink"):
            if numbers[name] < 0:
                raise ValueError(f"{fields.path(name)} must be at least 0, got {value[name]!r}")
        return cls(**numbers)


@dataclasses.dataclass(frozen=True)
class ContextHead:
    """The context head of a bundle: how earlier utterances adjust a score.

    With the weight W and the evidence E of the memory, an output y of a subset that has the deviation d is adjusted to

        y + (shift * E - shrink * W * d) / (prior + W)

    After the utterance, W becomes decay * W + weight, and E becomes decay * E + evidence * d. At first, W and E are 0,
    and outputs do not change.

    Attributes:
        decay: what remains of the memory after one more utterance, at least 0 and less than 1.
        prior: weight of the assumption that a speaker is like all others, in utterances.
        subsets: the parameters of each subset of modalities; outputs of other subsets are neither used nor adjusted.
        utterances: number of validation utterances that the head was fitted on.
        videos: number of videos that they are from.
    """

    decay: float
    prior: float
    subsets: Mapping[str, SubsetContext]
    utterances: int
    videos: int

    @classmethod
    def from_json(cls, value: Any, path: str) -> ContextHead:
        """Build from JSON; a ValueError names the invalid field."""
        fields = JsonFields(value, path, [field.name for field in dataclasses.fields(cls)])
        decay, prior = float(fields.number("decay")), float(fields.number("prior"))
        if not 0 <= decay < 1:
            raise ValueError(f"{fields.path('decay')} must be at least 0 and less than 1, got {value['decay']!r}")
        if prior <= 0:
            raise ValueError(f"{fields.path('prior')} must be positive, got {value['prior']!r}")
        subsets = {}
        for name, item in fields.mapping("subsets").items():
            if name not in {subset.value for subset in subsets_of(MODALITIES)}:
                raise ValueError(f"{fields.path('subsets')}.{name} must be the name of a subset, such as la")
            subsets[name] = SubsetContext.from_json(item, f"{fields.path('subsets')}.{name}")
        return cls(decay, prior, subsets, fields.integer("utterances"), fields.integer("videos"))


class Conversation:
    """The memory of one conversation. A stream has one; create your own to use it with `Session.predict`.

    It is not locked: use it from one thread at a time.

    Args:
        head: the head of the bundle, `manifest.context`. None: nothing is adjusted.

    Examples:
        >>> conversation = Conversation(session.manifest.context)
        >>> for utterance in utterances:
        ...     prediction = session.predict(text=utterance)
        ...     (score,) = conversation.adjust(prediction.outputs, prediction.subset)
        ...     conversation.add(prediction.outputs, prediction.subset)
    """

    def __init__(self, head: ContextHead | None) -> None:
        self._head = head
        self._weight = 0.0
        self._evidence = 0.0
        self._count = 0

    def __repr__(self) -> str:
        """Return the number of utterances, e.g. `<Conversation with 12 utterances>`."""
        head = "" if self._head is not None else ", no context head"
        return f"<Conversation with {self._count} utterance{'' if self._count == 1 else 's'}{head}>"

    @property
    def count(self) -> int:
        """Number of utterances since the start or the last `reset`."""
        return self._count

    def adjusts(self, subset: str) -> bool:
        """Return whether `adjust` changes outputs of a subset: an earlier utterance counts, and the head has it."""
        return self._head is not None and self._weight > 0.0 and subset in self._head.subsets

    def adjust(self, outputs: Sequence[float], subset: str) -> Sequence[float]:
        """Return the outputs of the current utterance, adjusted by the earlier ones. The memory does not change.

        Args:
            outputs: the outputs of a graph: (score,), before it is clamped. The result is not clamped either.
            subset: the modalities that they were predicted from, such as `la`.

        Raises:
            UsageError: an argument is invalid.
        """
        _check(outputs, subset)
        head, weight = self._head, self._weight
        parameters = None if head is None or weight == 0.0 else head.subsets.get(subset)
        if head is None or parameters is None:
            return outputs
        deviation = _deviation(outputs[0], parameters)
        change = parameters.shift * self._evidence - parameters.shrink * weight * deviation
        return (outputs[0] + change / (head.prior + weight),)

    def add(self, outputs: Sequence[float], subset: str) -> None:
        """Remember an utterance that has ended.

        Args:
            outputs: the final outputs of a graph for the utterance, not adjusted.
            subset: the modalities that they were predicted from.

        Raises:
            UsageError: an argument is invalid, or an output is not finite. The memory is unchanged.
        """
        _check(outputs, subset)
        if not all(map(math.isfinite, outputs)):
            raise UsageError(f"Outputs of an utterance must be finite, got {tuple(outputs)}. Leave the utterance out.")
        self._count += 1
        parameters = None if self._head is None else self._head.subsets.get(subset)
        if self._head is None or parameters is None:
            return
        decay = self._head.decay
        self._weight = decay * self._weight + parameters.weight
        self._evidence = decay * self._evidence + parameters.evidence * _deviation(outputs[0], parameters)

    def reset(self) -> None:
        """Forget all utterances, as at the start of a conversation."""
        self._weight = self._evidence = 0.0
        self._count = 0


def _check(outputs: Any, subset: Any) -> None:
    """Check the arguments of `adjust` and `add`.

    Raises:
        UsageError: outputs are not numbers, or the subset does not exist.
    """
    if subset not in _SUBSETS:
        raise UsageError(f"subset must be one of {', '.join(_SUBSETS)}, got {subset!r:.60}.")
    try:
        is_valid = len(outputs) > 0 and all(map(_is_number, outputs))
    except TypeError:
        is_valid = False
    if not is_valid or isinstance(outputs, Mapping):
        raise UsageError(f"outputs must be the outputs of a prediction, such as (0.5,), got {outputs!r:.60}.")


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)  # NumPy's numbers are real numbers, too


def _deviation(score: float, parameters: SubsetContext) -> float:
    """Return how many standard deviations an output is from the mean, within `MAX_DEVIATION`."""
    deviation = (score - parameters.mean) / parameters.spread
    return max(-MAX_DEVIATION, min(MAX_DEVIATION, deviation))
