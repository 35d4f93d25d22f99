"""Sessions of cascades."""
# ruff: noqa: SLF001 - a cascade is a session that is made of sessions

from __future__ import annotations

import dataclasses
import time
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Mapping, Sequence

from edge_msa_runtime.cascade.routing import Answer, Ask, Counts, measure_extent, prediction_values, take_answer
from edge_msa_runtime.cascade.stream import CascadeStream
from edge_msa_runtime.conformal import DEFAULT_COVERAGE, UNCERTAIN
from edge_msa_runtime.errors import NothingToPredictError, UsageError
from edge_msa_runtime.modalities import Subset
from edge_msa_runtime.prediction import Prediction, revise
from edge_msa_runtime.session import Session

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from edge_msa_runtime.cascade.loader import CascadeFolder
    from edge_msa_runtime.cascade.manifest import Stage
    from edge_msa_runtime.streams.options import StreamOptions
    from edge_msa_runtime.streams.stream import Stream


class CascadeSession(Session):
    """Asks the smallest member first, and the next one only where that is expected to change the answer.

    It takes the inputs of its members: text, or frames. A prediction states which member was asked last, and its
    `latency_ms` is the time of all that were asked. The attributes `backend`, `precision` and `device` are those of the
    first member. A cascade has no conversation memory, and its members read no earlier utterances.

    Attributes:
        folder: the verified cascade.
    """

    def __init__(
        self,
        folder: CascadeFolder,
        members: Sequence[Session],
        *,
        coverage: float = DEFAULT_COVERAGE,
        abstain: bool = False,
    ) -> None:
        first = members[0]
        language = first.manifest.language
        manifest = dataclasses.replace(
            first.manifest,
            name=folder.manifest.name,
            language=None if language is None else dataclasses.replace(language, context=0),
            intervals=None,
            context=None,
            class_calibration=None,
        )
        bundle = dataclasses.replace(first.bundle, manifest=manifest, notes=folder.notes)
        super().__init__(bundle, first.graphs, coverage=coverage)
        self._text_encoder = first._text_encoder  # with the tokenizer, once it is loaded
        self.folder = folder
        self._members = tuple(members)
        self._names = tuple(member.name for member in folder.manifest.members)
        self._routes = folder.manifest.routes
        self._typical_frames = folder.manifest.typical_frames
        self._abstain = abstain
        self._level = bisect_left(folder.manifest.coverages, coverage)
        self._task = manifest.task
        if abstain and self._task.kind != "classes" and not (self._task.has_sign and folder.manifest.coverages):
            raise UsageError(
                "abstain needs classes, or intervals of scores with a sign, but the task of this cascade is "
                f"{self._task.kind}. Load it without abstain."
            )

    def __repr__(self) -> str:
        """Return what the cascade asks, e.g. `<CascadeSession cascade: text-nano, then text-base>`."""
        state = ", closed" if self._graphs.is_closed else ""
        return f"<CascadeSession {self.manifest.name}: {', then '.join(self._names)}{state}>"

    @property
    def members(self) -> tuple[Session, ...]:
        """The sessions of the members, in the order in which they are asked."""
        return self._members

    @property
    def has_intervals(self) -> bool:
        """Whether predictions have intervals, if the validation data support the coverage."""
        return bool(self.folder.manifest.coverages)

    @property
    def fallbacks(self) -> tuple[str, ...]:
        """Those of all members, each with the name of its member."""
        return tuple(f"{name}: {item}" for name, member in zip(self._names, self._members) for item in member.fallbacks)

    @property
    def load_ms(self) -> float:
        """Milliseconds spent so far on verifying and opening the members, and on loading their graphs."""
        return sum(member.load_ms for member in self._members)

    def _predict(
        self,
        text: str | Sequence[str] | None,
        language: ArrayLike | None,
        audio: ArrayLike | None,
        vision: ArrayLike | None,
        valid: Mapping[str, ArrayLike] | None,
        truncate: str,
        context: Sequence[str | Sequence[str]],
    ) -> tuple[Prediction, Counts | None]:
        started = time.perf_counter()
        if context:
            raise UsageError("A cascade reads no earlier utterances. Omit context, or load one of its bundles.")
        if language is not None:
            self.check_language_frames()

        def ask(member: int) -> tuple[Prediction, Counts | None]:
            return self._members[member]._predict(text, language, audio, vision, valid, truncate, ())

        first, counts = ask(0)
        prediction = self.complete(first, counts, ask)
        return revise(prediction, latency_ms=(time.perf_counter() - started) * 1e3), counts

    def check_language_frames(self) -> None:
        """Raise a UsageError if the members take text, because each has frames of its own then."""
        if self.manifest.language is not None:
            raise UsageError(
                "This cascade takes text, not language frames, which differ between its members. Pass text."
            )

    def complete(self, first: Prediction, counts: Counts | None, ask: Ask) -> Prediction:
        """Return the prediction of the cascade, given that of the first member.

        Args:
            first: prediction of the first member.
            counts: its number of valid frames by modality; None if it does not count them.
            ask: returns the prediction of a member, given its index.

        Raises:
            InferenceError: a backend failed.
        """
        route = self._routes.get(first.subset)
        if route is None:  # nothing is known about these modalities
            last = len(self._members) - 1
            return self._name(self._ask(ask, last) or first, last)
        extent = measure_extent(Subset(first.subset), counts, self._typical_frames)
        answer = take_answer(route, 0, prediction_values(first), None, extent)
        asked = [first]
        while answer.asks_next:
            number = answer.member + 1
            prediction = self._ask(ask, number)
            if prediction is None:
                break
            asked.append(prediction)
            answer = take_answer(route, number, prediction_values(prediction), answer, extent)
        return self._conclude(asked, answer, route.stages[answer.member])

    @staticmethod
    def _ask(ask: Ask, member: int) -> Prediction | None:
        """Return the prediction of a member; None if its tokenizer finds nothing in a text."""
        try:
            return ask(member)[0]
        except NothingToPredictError:
            return None

    def _name(self, prediction: Prediction, member: int) -> Prediction:
        return revise(prediction, member=self._names[member])

    def _conclude(self, asked: Sequence[Prediction], answer: Answer, stage: Stage) -> Prediction:
        """Return the prediction for an answer. Its warnings are those of all members that were asked, each once."""
        last = asked[-1]
        warnings = tuple(dict.fromkeys(warning for prediction in asked for warning in prediction.warnings))
        if last.score is None:
            return revise(last, member=self._names[answer.member], warnings=warnings)
        score = answer.values[0]
        label = self._task.labels[bisect_right(self._task.edges, score)] if self._task.labels else ""
        interval = self._interval(answer, stage)
        if self._abstain and interval is not None and interval[0] < 0.0 < interval[1]:
            label = UNCERTAIN
        return revise(
            last,
            score=score,
            label=label,
            outputs=answer.values,
            warnings=warnings,
            interval=interval,
            ages=asked[0].ages,
            masked=asked[0].masked,
            member=self._names[answer.member],
        )

    def _interval(self, answer: Answer, stage: Stage) -> tuple[float, float] | None:
        """Return the interval of a score, clipped to the scale; the whole scale if the data do not support one."""
        if not stage.half_widths:
            return None
        low, high = self._task.low, self._task.high
        factor = stage.half_widths[self._level] if self._level < len(stage.half_widths) else None
        if factor is None:
            return None if low is None or high is None else (low, high)
        score, half_width = answer.values[0], factor * answer.spread
        lower, upper = score - half_width, score + half_width
        return (lower if low is None else max(lower, low), upper if high is None else min(upper, high))

    def _open_stream(self, options: StreamOptions) -> Stream:
        quiet = dataclasses.replace(options, on_event=None, late_frames="drop", context=False)
        first, *others = self._members
        return CascadeStream(
            first,
            [member._open_stream(quiet) for member in others],
            dataclasses.replace(options, context=False),
            self.complete,
            self.check_language_frames,
        )

    def prepare(self, *subsets: Subset | str, streams: int = 1) -> None:
        """Load the graphs of all members, as `Session.prepare` does."""
        for member in self._members:
            member.prepare(*subsets, streams=streams)

    def close(self) -> None:
        """Release the graphs of all members."""
        for member in self._members:
            member.close()
