"""`edge-msa data inspect`, `edge-msa data convert` and `edge-msa data encode`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edge_msa.artifacts.model_spec import TEXT_ONLY_HINT
from edge_msa.console import print_json, print_notes, print_output, print_progress, print_result
from edge_msa.data.dataset import Dataset
from edge_msa.data.features import load_features, replace_features
from edge_msa.data.formats.archive import check_archive_path, write_archive
from edge_msa.data.inspect import format_inspection, inspect_dataset
from edge_msa.data.labeled import is_labeled
from edge_msa.data.opening import open_dataset
from edge_msa.data.tasks import parse_task
from edge_msa.data.tokenization import TextTokenizer
from edge_msa.errors import UnstatedTaskError, UsageError
from edge_msa.models.pretrained import PretrainedEncoder, load_encoder
from edge_msa.models.text_encoders import TransformerTextEncoder
from edge_msa.training.device import resolve_device
from edge_msa.training.text.encode_dataset import encode_texts
from edge_msa.training.text.text_input import TextInput
from edge_msa_runtime.features import FeatureSource


def inspect(source: str, task_name: str | None, *, clip_labels: bool | None = None, json: bool) -> None:
    """Print the splits, shapes, lengths, labels and invalid values of a feature file."""
    inspection = inspect_dataset(_open_any(source, task_name, clip_labels))
    print_result(format_inspection(inspection))
    if json:
        print_json(inspection.to_json())


def convert(
    source: str,
    output: Path,
    task_name: str | None,
    *,
    samples: str | None = None,
    unlabeled: bool = False,
    clip_labels: bool | None = None,
    features: Path | Mapping[str, Any] | None = None,
) -> None:
    """Write a feature file as an archive.

    Unlabeled files need no task.

    Args:
        source: A feature file, or `synthetic`.
        output: The archive, ending in .npz.
        task_name: Overrides the task that the file states.
        samples: Slice of the training samples to keep, e.g. `0:2000`; None for all.
        unlabeled: Write only the train split, without its labels.
        clip_labels: As in `open_dataset`. The archive keeps the choice.
        features: TOML file, or its tables, that states what computed the features (default: what the file states).

    Raises:
        UsageError: An option is invalid, the file has no frames, or the slice has no samples.
    """
    check_archive_path(output)
    stated = load_features(features)
    dataset = replace_features(_open_any(source, task_name, clip_labels), stated)
    print_notes(dataset.notes)
    if not dataset.dims:
        raise UsageError(f"{source} {TEXT_ONLY_HINT}.")
    splits = dict(dataset.splits)
    if samples is not None or unlabeled:
        train = dataset.split("train")
        rows = np.arange(len(train))[_parse_slice(samples or ":")]
        if not rows.size:
            raise UsageError(f"--samples must select some of the {len(train)} training samples, got {samples}.")
        splits["train"] = train.select(rows)
    if unlabeled:
        train = splits["train"]
        splits = {"train": dataclasses.replace(train, labels=np.full_like(train.labels, np.nan))}
    write_archive(dataclasses.replace(dataset, splits=splits), output)
    labeled = any(is_labeled(split).any() for split in splits.values())
    predict = f"edge-msa predict MODEL --data {output} --output predictions.csv"
    print_output("archive", output, f"edge-msa train --data {output} --output-dir teacher" if labeled else predict)


def encode_language(
    source: str,
    output: Path,
    encoder: str,
    *,
    max_tokens: int = 64,
    layers: int | None = None,
    device: str = "auto",
    task_name: str | None = None,
    clip_labels: bool | None = None,
) -> None:
    """Write a feature file as an archive whose language frames are the token features of a frozen encoder.

    Args:
        source: Feature file with texts.
        output: Archive to write.
        encoder: BERT-like encoder, a folder or a name on the Hugging Face hub.
        max_tokens: Maximum number of tokens per text, including two special tokens.
        layers: Number of first encoder layers to use (default: all).
        device: Device to run the encoder on: auto, cpu or cuda.
        task_name: Name of the task (default: the task that the file states).
        clip_labels: As in `open_dataset`. The archive keeps the choice.

    Raises:
        UsageError: A value cannot be used, or the file has no texts.
    """
    check_archive_path(output)
    if max_tokens < 3:
        raise UsageError(f"--max-tokens must be at least 3, because two tokens are special, got {max_tokens}.")
    dataset = _open_any(source, task_name, clip_labels)
    print_notes(dataset.notes)
    for name, split in dataset.splits.items():
        if not split.texts:
            raise UsageError(f"The {name} split of {source} has no texts (raw_text). Pass a file with texts.")
    loaded = load_encoder(encoder, layers=layers, device=resolve_device(device))
    if max_tokens > loaded.max_tokens:
        raise UsageError(f"--max-tokens must be at most {loaded.max_tokens} for {encoder}, got {max_tokens}.")
    print_progress(f"Encoding with {loaded.name}: {loaded.width} features per token.")
    write_archive(encode_with(loaded, dataset, max_tokens=max_tokens), output)
    print_output("archive", output, f"edge-msa train --data {output} --output-dir teacher")


def encode_with(encoder: PretrainedEncoder, dataset: Dataset, *, max_tokens: int) -> Dataset:
    """Return the dataset with the token features of an encoder as language frames.

    The tokenizer of the encoder handles case and punctuation. A text without a word has no valid frame.
    """
    tokenizer = TextTokenizer(encoder.tokenizer, max_tokens, special=True)
    text_input = TextInput(tokenizer, TransformerTextEncoder(encoder.model))
    return encode_texts(dataset, text_input, FeatureSource(encoder.name, encoder.version))


def _open_any(source: str, task_name: str | None, clip_labels: bool | None) -> Dataset:
    """Open data; a file without labels need not state its task."""
    try:
        return open_dataset(source, task=parse_task(task_name), clip_labels=clip_labels)
    except UnstatedTaskError as error:
        if not error.unlabeled:
            raise
        dataset = open_dataset(source, labels=False)
        return dataclasses.replace(dataset, notes=(*dataset.notes, "no labels: use predict, or distill --transfer"))


def _parse_slice(text: str) -> slice:
    """Parse a slice in Python's notation, e.g. `0:2000` or `2000:`."""
    first, colon, last = text.partition(":")
    if colon and all(not part or part.isdecimal() for part in (first, last)):
        return slice(int(first or 0), int(last) if last else None)
    raise UsageError(f"--samples must be a slice of training samples such as 0:2000 or 2000:, got {text!r}.")
