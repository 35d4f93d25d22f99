"""`edge-msa text train` and `edge-msa text distill`: write student runs with a tokenizer and a text encoder."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edge_msa.arguments import AnyPath, check_choice, check_seed, paths_of, source_of, sources_of
from edge_msa.artifacts.model_spec import ModelSpec, TextInputSpec
from edge_msa.artifacts.requests import Request
from edge_msa.artifacts.runs import Run, RunInfo, load_run, write_run
from edge_msa.config.recipes import load_table, text_recipe
from edge_msa.config.students import TextRecipe
from edge_msa.console import format_metrics, print_notes, print_output, print_result, print_up_to_date
from edge_msa.data.dataset import SPLITS, Dataset, Split, SplitName
from edge_msa.data.labeled import keep_labeled
from edge_msa.data.normalization import FeatureNormalization
from edge_msa.data.opening import open_dataset
from edge_msa.data.tasks import Task, parse_task
from edge_msa.errors import DataError, UnstatedTaskError, UsageError
from edge_msa.training.context import Precision, TrainingContext
from edge_msa.training.shared_runs import find_current_shared_run, new_shared_run
from edge_msa.training.text.augmentation import changed_copies
from edge_msa.training.text.initial_encoders import is_table, text_encoder_from_source, text_encoder_from_teacher
from edge_msa.training.text.load import require_text_model
from edge_msa.training.text.teacher_outputs import load_or_compute_outputs
from edge_msa.training.text.text_input import TextInput, write_text_input
from edge_msa.training.text.train import Corpus, TrainedTextModel, fit_text_model
from edge_msa.workflows.api import OnProgress, api, next_step
from edge_msa.workflows.baseline_warning import warn_if_no_better_than_constant
from edge_msa.workflows.hardware import start_hardware
from edge_msa.workflows.outputs import output_folder
from edge_msa_export.text import BUCKET_LENGTHS
from edge_msa_runtime.features import UNKNOWN, FeatureSource

TextEncoderKind = Literal["table", "encoder"]
_VALID: tuple[SplitName, ...] = ("valid",)
_ORIGIN = " from "
"""Separates the kind of a text encoder from what it was trained from, in the name of the extractor."""
_DIGITS = 12


@dataclasses.dataclass(frozen=True)
class _Corpora:
    """Opened transcript files, in order. The last one is the target corpus."""

    sources: tuple[str, ...]
    datasets: tuple[Dataset, ...]

    @property
    def target(self) -> Dataset:
        return self.datasets[-1]

    @property
    def train(self) -> tuple[Split, ...]:
        return tuple(dataset.split("train") for dataset in self.datasets)

    @property
    def input_digests(self) -> dict[str, str]:
        return {f"transcripts {index}": dataset.digest for index, dataset in enumerate(self.datasets)}

    @property
    def input_names(self) -> dict[str, str]:
        return {f"transcripts {index}": source for index, source in enumerate(self.sources)}


@api
def train_text(
    transcripts: AnyPath | Sequence[AnyPath],
    *,
    encoder: AnyPath,
    output_dir: AnyPath,
    layers: int | None = None,
    recipe: AnyPath | Mapping[str, Any] | None = None,
    epochs: int | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: Precision = "auto",
    task: str | None = None,
    overwrite: bool = False,
    verbose: bool = False,
    on_progress: OnProgress | None = None,
) -> Run:
    """Train a text model, a model of raw words, on transcripts with scores, and write its run.

    Skipping and resuming work as in `train`.

    Args:
        transcripts: CSV or feature files with transcripts and scores. The last one is the target corpus: its validation
            split selects the best epoch.
        encoder: BERT-like encoder (a folder or a name on the Hugging Face Hub), `.npz` file with word vectors, or
            `"wordpieces"` for a trained table.
        output_dir: Folder of the run. It appears only when it is complete.
        layers: Number of encoder layers to keep, from the first (default: all).
        recipe: Settings of the text model, or a TOML file (default: the preset for the kind of encoder).
        epochs: Number of epochs of each of the two training stages, instead of the recipe's.
        seed: Seed of every random choice, 0 to 2**32 - 1.
        device: Device to train on: `"auto"`, `"cpu"` or `"cuda"`.
        precision: Training precision: `"auto"`, `"32"` or `"bf16"`.
        task: What the scores mean (default: what the last file states, or what its scores imply).
        overwrite: Whether to replace a run of other inputs, another recipe or another seed in `output_dir`.
        verbose: Whether to print progress and notes.
        on_progress: Called after every epoch.

    Returns:
        The run of a student with its text encoder, which `calibrate` and `distill_text` take.

    Raises:
        UsageError: An argument, the recipe or the encoder cannot be used.
        DataError: The transcripts cannot be used.
        TrainingError: The training diverged.

    Examples:
        >>> text = em.train_text("reviews.csv", encoder="bert-base-uncased", output_dir="text")
    """
    files = sources_of(transcripts, "transcripts")
    encoder = source_of(encoder, "encoder", "a folder, a file or a name")
    check_seed(seed)
    run_dir = output_folder(output_dir, "output_dir", [*files, encoder, recipe])
    context = start_hardware(device, precision)
    settings = text_recipe(load_table(recipe, "text"), "table" if is_table(encoder) else "encoder", epochs=epochs)
    if len(files) == 1 and not settings.final.epochs:
        raise UsageError(
            "text.final.epochs must be at least 1 with one transcript file, got 0, so nothing would be trained. "
            "Raise it, or pass another --transcripts file before the last one."
        )
    corpora = _open_corpora(files, parse_task(task), labeled=SPLITS)
    for source, dataset in zip(corpora.sources, corpora.datasets, strict=True):
        if not np.isfinite(dataset.split("train").labels).all():
            raise DataError(f"{source} has no scores. Use edge-msa text distill, which learns from teachers.")
    inputs = corpora.input_digests | {"encoder": _encoder_digest(encoder), "precision": context.precision}
    inputs["task"] = corpora.target.task.kind
    request = Request(
        "text train",
        settings.model_dump() | {"layers": layers},
        seed,
        inputs,
        corpora.input_names | {"encoder": encoder},
    )
    if run := find_current_shared_run(run_dir, request, context):
        print_up_to_date(run_dir)
        return run
    text_input = text_encoder_from_source(
        encoder, [text for split in corpora.train for text in split.texts], settings, layers, seed
    )
    others, target = corpora.train[:-1], corpora.train[-1]
    stages = {"transfer": Corpus.concatenate([*others, *[target] * settings.mix])} if others else {}
    stages |= {"final": Corpus.concatenate(corpora.train[-1:])}
    origin = Path(encoder).name if Path(encoder).exists() else encoder
    run = _train(text_input, stages, corpora, settings, request, run_dir, context, origin)
    print_output("text model", run_dir, next_step(_next_command(run_dir)))
    return run


@api
def distill_text(
    teachers: AnyPath | Sequence[AnyPath],
    *,
    transcripts: AnyPath | Sequence[AnyPath],
    output_dir: AnyPath,
    text_encoder: TextEncoderKind = "table",
    layers: int | None = None,
    recipe: AnyPath | Mapping[str, Any] | None = None,
    epochs: int | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: Precision = "auto",
    task: str | None = None,
    overwrite: bool = False,
    verbose: bool = False,
    on_progress: OnProgress | None = None,
) -> Run:
    """Distill text models into a smaller one, and write its run. It learns from predictions on all transcripts.

    Skipping and resuming work as in `train`.

    Args:
        teachers: One run or several of `train_text` or `distill_text`, whose predictions are averaged.
        transcripts: CSV or feature files with transcripts, with or without scores; the last one is the target corpus.
        output_dir: Folder of the run. The teachers' outputs are cached next to it.
        text_encoder: `"table"` for a static embedding table, or `"encoder"` for the first layers of the teacher's.
        layers: Number of encoder layers to keep, from the first (default: all).
        recipe: Settings of the text model, or a TOML file (default: the preset for the kind of encoder).
        epochs: Number of epochs of each of the two training stages, instead of the recipe's.
        seed: Seed of every random choice, 0 to 2**32 - 1.
        device: Device to train on: `"auto"`, `"cpu"` or `"cuda"`.
        precision: Training precision: `"auto"`, `"32"` or `"bf16"`.
        task: What the scores mean (default: what the last file states, or else the task of the first teacher).
        overwrite: Whether to replace a run of other inputs, another recipe or another seed in `output_dir`.
        verbose: Whether to print progress and notes.
        on_progress: Called after every epoch.

    Returns:
        The run of a student with its text encoder.

    Raises:
        UsageError: An argument, the recipe or a teacher cannot be used.
        DataError: The transcripts cannot be used.
        TrainingError: The training diverged.

    Examples:
        >>> small = em.distill_text(text, transcripts="reviews.csv", output_dir="table")
    """
    teacher_paths = paths_of(teachers, "teachers", "a run, or a list of runs")
    files = sources_of(transcripts, "transcripts")
    check_choice(text_encoder, "text_encoder", TextEncoderKind)
    check_seed(seed)
    run_dir = output_folder(output_dir, "output_dir", [*teacher_paths, *files, recipe])
    context = start_hardware(device, precision)
    settings = text_recipe(load_table(recipe, "text"), text_encoder, epochs=epochs)
    sources = [load_run(path) for path in teacher_paths]
    for source in sources:
        require_text_model(source)
    corpora = _open_corpora(files, parse_task(task), default=sources[0].spec.task, labeled=_VALID)
    for source in sources:
        if require_text_model(source).dims.keys() != {"language"}:
            raise UsageError(f"{source.path} has other modalities besides text. Pass runs of edge-msa text.")
        if source.spec.task != corpora.target.task:
            raise UsageError(
                f"The teacher {source.path} must have the task of the transcripts, "
                f"{_describe_task(corpora.target.task)}, got {_describe_task(source.spec.task)}. Pass transcripts of "
                "the teacher's task."
            )
    inputs = corpora.input_digests | {f"teacher {index}": source.digest for index, source in enumerate(sources)}
    inputs |= {"precision": context.precision, "task": corpora.target.task.kind}
    key_settings = settings.model_dump() | {"text_encoder": text_encoder, "layers": layers}
    names = corpora.input_names | {f"teacher {index}": str(source.path) for index, source in enumerate(sources)}
    request = Request("text distill", key_settings, seed, inputs, names)
    if run := find_current_shared_run(run_dir, request, context):
        print_up_to_date(run_dir)
        return run
    all_texts = Corpus.concatenate(corpora.train)
    cache_dir = run_dir.parent / "predictions"
    outputs = [load_or_compute_outputs(source, all_texts.texts, cache_dir) for source in sources]
    predictions = np.mean([item.predictions[:, 0] for item in outputs], axis=0)
    text_input = text_encoder_from_teacher(text_encoder, sources[0], outputs[0], all_texts.texts, settings, layers)
    target = Corpus.concatenate(corpora.train[-1:], predictions[-len(corpora.train[-1]) :])
    copies = changed_copies(all_texts.texts, settings.transfer_copies, seed) if settings.transfer_copies else ()
    stages = {
        "transfer": Corpus.join(
            dataclasses.replace(all_texts, predictions=predictions),
            *[target] * settings.mix,
            *([_predict_copies(copies, sources, cache_dir)] if copies else []),
        ),
        "final": target,
    }
    origin = sources[0].spec.features.get("language", UNKNOWN).extractor.partition(_ORIGIN)[2]
    run = _train(text_input, stages, corpora, settings, request, run_dir, context, origin)
    print_output("text model", run_dir, next_step(_next_command(run_dir)))
    return run


def _predict_copies(texts: tuple[str, ...], teachers: Sequence[Run], cache_dir: Path) -> Corpus:
    """Return unlabeled texts with the mean prediction of the teachers."""
    outputs = [load_or_compute_outputs(teacher, texts, cache_dir) for teacher in teachers]
    predictions = np.mean([item.predictions[:, 0] for item in outputs], axis=0)
    return Corpus(texts, np.full(len(texts), np.nan, np.float32), predictions)


def _train(
    text_input: TextInput,
    stages: Mapping[str, Corpus],
    corpora: _Corpora,
    recipe: TextRecipe,
    request: Request,
    output_dir: Path,
    context: TrainingContext,
    origin: str,
) -> Run:
    text_input.text_encoder.to(context.device)
    target = corpora.target
    with new_shared_run(output_dir, request.cache_key, context) as work:
        trained = fit_text_model(
            text_input,
            stages,
            target.split("valid"),
            target.task,
            recipe,
            seed=request.seed,
            context=context,
            work_dir=work,
            fingerprint=request.cache_key,
        )
        context.exit_other_processes()
        digest = write_text_input(work, trained.text_input)
        info = RunInfo(
            kind="student",
            model="student",
            **request.to_json(),
            config=dataclasses.asdict(trained.config),
            spec=_create_spec(trained, corpora, digest, origin),
            metrics=trained.metrics,
        )
        write_run(work, info, trained.weights, trained.log)
    print_result(f"validation: {format_metrics(trained.metrics)}")
    run = load_run(output_dir)
    warn_if_no_better_than_constant(run, target, context)
    return run


def _create_spec(trained: TrainedTextModel, corpora: _Corpora, digest: str, origin: str) -> ModelSpec:
    text_input, target = trained.text_input, corpora.target
    dim = text_input.text_encoder.dim
    # A model must not depend on the test split. Longer texts are processed in chunks.
    splits = (split for name, split in target.splits.items() if name != "test")
    longest = max(len(ids) for split in splits for ids in text_input.tokenizer.ids(split.texts))
    window = next((bucket for bucket in BUCKET_LENGTHS if bucket >= longest), longest)
    extractor = f"edge-msa text {text_input.text_encoder.kind}{_ORIGIN}{origin}"
    source = FeatureSource(extractor, f"sha256 {digest[:_DIGITS]}")
    return ModelSpec(
        target.task,
        {"language": dim},
        {"language": min(window, text_input.tokenizer.max_tokens)},
        {"language": source},
        FeatureNormalization.identity({"language": dim}),
        corpora.sources[-1],
        TextInputSpec(text_input.text_encoder.kind, text_input.tokenizer.max_tokens, digest),
    )


def _open_corpora(
    transcripts: Sequence[str],
    task: Task | None,
    *,
    default: Task | None = None,
    labeled: Sequence[SplitName],
) -> _Corpora:
    """Open transcript files, print their notes, and leave out the unlabeled samples of the splits in `labeled`.

    Files that state no task have the task of the last one, or else `default`.
    """
    if not transcripts:
        raise UsageError("No transcripts were passed. Pass --transcripts FILE at least once.")
    target = _open_with_default(transcripts[-1], task, default)
    others = [_open_with_default(source, task, target.task) for source in transcripts[:-1]]
    datasets = tuple(keep_labeled(dataset, labeled) for dataset in (*others, target))
    print_notes(note for dataset in datasets for note in dataset.notes)
    for source, dataset in zip(transcripts, datasets, strict=True):
        if dataset.task != datasets[-1].task or not dataset.task.is_score:
            raise DataError(
                f"All transcripts must have the same task, and its labels must be scores, got {dataset.task.kind} in "
                f"{source} and {datasets[-1].task.kind} in {transcripts[-1]}."
            )
        names: tuple[SplitName, ...] = ("train", "valid") if source == transcripts[-1] else ("train",)
        for name in names:
            texts = dataset.split(name).texts
            if not texts:
                raise DataError(f"The {name} split of {source} has no texts. Pass a file with raw text.")
            if not any(character.isalnum() for text in texts for character in text):
                raise DataError(
                    f"No text in the {name} split of {source} contains a word. Pass a file with transcripts."
                )
    if not np.isfinite(datasets[-1].split("valid").labels).all():
        raise DataError(
            f"The valid split of {transcripts[-1]} has no scores, but scores are needed to choose the best epoch."
        )
    return _Corpora(tuple(transcripts), datasets)


def _open_with_default(source: str, task: Task | None, default: Task | None) -> Dataset:
    try:
        return open_dataset(source, task=task)
    except UnstatedTaskError:
        if default is None:
            raise
        return open_dataset(source, task=default)


def _describe_task(task: Task) -> str:
    """Return the name of a task with its range of scores."""
    return task.kind if task.low is None else f"{task.kind} ({task.low:g} to {task.high:g})"


def _encoder_digest(encoder: str) -> str:
    """Return the digest of an encoder's files, or its name on the hub."""
    path = Path(encoder)
    if not path.exists():
        return encoder
    digest = hashlib.sha256()
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        if file.is_file():
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _next_command(output_dir: Path) -> str:
    return f"edge-msa calibrate {output_dir} --output-dir calibrated"
