"""`edge-msa explain`: what a run looks at and what each modality does to its readings, as one offline page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from edge_msa.contract import Contract
from edge_msa.data.dataset import Dataset, Split, SplitName
from edge_msa.errors import DataError
from edge_msa.explain.attention import mean_shares
from edge_msa.explain.figures import guided_picture, readings_picture
from edge_msa.explain.page import Explanation, Part, Shown, render
from edge_msa.explain.removal import Readings, Removal, readings_of, removals
from edge_msa.explain.samples import Rows, chosen_rows, drawn_rows, present
from edge_msa.explain.told_attention import SamplePicture, almt_sample, frames_sample, guided_means, shares_table
from edge_msa.explain.told_maps import Maps, stream_maps, subset_maps
from edge_msa.explain.told_readings import (
    picture_lines,
    removal_table,
    samples_table,
    sentences,
    shown_number,
    unit_of,
)
from edge_msa.explain.worth import worth
from edge_msa.files import check_file, write_text
from edge_msa.flow.console import made, say, say_json
from edge_msa.flow.data import opened_for
from edge_msa.flow.readings import by_run
from edge_msa.models.almt import Almt
from edge_msa.runs import Run, read_run
from edge_msa.tables import text_table
from edge_msa.training.inspect import Looks, looks_of, representations, streams_of
from edge_msa.training.load import model_of
from edge_msa.training.predict import Readable
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
    contract: Contract
    dataset: Dataset
    split_name: SplitName
    split: Split
    rows: Rows
    how: str

    def normalised(self, rows: Rows) -> Split:
        """Those samples as the model wants them."""
        return self.contract.normalisation.split(self.split.select(rows))


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
    check_file(output)
    subject = _subject(path, data, split, samples, task)
    meaning = subject.dataset.task
    readings = readings_of(by_run(subject.run), subject.split, meaning)
    taken = removals(readings, subject.split)
    joint, streams = _joint(subject), _streams(subject)
    page = _page(subject, readings, taken, joint, streams)
    write_text(output, render(page))
    say(page.verdicts[0])
    say(text_table(page.removal.header, page.removal.rows))
    made("page", output)
    if json:
        say_json(_json(subject, readings, taken, joint, streams) | {"page": str(output)})
    return page


def _subject(path: Path, data: str | None, split_name: SplitName, samples: Sequence[str], task: str | None) -> _Subject:
    """Everything read and checked, before anything is computed.

    Raises:
        RunUsageError: `path` is no run.
        DataError: the data does not fit the run, or has nothing to read in that split.
        UsageError: no data is known, or a sample is not in the split.
    """
    run = read_run(path)
    contract = Contract.from_json(run.info.contract)
    dataset = contract.readable(opened_for(run, contract, data, task))
    split = dataset.split(split_name)
    if not any(present(split, name).any() for name in MODALITIES):
        raise DataError(f"no sample of the {split_name} split of {dataset.name} has a valid frame: nothing to read")
    rows, how = chosen_rows(split, dataset.task, samples)
    return _Subject(run, model_of(run), contract, dataset, split_name, split, rows, how)


def _page(
    subject: _Subject, readings: Readings, taken: Sequence[Removal], joint: Maps, streams: Maps | None
) -> Explanation:
    split, task, info = subject.split, subject.dataset.task, subject.run.info
    name = subject.run.path.resolve().name
    looks = looks_of(subject.model, subject.normalised(subject.rows))
    guided, shares = _means(subject)
    return Explanation(
        title=f"edge-msa: what {name} looks at",
        subtitle=f"{_model(info.model)} · {subject.dataset.name}, {subject.split_name} split, {len(split)} samples",
        verdicts=(_worth(subject, readings), *sentences(taken, split, task)),
        removal=removal_table(taken, task),
        samples=samples_table(split, subject.rows, readings, task),
        how=subject.how,
        readings=Part(readings_picture(picture_lines(split, subject.rows, readings, task), unit_of(task))),
        shown=list(_shown(subject, readings, looks)),
        model=info.model,
        guided=guided,
        shares=shares,
        drawn=_drawn(MOST, len(split)),
        drawn_streams=_drawn(MOST_STREAMS, len(split)),
        joint=Part(joint.svg, joint.notes),
        streams=Part() if streams is None else Part(streams.svg, streams.notes),
        left_out=tuple(_left_out(subject, looks, joint, streams)),
        provenance=_provenance(subject),
    )


def _worth(subject: _Subject, readings: Readings) -> str:
    split, train = subject.split, subject.dataset.splits.get("train")
    known = train.labels if train is not None and len(train) else None
    return worth(subject.dataset.task, split.labels, readings[Subset.LAV], split.groups, known)


def _joint(subject: _Subject) -> Maps:
    kept = subject.split.select(drawn_rows(len(subject.split), MOST))

    def represent(split: Split, subset: Subset) -> Any:
        return representations(subject.model, subject.contract.normalisation.split(split), subset)

    return subset_maps(represent, kept, subject.dataset.task)


def _streams(subject: _Subject) -> Maps | None:
    if not isinstance(subject.model, Almt):
        return None
    rows = drawn_rows(len(subject.split), MOST_STREAMS)
    streams = streams_of(subject.model, subject.normalised(rows))
    return stream_maps(streams, subject.split.select(rows), subject.dataset.task)


def _means(subject: _Subject) -> tuple[Part, Any]:
    """AHL's mean weights, and where the embeddings look on average; nothing of other models."""
    if not _is_almt(subject):
        return Part(), None
    rows = drawn_rows(len(subject.split), MOST)
    looks = looks_of(subject.model, subject.normalised(rows))
    means = guided_means(looks.guided, subject.split, rows)
    shares = mean_shares(looks.frames, subject.split.modalities, rows.tolist())
    return Part(guided_picture(means)) if means else Part(), shares_table(shares)


