"""Predict many samples, and write the predictions to a CSV or JSON file."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterable, Mapping, Sequence

import numpy as np

from edge_msa_runtime.atomic_files import write_file
from edge_msa_runtime.errors import InferenceError, UsageError
from edge_msa_runtime.features import mismatch_warning
from edge_msa_runtime.wording import format_count, format_part

if TYPE_CHECKING:
    from edge_msa_runtime.bundle.manifest import TaskSpec
    from edge_msa_runtime.features import FeatureSource
    from edge_msa_runtime.inputs.samples import Sample
    from edge_msa_runtime.prediction import Prediction
    from edge_msa_runtime.session import Session

SUFFIXES = (".csv", ".json")
NO_FRAME = "no valid frame or word"


@dataclasses.dataclass(frozen=True)
class PredictedSample:
    """The prediction of one sample, or the reason why there is none.

    Attributes:
        id: name of the sample.
        split: name of its split, as in `Sample`.
        subset: the modalities that the prediction is based on; empty without a prediction.
        score: sentiment on the task's scale; None for classes and emotions, and without a prediction.
        label: name of the range that contains the score, or the most probable class or emotion.
        probabilities: probability of each class or emotion; empty for scores.
        interval: (low, high) around the score, as in `Prediction`; None if there is none.
        prediction_set: classes among which the label is, as in `Prediction`; None if there is no set.
        warnings: what was done to the inputs, or why there is no prediction.
        member: name of the member of a cascade that was asked last; empty for a bundle and without a prediction.
    """

    id: str
    split: str
    subset: str = ""
    score: float | None = None
    label: str = ""
    probabilities: Mapping[str, float] = dataclasses.field(default_factory=dict)
    interval: tuple[float, float] | None = None
    prediction_set: tuple[str, ...] | None = None
    warnings: tuple[str, ...] = ()
    member: str = ""

    @classmethod
    def of(cls, sample: str, split: str, prediction: Prediction) -> PredictedSample:
        """Return the prediction of a sample."""
        return cls(
            sample,
            split,
            prediction.subset,
            prediction.score,
            prediction.label,
            prediction.probabilities,
            prediction.interval,
            prediction.prediction_set,
            prediction.warnings,
            prediction.member,
        )


def check_suffix(path: Path) -> None:
    """Check the name of a file for predictions. Call this before slow work.

    Raises:
        UsageError: The name does not end in .csv or .json.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"The name of a file for predictions must end in {' or '.join(SUFFIXES)}, got {path}.")


def predict_samples(
    session: Session, samples: Iterable[Sample], modalities: Sequence[str], *, truncate: str = "end"
) -> list[PredictedSample]:
    """Predict each sample from those of the given modalities that it has. `truncate` is as in `Session.predict`.

    A text encoder that reads earlier utterances reads those of the same video. A sample that cannot be predicted has a
    warning instead, so that the others are not lost.

    Raises:
        UsageError: No sample could be predicted. The message is that of the first one.
        InferenceError: Likewise.
    """
    predicted: list[PredictedSample] = []
    first_error: UsageError | InferenceError | None = None
    for sample in samples:
        try:
            predicted.append(_predict(session, sample, modalities, truncate))
        except (UsageError, InferenceError) as error:
            first_error = first_error or error
            predicted.append(PredictedSample(sample.id, sample.split, warnings=(str(error),)))
    if first_error is not None and not any(item.subset for item in predicted):
        raise first_error
    return predicted


def reads_context(session: Session) -> bool:
    """Return whether the text encoder of a session reads earlier utterances."""
    return session.manifest.language is not None and session.manifest.language.context > 0


def sample_inputs(sample: Sample, modalities: Sequence[str], *, context: bool) -> dict[str, Any]:
    """Return the arguments of `Session.predict` for a sample; nothing if it has none of the modalities.

    Args:
        sample: the sample.
        modalities: what to predict from, see `usable_modalities`.
        context: whether to add the earlier utterances of its video.

    Raises:
        UsageError: the sample could not be read.
    """
    if sample.error is not None:
        raise sample.error
    inputs: dict[str, Any] = {name: sample.frames[name] for name in modalities if name in sample.frames}
    if "text" in modalities and sample.text:
        inputs["text"] = sample.text
        if context:
            inputs["context"] = sample.earlier
    valid = {name: mask for name, mask in sample.valid.items() if name in inputs}
    return {**inputs, "valid": valid} if inputs else {}


