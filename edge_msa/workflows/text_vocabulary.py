"""`edge-msa text prune-vocabulary`: remove the pieces of words from a text model that a language does not need."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge_msa.arguments import AnyPath, optional_source, path_of, sources_of
from edge_msa.artifacts.requests import Request
from edge_msa.artifacts.runs import Run, find_current_run, load_run, new_run, write_run
from edge_msa.console import print_note, print_output, print_result, print_up_to_date
from edge_msa.data.dataset import Dataset
from edge_msa.data.opening import open_dataset
from edge_msa.data.vocabulary import prune_vocabulary as prune_tokenizer
from edge_msa.errors import DataError, UsageError
from edge_msa.models.text_encoders import TransformerTextEncoder
from edge_msa.training.text.load import load_text_input, require_text_input
from edge_msa.training.text.text_input import TextInput, write_text_input
from edge_msa.workflows.api import OnProgress, api, next_step
from edge_msa.workflows.outputs import output_folder
from edge_msa_runtime.features import UNKNOWN, FeatureSource

_DIGITS = 12
_MOST_UNKNOWN, _MANY_UNKNOWN = 0.5, 0.1
"""Shares of unknown tokens in the transcripts above which the command stops, and above which it prints a note."""


@api
def prune_vocabulary(
    model: AnyPath,
    *,
    transcripts: AnyPath | Sequence[AnyPath],
    output_dir: AnyPath,
    words: AnyPath | None = None,
    overwrite: bool = False,
    verbose: bool = False,
    on_progress: OnProgress | None = None,
) -> Run:
    """Remove the tokens that transcripts do not need from the vocabulary of a text model, and write its run.

    Most of a multilingual encoder is the vocabulary of other languages. The tokens of the transcripts stay the same,
    and so do the predictions for them. Single characters of their scripts stay as well; words that the transcripts do
    not contain are split into these and other pieces. The test splits are not used.

    Args:
        model: Run of a student with text input.
        transcripts: CSV or feature files with transcripts, with or without scores.
        output_dir: Folder of the run. It appears only when it is complete.
        words: Text file with a further word per line, such as a frequency list. What follows the word is ignored.
        overwrite: Whether to replace a run of other inputs in `output_dir`.
        verbose: Whether to print progress and notes.
        on_progress: Not called.

    Returns:
        The smaller run, which `calibrate` and `distill_text` take.

    Raises:
        RunUsageError: `model` is no run of a student with text input.
        DataError: The transcripts have no texts, or the tokenizer cannot be restricted.

    Examples:
        >>> small = em.prune_vocabulary("chinese", transcripts="reviews.csv", output_dir="small")
    """
    path, files = path_of(model, "model", "a run of a student"), sources_of(transcripts, "transcripts")
    words_file = optional_source(words)
    run_dir = output_folder(output_dir, "output_dir", [path, *files, words_file])
    source = load_run(path, "student")
    text_input = load_text_input(source)
    datasets = [open_dataset(file, task=source.spec.task, labels=False) for file in files]
    listed = [] if words_file is None else _read_words(Path(words_file))
    inputs = {f"transcripts {index}": dataset.digest for index, dataset in enumerate(datasets)}
    if listed:
        inputs["words"] = hashlib.sha256("\n".join(listed).encode(errors="surrogatepass")).hexdigest()
    names = {f"transcripts {index}": file for index, file in enumerate(files)} | {"model": str(path)}
    request = Request("text prune-vocabulary", {}, source.info.seed, inputs | {"model": source.digest}, names)
    if run := find_current_run(run_dir, request):
        print_up_to_date(run_dir)
        return run
    texts = [text for file, dataset in zip(files, datasets, strict=True) for text in _texts(dataset, file)]
    _check_language(text_input, texts)
    size_before = _megabytes(text_input)
    pruned = _prune(text_input, [*texts, *listed])
    with new_run(run_dir, request.cache_key) as work:
        digest = write_text_input(work, pruned)
        before = source.spec.features.get("language", UNKNOWN)
        spec = dataclasses.replace(
            source.spec,
            text_input=dataclasses.replace(require_text_input(source), digest=digest),
            features={
                **source.spec.features,
                "language": FeatureSource(before.extractor, f"sha256 {digest[:_DIGITS]}"),
            },
        )
        write_run(work, dataclasses.replace(source.info, **request.to_json(), spec=spec), source.weights, [])
    print_result(
        f"vocabulary: {pruned.tokenizer.size:,} of {text_input.tokenizer.size:,} tokens; text encoder: "
        f"{_megabytes(pruned):.1f} of {size_before:.1f} MB in fp32"
    )
    print_output("text model", run_dir, next_step(f"edge-msa calibrate {run_dir} --output-dir calibrated"))
    return load_run(run_dir)


def _prune(text_input: TextInput, texts: Sequence[str]) -> TextInput:
    """Return a text input with only the tokens that texts need. The text encoder is changed in place."""
    tokenizer, encoder = text_input.tokenizer, text_input.text_encoder
    first = encoder.first_position if isinstance(encoder, TransformerTextEncoder) else 0
    pruned = prune_tokenizer(tokenizer.tokenizer, texts, keep_below=first)
    encoder.keep_tokens(pruned.kept)
    return TextInput(dataclasses.replace(tokenizer, tokenizer=pruned.tokenizer), encoder)


def _check_language(text_input: TextInput, texts: Sequence[str]) -> None:
    """Raise a UsageError if the model does not know most of the tokens, and note if it does not know many.

    Raises:
        UsageError: See above.
    """
    tokenizer = text_input.tokenizer
    ids = np.concatenate([np.zeros(0, np.int64), *tokenizer.ids(texts)])
    ids = ids[~np.isin(ids, sorted(set(tokenizer.special_ids) - {tokenizer.unknown}))]
    unknown = float(np.mean(ids == tokenizer.unknown)) if len(ids) else 0.0
    if unknown > _MOST_UNKNOWN:
        raise UsageError(
            f"The model does not know {100 * unknown:.0f} % of the tokens of the transcripts. Pass transcripts in the "
            "language of the model."
        )
    if unknown > _MANY_UNKNOWN:
        print_note(f"the model does not know {100 * unknown:.0f} % of the tokens of the transcripts")


def _texts(dataset: Dataset, file: str) -> list[str]:
    """Return the texts of all splits but the test split, on which the model may not depend."""
    texts = [text for name, split in dataset.splits.items() if name != "test" for text in split.texts]
    if not texts:
        raise DataError(f"{file} has no texts in the train and valid splits. Pass a file with raw text.")
    return texts


def _read_words(path: Path) -> list[str]:
    """Return the first word of each line."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"Cannot read {path} as UTF-8 text: {error}. Pass a text file with a word per line.") from None
    return [words[0] for line in lines if (words := line.split())]


def _megabytes(text_input: TextInput) -> float:
    parameters = text_input.text_encoder.parameters()
    return sum(item.numel() * item.element_size() for item in parameters) / 1e6
