"""`edge-msa data inspect`, `edge-msa data convert` and `edge-msa data encode`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge_msa.arguments import AnyPath, check_seed, layers_of, path_or_tables, source_of
from edge_msa.artifacts.model_spec import TEXT_ONLY_HINT
from edge_msa.console import print_note, print_notes, print_output, print_progress
from edge_msa.data.dataset import Dataset, SplitName
from edge_msa.data.features import load_features, replace_features
from edge_msa.data.formats.archive import check_archive_path, write_archive
from edge_msa.data.inspect import Inspection, inspect_dataset
from edge_msa.data.opening import open_dataset
from edge_msa.data.splitting import draw_missing_splits
from edge_msa.data.tasks import find_task, parse_task
from edge_msa.data.tokenization import TextTokenizer
from edge_msa.data.utterances import Utterance, build_dataset, split_by_video
from edge_msa.errors import UnstatedTaskError, UsageError
from edge_msa.models.pretrained import PretrainedEncoder, load_encoder
from edge_msa.models.text_encoders import TransformerTextEncoder
from edge_msa.training.device import resolve_device
from edge_msa.training.text.encode_dataset import encode_texts
from edge_msa.training.text.text_input import TextInput
from edge_msa.workflows.api import OnProgress, api, next_step
from edge_msa.workflows.outputs import output_file
from edge_msa_runtime.features import FeatureSource


@api
def inspect_data(
    data: AnyPath,
    *,
    task: str | None = None,
    clip_labels: bool | None = None,
    verbose: bool = False,
    on_progress: OnProgress | None = None,
) -> Inspection:
    """Describe a feature file: splits, shapes, lengths, missing frames, labels and invalid values.

    Args:
        data: Feature file, or `"synthetic"`.
        task: What the labels mean: `"mosi"`, `"sims"`, `"emotions"`, `"regression"`, `"classes"`, or with the names of
            the classes in their order `"classes:sad,happy"` (default: what the file states).
        clip_labels: Whether to clip labels that exceed the scale of the task by up to 25 % (default: for `"mosi"` and
            `"sims"`).
        verbose: Whether to print notes.
        on_progress: Not called: loading is one step.

    Returns:
        The description. `print` shows it for people; `rows` has one row per split and modality.

    Raises:
        UsageError: The file does not exist, has an unknown format, or does not state its task.
        DataError: The content of the file is invalid.

    Examples:
        >>> inspection = em.inspect_data("mosi.pkl")
        >>> inspection.dims
        {'language': 768, 'audio': 5, 'vision': 20}
    """
    return inspect_dataset(_open_any(source_of(data), task, clip_labels))


@api
def convert_data(
    data: AnyPath,
    *,
    output: AnyPath,
    task: str | None = None,
    samples: str | None = None,
    unlabeled: bool = False,
    draw_splits: bool = False,
    clip_labels: bool | None = None,
    features: AnyPath | Mapping[str, Any] | None = None,
    overwrite: bool = False,
    verbose: bool = False,
    on_progress: OnProgress | None = None,
) -> Path:
    """Convert a feature file to this project's archive. Unlabeled files need no task.

    Args:
        data: Feature file, or `"synthetic"`.
        output: Archive to write; its name ends in `.npz`.
        task: What the labels mean (default: what the file states).
        samples: Slice of the training samples to keep, for example `"0:2000"` (default: all).
        unlabeled: Whether to write only the training split, without its labels.
        draw_splits: Whether to draw the splits valid and test, where missing, from the training videos: 15 % of the
            videos for each.
        clip_labels: As in `inspect_data`. The archive keeps the choice.
        features: TOML file or mapping that states what computed the features, for example
            `{"audio": {"extractor": "COVAREP"}}` (default: what the file states).
        overwrite: Whether to replace an existing file.
        verbose: Whether to print notes.
        on_progress: Not called: the conversion is one step.

    Returns:
        The path of the archive.

    Raises:
        UsageError: An argument is invalid, the file has no frames, or the slice has no samples.
        DataError: The content of the file is invalid, or it has too few videos to draw splits from.

    Examples:
        >>> em.convert_data("mosi.pkl", output="mosi.npz")
        PosixPath('mosi.npz')
    """
    source = source_of(data)
    archive = output_file(output, "output", [source, features])
    check_archive_path(archive)
    stated = load_features(path_or_tables(features, "features"))
    dataset = replace_features(_open_any(source, task, clip_labels), stated)
    if draw_splits and unlabeled:
        raise UsageError("--draw-splits and --unlabeled exclude each other. Pass one of them.")
    if dataset.dims and draw_splits:
        dataset = draw_missing_splits(dataset)
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
    written = dataclasses.replace(dataset, splits=splits)
    write_archive(written, archive)
    print_output("archive", archive, next_command(archive, written))
    return archive


@api
def save_data(
    utterances: Sequence[Utterance] | Mapping[SplitName, Sequence[Utterance]],
    *,
    output: AnyPath,
    task: str,
    features: AnyPath | Mapping[str, Any] | None = None,
    seed: int = 0,
    overwrite: bool = False,
    verbose: bool = False,
    on_progress: OnProgress | None = None,
) -> Path:
    """Save arrays in memory, one `Utterance` per sample, to this project's archive.

    Args:
        utterances: The samples of each split, `{"train": ..., "valid": ..., "test": ...}`, or a list of all samples,
            which is then split at random: 70 % of the videos for training, 15 % for validation, 15 % for test.
        output: Archive to write; its name ends in `.npz`.
        task: What the labels mean: `"mosi"` (scores from -3 to 3), `"sims"` (-1 to 1), `"regression"` (any scores),
            `"emotions"` (0 or 1 for each of four emotions), or `"classes"` (one class per sample; `"classes:sad,happy"`
            states the names and their order, which otherwise are the sorted names of the training samples).
        features: TOML file or mapping that states what computed the features, for example
            `{"audio": {"extractor": "openSMILE", "version": "3.0", "rate_hz": 100}}`.
        seed: Seed of the random split.
        overwrite: Whether to replace an existing file.
        verbose: Whether to print notes.
        on_progress: Not called: saving is one step.

    Returns:
        The path of the archive.

    Raises:
        UsageError: An argument is invalid, or a label does not fit the task.
        DataError: There are no frames, the frames of an utterance have a wrong shape or a value that is not finite, or
            a label is outside the task's range. The message names the utterance.

    Example:
        >>> utterances = [em.Utterance("clip-0", label=1.5, audio=np.zeros((40, 25)), video="interview-7"), ...]
        >>> em.save_data(utterances, output="mine.npz", task="mosi")
        PosixPath('mine.npz')
    """
    archive = output_file(output, "output", [features])
    check_archive_path(archive)
    check_seed(seed)
    meaning, stated = find_task(task), load_features(path_or_tables(features, "features"))
    splits = utterances if isinstance(utterances, Mapping) else split_by_video(utterances, seed=seed)
    dataset = replace_features(build_dataset(archive.stem, meaning, splits), stated)
    print_notes(dataset.notes)
    write_archive(dataset, archive)
    print_output("archive", archive, next_command(archive, dataset))
    return archive


@api
def encode_data(
    data: AnyPath,
    *,
    output: AnyPath,
    encoder: str,
    max_tokens: int = 64,
    layers: int | str | Sequence[int] | None = None,
    device: str = "auto",
    task: str | None = None,
    clip_labels: bool | None = None,
    overwrite: bool = False,
    verbose: bool = False,
    on_progress: OnProgress | None = None,
) -> Path:
    """Convert a feature file to an archive whose language frames are the token features of a frozen encoder.

    Args:
        data: Feature file with texts.
        output: Archive to write; its name ends in `.npz`.
        encoder: BERT-like encoder, a folder or a name on the Hugging Face Hub.
        max_tokens: Maximum number of tokens per text, including two special tokens.
        layers: Encoder layers to use: a number from the first, or indices from 0, such as `[0, 4, 8]` (default: all).
        device: Device to run the encoder on: `"auto"`, `"cpu"` or `"cuda"`.
        task: What the labels mean (default: what the file states).
        clip_labels: As in `inspect_data`. The archive keeps the choice.
        overwrite: Whether to replace an existing file.
        verbose: Whether to print progress and notes.
        on_progress: Not called: the encoding is one step.

    Returns:
        The path of the archive.

    Raises:
        UsageError: An argument is invalid, or the file has no texts.
        DataError: The content of the file is invalid.

    Examples:
        >>> em.encode_data("mosi.pkl", encoder="bert-base-uncased", output="mosi-bert.npz")
    """
    source = source_of(data)
    archive = output_file(output, "output", [source])
    check_archive_path(archive)
    kept = layers_of(layers)
    if max_tokens < 3:
        raise UsageError(f"--max-tokens must be at least 3, because two tokens are special, got {max_tokens}.")
    dataset = _open_any(source, task, clip_labels)
    print_notes(dataset.notes)
    for name, split in dataset.splits.items():
        if not split.texts:
            raise UsageError(f"The {name} split of {source} has no texts (raw_text). Pass a file with texts.")
    loaded = load_encoder(str(encoder), layers=kept, device=resolve_device(device))
    if max_tokens > loaded.max_tokens:
        raise UsageError(f"--max-tokens must be at most {loaded.max_tokens} for {encoder}, got {max_tokens}.")
    print_progress(f"Encoding with {loaded.name}: {loaded.width} features per token.")
    written = encode_with(loaded, dataset, max_tokens=max_tokens)
    write_archive(written, archive)
    print_output("archive", archive, next_command(archive, written))
    return archive


def encode_with(encoder: PretrainedEncoder, dataset: Dataset, *, max_tokens: int) -> Dataset:
    """Return the dataset with the token features of an encoder as language frames.

    The tokenizer of the encoder handles case and punctuation. A text without a word has no valid frame.
    """
    tokenizer = TextTokenizer(encoder.tokenizer, max_tokens, special=True)
    text_input = TextInput(tokenizer, TransformerTextEncoder(encoder.model))
    return encode_texts(dataset, text_input, FeatureSource(encoder.name, encoder.version))


def next_command(archive: Path, dataset: Dataset) -> str | None:
    """Return the command that uses an archive. A note says why, if a model cannot be trained on it."""
    inspection = inspect_dataset(dataset)
    if not inspection.is_labeled:
        return next_step(f"edge-msa predict MODEL --data {archive} --output predictions.csv")
    if problem := inspection.training_problem:
        print_note(problem)
        return None
    return next_step(f"edge-msa train --data {archive} --output-dir teacher")


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