def _shown(subject: _Subject, readings: Readings, looks: Looks) -> Iterator[Shown]:
    picture = _sample_picture(subject, looks)
    task, split = subject.dataset.task, subject.split
    for at, row in enumerate(subject.rows):
        read = [shown_number(float(value), task) for value in readings[Subset.LAV][row]]
        label = [shown_number(float(value), task) for value in split.labels[row].reshape(-1)]
        names = ("",) if task.is_score else task.labels
        facts = "; ".join(
            f"{name} label {told}, reading {said}".strip() for name, told, said in zip(names, label, read, strict=True)
        )
        drawn = picture(split, int(row), at)
        yield Shown(split.ids[row], split.texts[row] if split.texts else "", facts, Part(drawn.svg, drawn.notes))


def _sample_picture(subject: _Subject, looks: Looks) -> Callable[[Split, int, int], SamplePicture]:
    """By the kind of model: what a sample's attention is drawn by."""
    if _is_almt(subject):
        return partial(almt_sample, looks.frames, looks.guided)
    teacher = subject.run.info.model == "hrlf"
    return partial(frames_sample, looks.frames, rows_are="head" if teacher else "pooled token", gaps=teacher)


def _left_out(subject: _Subject, looks: Looks, joint: Maps, streams: Maps | None) -> Iterator[str]:
    kind = subject.run.info.model
    if not _is_almt(subject):
        yield f"AHL's attention and the hyper-modality: {_model(kind)} has neither, ALMT has."
    elif not looks.guided:
        yield "AHL's attention and the hyper-modality: this ALMT was made without AHL."
    if not joint.svg:
        yield f"t-SNE of the joint representation. {' '.join(joint.notes)}"
    if streams is not None and not streams.svg:
        yield f"t-SNE of the hyper-modality. {' '.join(streams.notes)}"
    lacking = [name for name in subject.contract.dims if not present(subject.split, name).any()]
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
    notes = (*subject.dataset.notes, *subject.contract.normalisation.notes)
    return found | ({"notes": "; ".join(notes)} if notes else {})


def _json(
    subject: _Subject, readings: Readings, taken: Sequence[Removal], joint: Maps, streams: Maps | None
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
            subject.split.ids[row]: {subset.value: readings[subset][row].tolist() for subset in Subset}
            for row in subject.rows
        },
        "neighbours": {"joint": joint.shares, "streams": {} if streams is None else streams.shares},
    }
