"""`edge-msa data inspect|convert`, and opening data as every command does."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from edge_msa.artifacts.model_spec import WORDS_ALONE, ModelSpec
from edge_msa.artifacts.runs import Run
from edge_msa.console import made, remark, remarks, say, say_json
from edge_msa.data.dataset import Dataset
from edge_msa.data.formats.archive import check_archive_path, write_archive
from edge_msa.data.inspect import describe, inspection_of
from edge_msa.data.opening import SYNTHETIC, open_dataset
from edge_msa.data.tasks import Task, task_named
from edge_msa.data.tokenization import TextTokenizer
from edge_msa.errors import UnstatedTaskError, UsageError
from edge_msa.models.pretrained import PretrainedEncoder, load_encoder
from edge_msa.models.text_encoders import TransformerTextEncoder
from edge_msa.training.device import resolve_device
from edge_msa.training.text.apply import with_text_frames, with_text_input
from edge_msa.training.text.text_input import TextInput


def opened(source: str, task_name: str | None) -> Dataset:
    """The dataset, its notes told on stderr."""
    return _told(open_dataset(source, task=named(task_name)))


def opened_for(run: Run, spec: ModelSpec, given: str | None, task_name: str | None) -> Dataset:
    """What was given, or else what the run was made from, its notes told on stderr.

    A run that reads words is given what its own text encoder makes of them. The file that a run was made from keeps the task
    that it had then, and a file that states none has the run's.

    Raises:
        UsageError: no data is given and none is known, or what was given cannot be opened.
    """
    return seen_by(run, spec, opened_plain(run, spec, given, task_name))


def opened_plain(run: Run, spec: ModelSpec, given: str | None, task_name: str | None) -> Dataset:
    """The same before anything is made of its words."""
    return _told(_opened_for(run, spec, data_of(given, spec, run.path), task_name))


def seen_by(run: Run, spec: ModelSpec, dataset: Dataset) -> Dataset:
    """The dataset as a run sees it: with the language stream that its own text encoder makes, if it has one."""
    return with_text_input(run, dataset) if spec.language else dataset


def _opened_for(run: Run, spec: ModelSpec, source: str, task_name: str | None) -> Dataset:
    if task_name is not None or source == SYNTHETIC:
        return open_dataset(source, task=named(task_name))
    try:
        dataset = open_dataset(source)
    except UnstatedTaskError:
        return open_dataset(source, task=spec.task)
    if dataset.task != spec.task and dataset.digest == run.info.inputs.get("data"):
        return open_dataset(source, task=spec.task)
    return dataset


def _told(dataset: Dataset) -> Dataset:
    remarks(dataset.notes)
    return dataset


def data_of(given: str | None, spec: ModelSpec, run: Path) -> str:
    """The data that was given, or else what the run was made from.

    Raises:
        UsageError: neither is known.
    """
    found = given or spec.data
    if not found:
        raise UsageError(f"{run} was imported, so its data is not known: give --data FILE")
    return found


def named(task_name: str | None) -> Task | None:
    """The task that `--task` names, if it was given."""
    return None if task_name is None else task_named(task_name)


def inspect(source: str, task_name: str | None, *, json: bool) -> None:
    """Show what a feature file holds."""
    inspection = inspection_of(open_dataset(source, task=named(task_name)))
    say(describe(inspection))
    if json:
        say_json(inspection.to_json())


def convert(
    source: str, output: Path, task_name: str | None, *, samples: str | None = None, unlabeled: bool = False
) -> None:
    """Write a feature file as our own archive, maybe with some of its training samples, maybe without labels."""
    if output.suffix != ".npz":
        raise UsageError(f"{output} does not end in .npz: archives do")
    dataset = opened(source, task_name)
    if not dataset.dims:
        raise UsageError(f"{source} {WORDS_ALONE}")
    splits = dict(dataset.splits)
    if samples is not None or unlabeled:
        train = dataset.split("train")
        splits["train"] = train.select(np.arange(len(train))[_slice(samples or ":")])
    if unlabeled:
        train = splits["train"]
        splits = {"train": dataclasses.replace(train, labels=np.full_like(train.labels, np.nan))}
    write_archive(dataclasses.replace(dataset, splits=splits), output)
    made("archive", output, f"edge-msa train --data {output} --output-dir teacher")


def _slice(text: str) -> slice:
    """`0:2000`, `2000:` as Python has them."""
    first, mark, last = text.partition(":")
    if mark and all(not part or part.isdecimal() for part in (first, last)):
        return slice(int(first or 0), int(last) if last else None)
    raise UsageError(f"--samples is {text!r}; give a range of training samples, as in 0:2000 or 2000:")


def encode_language(
    source: str,
    output: Path,
    encoder: str,
    *,
    max_tokens: int = 64,
    layers: int | None = None,
    device: str = "auto",
    task_name: str | None = None,
) -> None:
    """Write the file as an archive whose language stream is the encoder's."""
    check_archive_path(output)
    if max_tokens < 3:
        raise UsageError(f"--max-tokens is {max_tokens}; two of them are special, so give at least 3")
    dataset = opened(source, task_name)
    for name, split in dataset.splits.items():
        if not split.texts:
            raise UsageError(f"the {name} split of {source} does not say what was said (raw_text): nothing to encode")
    loaded = load_encoder(encoder, layers=layers, device=resolve_device(device))
    if max_tokens > loaded.longest:
        raise UsageError(f"--max-tokens is {max_tokens}; {encoder} has positions for {loaded.longest}")
    remark(f"encoding with {loaded.name}: {loaded.width} features a token")
    write_archive(encoded(dataset, loaded, max_tokens=max_tokens), output)
    made("archive", output, f"edge-msa train --data {output} --output-dir teacher")


def encoded(dataset: Dataset, encoder: PretrainedEncoder, *, max_tokens: int) -> Dataset:
    """The dataset with that language stream; an utterance without a word has none.

    The encoder's own tokenizer decides about upper case and punctuation.
    """
    text_input = TextInput(
        TextTokenizer(encoder.tokenizer, max_tokens, special=True), TransformerTextEncoder(encoder.model)
    )
    return with_text_frames(dataset, text_input)