def usable_modalities(session: Session, available: Sequence[str], *, has_text: bool) -> tuple[list[str], list[str]]:
    """Return the modalities of a file that a bundle takes (`text` for texts), and a note for each that is ignored.

    Texts have precedence over language frames.

    Raises:
        UsageError: The file has nothing that the bundle takes.
    """
    takes_text = session.manifest.language is not None
    used = [name for name in available if name in session.manifest.modalities]
    notes = [f"{name}: ignored, the bundle does not take it" for name in available if name not in used]
    if has_text and takes_text:
        used = ["text", *(name for name in used if name != "language")]
    if not used:
        takes = [*session.manifest.modalities, *(["text"] if takes_text else [])]
        has = [*available, *(["text"] if has_text else [])]
        raise UsageError(
            f"The samples must have at least one of {', '.join(takes)}, which the bundle takes, "
            f"got {', '.join(has) or 'nothing'}. Pass other data or another bundle."
        )
    return used, notes


def check_features(
    session: Session, features: Mapping[str, FeatureSource], modalities: Sequence[str], data: str
) -> str | None:
    """Return a warning if data has other features than the bundle was trained on; None if nothing contradicts.

    Args:
        session: a session of the bundle.
        features: what is known about the features of the data, by modality.
        modalities: what the predictions are made from, see `usable_modalities`.
        data: name of the data.
    """
    specs = session.manifest.modalities
    expected = {name: specs[name].features for name in modalities if name in specs}
    return mismatch_warning(expected, features, data)


def summarize(predicted: Sequence[PredictedSample]) -> list[str]:
    """Return what a user should know about predictions: how many there are of each label, and how many lack one."""
    done = [item for item in predicted if item.subset]
    labels: dict[str, int] = {}
    for item in done:
        labels[item.label] = labels.get(item.label, 0) + 1
    counts = ", ".join(f"{label} {count}" for label, count in sorted(labels.items()) if label)
    lines = [f"{format_count(len(done), 'sample')} predicted{f': {counts}' if counts else ''}"]
    if members := format_members([item.member for item in done]):
        lines[0] += f"; {members}"
    if len(done) < len(predicted):
        reasons = dict.fromkeys(item.warnings[0] for item in predicted if not item.subset)
        lines.append(
            f"{format_part(len(predicted) - len(done), len(predicted), 'sample', 'has', 'have')} no prediction, see "
            f"the warnings in the table, e.g. {next(iter(reasons))}"
        )
    return lines


def format_members(asked: Sequence[str]) -> str:
    """Return how often each member of a cascade was asked last, e.g. `small 80 %, large 20 %`; empty for a bundle."""
    names = dict.fromkeys(name for name in asked if name)
    return ", ".join(f"{name} {100 * asked.count(name) / len(asked):.0f} %" for name in names)


def format_csv(predicted: Sequence[PredictedSample], task: TaskSpec) -> str:
    """Return a table: id, split, subset, score, label, what is known about its uncertainty, and warnings.

    That is the interval of a score, or all probabilities, and for classes the prediction set. Predictions of a
    cascade have the column `member`.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = ["low", "high"] if task.is_score else [f"probability.{name}" for name in task.labels]
    has_sets = task.kind == "classes"
    names += ["prediction_set"] if has_sets else []
    has_members = any(item.member for item in predicted)
    names += ["member"] if has_members else []
    writer.writerow(["id", "split", "subset", "score", "label", *names, "warnings"])
    for item in predicted:
        probabilities = [item.probabilities.get(name) for name in task.labels]
        cells = [_number(value) for value in (item.interval or (None, None) if task.is_score else probabilities)]
        cells += ["; ".join(item.prediction_set or ())] if has_sets else []
        score = _number(item.score)
        cells += [item.member] if has_members else []
        writer.writerow([item.id, item.split, item.subset, score, item.label, *cells, "; ".join(item.warnings)])
    return text.getvalue()


def write_predictions(
    path: Path, predicted: Sequence[PredictedSample], task: TaskSpec, source: Mapping[str, Any]
) -> None:
    """Write predictions to a CSV or JSON file, according to its name. `source` describes them in JSON.

    Raises:
        OSError: The file cannot be written.
    """
    if path.suffix.lower() == ".json":
        content = {**source, "task": task.kind, "predictions": [dataclasses.asdict(item) for item in predicted]}
        write_file(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "replace"))
    else:
        write_file(path, format_csv(predicted, task).encode("utf-8", "replace"))


def _predict(session: Session, sample: Sample, modalities: Sequence[str], truncate: str) -> PredictedSample:
    inputs = sample_inputs(sample, modalities, context=reads_context(session))
    if not inputs:
        return PredictedSample(sample.id, sample.split, warnings=(NO_FRAME,))
    return PredictedSample.of(sample.id, sample.split, session.predict(**inputs, truncate=truncate))


def _number(value: float | None) -> str:
    """Return the shortest text of a float32."""
    return "" if value is None else str(np.float32(value))
