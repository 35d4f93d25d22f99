"""`edge-msa explain`: what a run attention maps at and what each modality does to its predictions, as one offline page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from edge_msa.artifacts.files import check_file_path, write_text
from edge_msa.artifacts.model_spec import ModelSpec
from edge_msa.artifacts.runs import Run, load_run
from edge_msa.console import made, say, say_json
from edge_msa.data.dataset import Dataset, Split, SplitName
from edge_msa.errors import DataError
from edge_msa.evaluation.predictors import by_run
from edge_msa.models.almt import Almt
from edge_msa.reporting.explain.attention import mean_shares
from edge_msa.reporting.explain.attention_section import (
    SamplePicture,
    almt_sample,
    frames_sample,
    guided_means,
    shares_table,
)
from edge_msa.reporting.explain.baseline_check import baseline_check
from edge_msa.reporting.explain.page import Explanation, Part, Shown, render
from edge_msa.reporting.explain.plots import guided_picture, predictions_picture
from edge_msa.reporting.explain.projection_section import Maps, stream_maps, subset_maps
from edge_msa.reporting.explain.removal import Predictions, Removal, predictions_of, removals
from edge_msa.reporting.explain.removal_section import (
    picture_lines,
    removal_table,
    samples_table,
    sentences,
    shown_number,
    unit_of,
)
from edge_msa.reporting.explain.samples import Rows, chosen_rows, drawn_rows, present
from edge_msa.text_tables import text_table
from edge_msa.training.internals import AttentionMaps, attention_maps_of, representations, streams_of
from edge_msa.training.load import model_of
from edge_msa.training.predict import Readable
from edge_msa.training.run_data import open_dataset_for_run
from edge_msa_runtime.modalities import MODALITIES, Subset

MOST = 500
"""Samples of one t-SNE map, and of averages of attention."""
MOST_STREAMS = 250
"""Samples of the streams' map: four points each."""


@dataclass(frozen=True)
class _Subject:
    """Whatever is asked, and of what. `split` is raw; `rows` of it are shown."""

    run: Run
    model: Readable
    spec: ModelSpec
    dataset: Dataset
    split_name: SplitName
    split: Split
    rows: Rows
    how: str

    def normalized(self, rows: Rows) -> Split:
        """Those samples as the model wants them."""
        return self.spec.normalization.normalize_split(self.split.select(rows))


def explain_run(
    path: Path,
    data: str | None,
    output: Path,
    *,
    split: SplitName = "valid",
    samples: Sequence[str] = (),
    task: str | None = None,
    json: bool = False,
) -> Explanation:
    """Write the page and print what removal does."""
    check_file_path(output)
    subject = _subject(path, data, split, samples, task)
    meaning = subject.dataset.task
    predictions = predictions_of(by_run(subject.run), subject.split, meaning)
    taken = removals(predictions, subject.split)
    joint, streams = _joint(subject), _streams(subject)
    page = _page(subject, predictions, taken, joint, streams)
    write_text(output, render(page))
    say(page.verdicts[0])
    say(text_table(page.removal.header, page.removal.rows))
    made("page", output)
    if json:
        say_json(_json(subject, predictions, taken, joint, streams) | {"page": str(output)})
    return page


def _subject(path: Path, data: str | None, split_name: SplitName, samples: Sequence[str], task: str | None) -> _Subject:
    """Everything read and checked, before anything is computed.

    Raises:
        RunUsageError: `path` is no run.
        DataError: the data does not fit the run, or has nothing to read in that split.
        UsageError: no data is known, or a sample is not in the split.
    """
    run = load_run(path)
    spec = run.spec
    dataset = spec.select_inputs(open_dataset_for_run(run, data, task))
    split = dataset.split(split_name)
    if not any(present(split, name).any() for name in MODALITIES):
        raise DataError(f"no sample of the {split_name} split of {dataset.name} has a valid frame: nothing to read")
    rows, how = chosen_rows(split, dataset.task, samples)
    return _Subject(run, model_of(run), spec, dataset, split_name, split, rows, how)


def _page(
    subject: _Subject, predictions: Predictions, taken: Sequence[Removal], joint: Maps, streams: Maps | None
) -> Explanation:
    split, task, info = subject.split, subject.dataset.task, subject.run.info
    name = subject.run.path.resolve().name
    attention_maps = attention_maps_of(subject.model, subject.normalized(subject.rows))
    guided, shares = _means(subject)
    return Explanation(
        title=f"edge-msa: what {name} attention maps at",
        subtitle=f"{_model(info.model)} · {subject.dataset.name}, {subject.split_name} split, {len(split)} samples",
        verdicts=(_baseline_check(subject, predictions), *sentences(taken, split, task)),
        removal=removal_table(taken, task),
        samples=samples_table(split, subject.rows, predictions, task),
        how=subject.how,
        predictions=Part(predictions_picture(picture_lines(split, subject.rows, predictions, task), unit_of(task))),
        shown=list(_shown(subject, predictions, attention_maps)),
        model=info.model,
        guided=guided,
        shares=shares,
        drawn=_drawn(MOST, len(split)),
        drawn_streams=_drawn(MOST_STREAMS, len(split)),
        joint=Part(joint.svg, joint.notes),
        streams=Part() if streams is None else Part(streams.svg, streams.notes),
        left_out=tuple(_left_out(subject, attention_maps, joint, streams)),
        provenance=_provenance(subject),
    )


