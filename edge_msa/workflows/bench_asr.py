"""`edge-msa bench asr`: what a speech recognizer costs in accuracy and time."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_msa.arguments import AnyPath, check_choice, check_count, path_of
from edge_msa.artifacts.files import write_text
from edge_msa.benchmark.machine import describe_machine
from edge_msa.benchmark.recognition import (
    VOICES,
    RecognitionCache,
    Recognized,
    Synthesizer,
    assign_voices,
    plain_words,
    recognize,
    speakable,
    word_errors,
)
from edge_msa.console import report_progress
from edge_msa.data.dataset import Dataset, FloatArray, Split, SplitName
from edge_msa.data.labeled import is_labeled
from edge_msa.data.opening import open_and_report
from edge_msa.data.tasks import Task
from edge_msa.errors import DataError, UsageError
from edge_msa.evaluation.metrics import (
    FROM_TRAINING,
    Comparison,
    Estimate,
    Method,
    Units,
    baseline_constants,
    compare_paired,
    describe,
    estimate_metrics,
    metric_functions,
)
from edge_msa.evaluation.metrics.units import describe_unit
from edge_msa.result_tables import Row, Table
from edge_msa.text_tables import text_table
from edge_msa.workflows.api import OnProgress, api
from edge_msa.workflows.outputs import output_file
from edge_msa_runtime import Session, load
from edge_msa_runtime.bundle.loader import open_bundle
from edge_msa_runtime.speech import open_recognizer
from edge_msa_runtime.wording import format_count

GIVEN, RECOGNIZED = "given", "recognized"
_METRICS = ("mae", "corr", "acc2_has0", "acc2_non0", "acc2", "acc7")
_SCHEMA = 1


@dataclass(frozen=True, repr=False)
class RecognizerBenchmark(Table):
    """What a speech recognizer costs: accuracy from recognized and from given words, word error rate, and time."""

    model: str
    """Name of the bundle."""
    data: str
    """Name of the dataset, and the split."""
    recognizer: str
    """Name and version of the recognizer."""
    metrics: Mapping[str, Mapping[str, float]]
    """Metrics from `given` and from `recognized` words."""
    differences: Mapping[str, Comparison]
    """By metric, recognized minus given, paired; the interval covers the choice of videos."""
    word_error_rate: float
    """Wrong, missing and added words per word that was said. Case and punctuation do not count."""
    real_time_factor: float
    """Time of recognition per time of speech."""
    seconds: float
    """Length of all speech."""
    words: int
    """Number of words that were said."""
    without_words: int
    """Samples for which the recognizer returned no word. Their prediction is the median of the training labels."""
    samples: int
    """Number of samples."""
    conditions: Mapping[str, str]
    """Voices, synthesizer, threads, machine."""

    def __repr__(self) -> str:
        """Return what was measured."""
        return (
            f"<RecognizerBenchmark of {self.recognizer} on {self.data}: word error rate {self.word_error_rate:.3f}, "
            f"real-time factor {self.real_time_factor:.3f}>"
        )

    def __str__(self) -> str:
        """Return the table for people."""
        rows = [
            [
                describe(name).title,
                describe(name).format(self.metrics[GIVEN][name]),
                describe(name).format(self.metrics[RECOGNIZED][name]),
                f"{describe(name).format_signed(item.value)} ({describe(name).format_interval(item.low, item.high)})",
            ]
            for name, item in self.differences.items()
        ]
        unit = next(iter(self.differences.values())).unit
        summary = (
            f"word error rate {100 * self.word_error_rate:.1f} % of {format_count(self.words, 'word')}; "
            f"real-time factor {self.real_time_factor:.3f} for {self.seconds / 60:.1f} minutes of speech. "
            f"The intervals cover the choice of {describe_unit(unit)}."
        )
        if self.without_words:
            summary += f" {format_count(self.without_words, 'sample')} without a recognized word: median predicted."
        table = text_table(["", "given words", "recognized words", "difference (95 % interval)"], rows)
        title = f"{self.model} on the {self.data}, {format_count(self.samples, 'sample')}; {self.recognizer}"
        return f"{title}\n\n{table}\n\n{summary}"

    @property
    def rows(self) -> tuple[Row, ...]:
        """One row per metric."""
        return tuple(
            {
                "metric": name,
                GIVEN: self.metrics[GIVEN][name],
                RECOGNIZED: self.metrics[RECOGNIZED][name],
                "difference": item.value,
                "low": item.low,
                "high": item.high,
                "unit": item.unit,
            }
            for name, item in self.differences.items()
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        fields = {
            item.name: getattr(self, item.name)
            for item in dataclasses.fields(self)
            if item.name not in {"metrics", "differences"}
        }
        return {"kind": "recognition", "schema": _SCHEMA, **fields, "metrics": list(self.rows)}


@api
def bench_asr(
    bundle: AnyPath,
    *,
    data: AnyPath,
    asr: str,
    output: AnyPath,
    split: SplitName = "test",
    voices: str | Sequence[str] = VOICES,
    language: str = "en",
    threads: int = 1,
    limit: int | None = None,
    task: str | None = None,
    overwrite: bool = False,
    verbose: bool = False,
    on_progress: OnProgress | None = None,
) -> RecognizerBenchmark:
    """Measure what a speech recognizer costs, with transcripts that a synthesizer speaks.

    espeak-ng speaks every transcript of a split, the recognizer turns the sound into words, and the bundle predicts
    from the given and from the recognized words. Recognized words are kept in a file beside the output, from which the
    same call continues after an interruption.

    Args:
        bundle: Bundle with text input.
        data: Transcripts with labels: a CSV file, or a feature file that contains transcripts.
        asr: Recognizer: `"whisper:FOLDER"` or `"whisper:NAME"`.
        output: JSON file to write. The words are in the file of the same name with `.words.jsonl` in place of its
            suffix.
        split: Split to measure on: `"train"`, `"valid"` or `"test"`.
        voices: Voices of espeak-ng. Each video gets one.
        language: Language of the recognizer.
        threads: CPU threads of the recognizer.
        limit: Number of samples to use, from the first (default: all).
        task: What the labels mean (default: what the data states).
        overwrite: Whether to replace an existing output.
        verbose: Whether to print progress and notes.
        on_progress: Called after every sample.

    Returns:
        One row per metric.

    Raises:
        UsageError: An argument is invalid, or the bundle has no text input.
        DataError: The data has no transcripts or no labels in the split.
        BackendUnavailableError: espeak-ng, the recognizer's package or the backend is not installed.

    Examples:
        >>> print(em.bench_asr("bundle-words", data="mosi.npz", asr="whisper:models/tiny.en", output="asr.json"))
    """
    path = path_of(bundle, "bundle", "a bundle, or the path of one")
    check_choice(split, "split", SplitName)
    check_count(threads, "threads")
    if limit is not None:
        check_count(limit, "limit", least=2)
    chosen = (voices,) if isinstance(voices, str) else tuple(voices)
    output_path = output_file(output, "output", [path, data])
    if open_bundle(path).manifest.language is None:
        raise UsageError(f"{path} has no text input. Pass the bundle of a text model: see docs/how-to/text-models.md.")
    dataset = open_and_report(str(data), task)
    samples = _select(dataset, split, limit)
    synthesizer = Synthesizer(chosen)
    recognizer = open_recognizer(asr, language=language, threads=threads)
    conditions = {"recognizer": f"{recognizer.name} ({recognizer.version})", "synthesizer": synthesizer.version}
    cache = RecognitionCache(words_file(output_path), conditions)
    items: list[Recognized] = []
    assigned = assign_voices(samples.groups, chosen)
    for row, (sample, text, voice) in enumerate(zip(samples.ids, samples.texts, assigned, strict=True), 1):
        items.append(recognize(sample, speakable(text), voice, synthesizer, recognizer, cache))
        report_progress("sample", row, len(samples), items[-1].recognized)
    default = _constant(dataset, samples)
    with load(path) as session:
        given = _predict(session, [item.text for item in items], default)
        recognized = _predict(session, [item.recognized for item in items], default)
    metrics, differences = _compare(dataset.task, samples, given, recognized)
    errors, count = _count_word_errors(items)
    seconds = sum(item.seconds for item in items)
    result = RecognizerBenchmark(
        model=path.resolve().name,
        data=f"{split} split of {dataset.name}",
        recognizer=conditions["recognizer"],
        metrics=metrics,
        differences=differences,
        word_error_rate=errors / count,
        real_time_factor=sum(item.recognition_seconds for item in items) / seconds,
        seconds=seconds,
        words=count,
        without_words=sum(not item.recognized for item in items),
        samples=len(samples),
        conditions={
            "synthesizer": synthesizer.version,
            "voices": ", ".join(chosen),
            "threads": str(threads),
            **describe_machine(),
        },
    )
    write_text(output_path, json.dumps([result.to_json()], indent=1) + "\n")
    return result


def words_file(output: Path) -> Path:
    """Return the file with recognized words that belongs to an output."""
    return output.with_name(f"{output.stem}.words.jsonl")


def _select(dataset: Dataset, name: SplitName, limit: int | None) -> Split:
    """Return the samples of a split with a label and a text."""
    if name not in dataset.splits:
        raise DataError(
            f"{dataset.name} has no {name} split. It has: {', '.join(dataset.splits)}. Pass another --split."
        )
    split = dataset.splits[name]
    if not split.texts:
        raise DataError(f"{dataset.name} has no transcripts. Pass a file with a column or an array of texts.")
    usable = np.flatnonzero(is_labeled(split) & np.array([bool(plain_words(text)) for text in split.texts]))
    if len(usable) < 2:
        raise DataError(f"The {name} split of {dataset.name} must have two labeled transcripts, got {len(usable)}.")
    return split.select(usable[:limit])


def _constant(dataset: Dataset, samples: Split) -> FloatArray:
    """Return the median or class prior of the training labels, or of the samples without any."""
    train = dataset.splits.get("train", samples)
    labels = train.labels[is_labeled(train)]
    constants = baseline_constants(dataset.task, labels if len(labels) else samples.labels, samples.labels)
    return next(value for name, value in constants.items() if name in FROM_TRAINING)


def _predict(session: Session, texts: Sequence[str], default: FloatArray) -> FloatArray:
    """Return the scores (n,) or logits (n, E) of texts; the default for a text without a word."""
    outputs = [session.predict(text=text).outputs if plain_words(text) else default for text in texts]
    scores = np.array(outputs, np.float32)
    return scores[:, 0] if scores.shape[1] == 1 else scores


def _compare(
    task: Task, samples: Split, given: FloatArray, recognized: FloatArray
) -> tuple[dict[str, dict[str, float]], dict[str, Comparison]]:
    units, rows = Units.of(samples.groups), np.arange(len(samples))
    estimates: dict[str, dict[str, Estimate]] = {}
    for name, scores in ((GIVEN, given), (RECOGNIZED, recognized)):
        estimates[name] = estimate_metrics(task, samples.labels, scores, rows, units, _names(task))
    metrics = {name: {key: item.value for key, item in found.items()} for name, found in estimates.items()}
    differences = {
        key: compare_paired(_method(estimates[GIVEN][key]), _method(estimates[RECOGNIZED][key]))
        for key in estimates[GIVEN]
    }
    return metrics, differences


def _method(estimate: Estimate) -> Method:
    return Method([estimate], depends_on_seed=False)


def _names(task: Task) -> list[str]:
    known = metric_functions(task)
    return [name for name in _METRICS if name in known] or list(known)


def _count_word_errors(items: Sequence[Recognized]) -> tuple[int, int]:
    pairs = [(plain_words(item.text), plain_words(item.recognized)) for item in items]
    return sum(word_errors(said, found) for said, found in pairs), sum(len(said) for said, _ in pairs)