def _baseline_check(subject: _Subject, predictions: Predictions) -> str:
    split, train = subject.split, subject.dataset.splits.get("train")
    known = train.labels if train is not None and len(train) else None
    return baseline_check(subject.dataset.task, split.labels, predictions[Subset.LAV], split.groups, known)


def _joint(subject: _Subject) -> Maps:
    kept = subject.split.select(drawn_rows(len(subject.split), MOST))

    def represent(split: Split, subset: Subset) -> Any:
        return representations(subject.model, subject.spec.normalization.normalize_split(split), subset)

    return subset_maps(represent, kept, subject.dataset.task)


def _streams(subject: _Subject) -> Maps | None:
    if not isinstance(subject.model, Almt):
        return None
    rows = drawn_rows(len(subject.split), MOST_STREAMS)
    streams = streams_of(subject.model, subject.normalized(rows))
    return stream_maps(streams, subject.split.select(rows), subject.dataset.task)


def _means(subject: _Subject) -> tuple[Part, Any]:
    """AHL's mean weights, and where the embeddings look on average; nothing of other models."""
    if not _is_almt(subject):
        return Part(), None
    rows = drawn_rows(len(subject.split), MOST)
    attention_maps = attention_maps_of(subject.model, subject.normalized(rows))
    means = guided_means(attention_maps.guided, subject.split, rows)
    shares = mean_shares(attention_maps.frames, subject.split.modalities, rows.tolist())
    return Part(guided_picture(means)) if means else Part(), shares_table(shares)


def _shown(subject: _Subject, predictions: Predictions, attention_maps: AttentionMaps) -> Iterator[Shown]:
    picture = _sample_picture(subject, attention_maps)
    task, split = subject.dataset.task, subject.split
    for at, row in enumerate(subject.rows):
        read = [shown_number(float(value), task) for value in predictions[Subset.LAV][row]]
        label = [shown_number(float(value), task) for value in split.labels[row].reshape(-1)]
        names = ("",) if task.is_score else task.labels
        facts = "; ".join(
            f"{name} label {told}, prediction {said}".strip()
            for name, told, said in zip(names, label, read, strict=True)
        )
        drawn = picture(split, int(row), at)
        yield Shown(split.ids[row], split.texts[row] if split.texts else "", facts, Part(drawn.svg, drawn.notes))


def _sample_picture(subject: _Subject, attention_maps: AttentionMaps) -> Callable[[Split, int, int], SamplePicture]:
    """By the kind of model: what a sample's attention is drawn by."""
    if _is_almt(subject):
        return partial(almt_sample, attention_maps.frames, attention_maps.guided)
    teacher = subject.run.info.model == "hrlf"
    return partial(frames_sample, attention_maps.frames, rows_are="head" if teacher else "pooled token", gaps=teacher)


def _left_out(subject: _Subject, attention_maps: AttentionMaps, joint: Maps, streams: Maps | None) -> Iterator[str]:
    kind = subject.run.info.model
    if not _is_almt(subject):
        yield f"AHL's attention and the hyper-modality: {_model(kind)} has neither, ALMT has."
    elif not attention_maps.guided:
        yield "AHL's attention and the hyper-modality: this ALMT was made without AHL."
    if not joint.svg:
        yield f"t-SNE of the joint representation. {' '.join(joint.notes)}"
    if streams is not None and not streams.svg:
        yield f"t-SNE of the hyper-modality. {' '.join(streams.notes)}"
    lacking = [name for name in subject.spec.dims if not present(subject.split, name).any()]
    if lacking:
        yield f"Everything about {' and '.join(lacking)}: the split has no frame of it."
    if not subject.split.texts:
        yield "What was said: the data does not have it."


def _drawn(most: int, count: int) -> str:
    return f"{most} samples drawn from {count}" if most < count else f"all {count} samples"


def _is_almt(subject: _Subject) -> bool:
    return isinstance(subject.model, Almt)


def _model(kind: str) -> str:
    return {"hrlf": "HRLF", "almt": "ALMT"}.get(kind, f"a {kind}")


def _provenance(subject: _Subject) -> dict[str, str]:
    info = subject.run.info
    found = {
        "run": f"{subject.run.digest[:12]}, seed {info.seed}, revision {(info.git_revision or 'unknown')[:12]}",
        "data": f"{subject.dataset.name}, SHA-256 {subject.dataset.digest}",
        "t-SNE": "scikit-learn, seed 0, started from the principal components, perplexity 30 or a third of the samples",
    }
    notes = (*subject.dataset.notes, *subject.spec.normalization.notes)
    return found | ({"notes": "; ".join(notes)} if notes else {})


def _json(
    subject: _Subject, predictions: Predictions, taken: Sequence[Removal], joint: Maps, streams: Maps | None
) -> dict[str, Any]:
    return {
        "record": "explanation",
        "run": str(subject.run.path),
        "model": subject.run.info.model,
        "dataset": subject.dataset.name,
        "split": subject.split_name,
        "samples": len(subject.split),
        "removal": {
            item.modality: {
                "samples": item.samples,
                "mean_change": item.change.value,
                "error": item.error,
                "error_without": item.error_without,
                "difference": None if item.worse is None else [item.worse.value, item.worse.low, item.worse.high],
            }
            for item in taken
        },
        "shown": {
            subject.split.ids[row]: {subset.value: predictions[subset][row].tolist() for subset in Subset}
            for row in subject.rows
        },
        "neighbors": {"joint": joint.shares, "streams": {} if streams is None else streams.shares},
    }
