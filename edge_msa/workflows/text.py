"""`edge-msa text train` and `edge-msa text distill`: write student runs with a tokenizer and a text encoder."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from edge_msa.arguments import AnyPath, check_choice, check_seed, layers_of, paths_of, source_of, sources_of
from edge_msa.artifacts.model_spec import ModelSpec, TextInputSpec
from edge_msa.artifacts.requests import Request
from edge_msa.artifacts.runs import Run, RunInfo, load_run, write_run
from edge_msa.config.recipes import load_table, text_recipe
from edge_msa.config.students import TextRecipe
from edge_msa.console import format_metrics, print_note, print_notes, print_output, print_result, print_up_to_date
from edge_msa.data.dataset import SPLITS, Dataset, FloatArray, Split, SplitName
from edge_msa.data.labeled import keep_labeled
from edge_msa.data.normalization import FeatureNormalization
from edge_msa.data.opening import open_dataset
from edge_msa.data.tasks import Task, parse_task
from edge_msa.errors import DataError, UnstatedTaskError, UsageError
from edge_msa.models.encoder_layers import Layers
from edge_msa.models.text_encoders import TransformerTextEncoder
from edge_msa.training.context import Precision, TrainingContext
from edge_msa.training.losses import teacher_outputs
from edge_msa.training.shared_runs import find_current_shared_run, new_shared_run
from edge_msa.training.text.augmentation import changed_copies
from edge_msa.training.text.initial_encoders import (
    is_run,
    is_table,
    load_base,
    select_layers,
    table_from_rows,
    text_encoder_from_source,
)
from edge_msa.training.text.intermediate import IntermediateTeacher, check_same_tokens
from edge_msa.training.text.load import load_text_input, load_text_model, require_text_model
from edge_msa.training.text.pruning import prune
from edge_msa.training.text.teacher_outputs import (
    TeacherOutputs,
    load_or_compute_mean_frames,
    load_or_compute_outputs,
    token_embeddings,
)
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
_COPIES_SEED = 0
"""Seed of the changed copies of the texts. Students of every seed share it, and so the teachers' predictions."""


@dataclasses.dataclass(frozen=True)
class _Corpora:
    """Opened transcript files, in order. The last one is the target corpus."""

    sources: tuple[str, ...]
    datasets: tuple[Dataset, ...]
    unlabeled: int = 0
    """Number of first files of which only the texts are used."""

    @property
    def target(self) -> Dataset:
        return self.datasets[-1]

    @property
    def train(self) -> tuple[Split, ...]:
        return tuple(dataset.split("train") for dataset in self.datasets)

    @property
    def input_digests(self) -> dict[str, str]:
        return {name: dataset.digest for name, dataset in zip(self._names, self.datasets, strict=True)}

    @property
    def input_names(self) -> dict[str, str]:
        return dict(zip(self._names, self.sources, strict=True))

    @property
    def _names(self) -> list[str]:
        first = self.unlabeled
        return [
            f"texts {index}" if index < first else f"transcripts {index - first}" for index in range(len(self.sources))
        ]


@api
def train_text(
    transcripts: AnyPath | Sequence[AnyPath],
    *,
    encoder: AnyPath,
    output_dir: AnyPath,
    layers: int | str | Sequence[int] | None = None,
    recipe: AnyPath | Mapping[str, Any] | None = None,
    context: int | None = None,
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
        encoder: BERT-like encoder (a folder, a name on the Hugging Face Hub, or a run of this module), `.npz` file with
            word vectors, or `"wordpieces"` for a trained table.
        output_dir: Folder of the run. It appears only when it is complete.
        layers: Encoder layers to keep: a number from the first, or indices from 0, such as `[0, 4, 8]` (default: all).
        recipe: Settings of the text model, or a TOML file (default: the preset for the kind of encoder).
        context: Number of earlier utterances of the same video that an encoder reads, instead of the recipe's.
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
    kept = layers_of(layers)
    check_seed(seed)
    run_dir = output_folder(output_dir, "output_dir", [*files, encoder, recipe])
    hardware = start_hardware(device, precision)
    kind = "table" if is_table(encoder) else "encoder"
    settings = text_recipe(load_table(recipe, "text"), kind, epochs=epochs, context=context)
    if settings.prune.enabled:
        raise UsageError("text.prune needs a teacher. Omit it, and prune the trained model with edge-msa text distill.")
    if len(files) == 1 and not settings.final.epochs:
        raise UsageError(
            "text.final.epochs must be at least 1 with one transcript file, got 0, so nothing would be trained. "
            "Raise it, or pass another --transcripts file before the last one."
        )
    corpora = _open_corpora(files, parse_task(task), labeled=SPLITS)
    for source, dataset in zip(corpora.sources, corpora.datasets, strict=True):
        if not np.isfinite(dataset.split("train").labels).all():
            raise DataError(f"{source} has no labels. Use edge-msa text distill, which learns from teachers.")
    inputs = corpora.input_digests | {"encoder": _encoder_digest(encoder), "precision": hardware.precision}
    inputs["task"] = corpora.target.task.option
    request = Request(
        "text train",
        settings.model_dump() | {"layers": kept},
        seed,
        inputs,
        corpora.input_names | {"encoder": encoder},
    )
    if run := find_current_shared_run(run_dir, request, hardware):
        print_up_to_date(run_dir)
        return run
    text_input = text_encoder_from_source(
        encoder, [text for split in corpora.train for text in split.texts], settings, kept, seed
    )
    others, target = corpora.train[:-1], corpora.train[-1]
    stages = {"transfer": Corpus.concatenate([*others, *[target] * settings.mix])} if others else {}
    stages |= {"final": Corpus.concatenate(corpora.train[-1:])}
    run = _train(text_input, stages, corpora, settings, request, run_dir, hardware, _origin(encoder))
    print_output("text model", run_dir, next_step(_next_command(run_dir, corpora)))
    return run


@api
def distill_text(
    teachers: AnyPath | Sequence[AnyPath],
    *,
    transcripts: AnyPath | Sequence[AnyPath],
    output_dir: AnyPath,
    texts: AnyPath | Sequence[AnyPath] = (),
    text_encoder: TextEncoderKind = "table",
    encoder: AnyPath | None = None,
    layers: int | str | Sequence[int] | None = None,
    recipe: AnyPath | Mapping[str, Any] | None = None,
    context: int | None = None,
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
        texts: More transcripts, of which only the texts are used. Their labels may mean something else.
        text_encoder: `"table"` for a static embedding table, or `"encoder"` for layers of an encoder.
        encoder: What the student's encoder or table starts from, as in `train_text` (default: the first teacher).
        layers: Encoder layers to keep: a number from the first, or indices from 0, such as `[0, 4, 8]` (default: all).
            For a table, the layers of `encoder` whose frames are averaged.
        recipe: Settings of the text model, or a TOML file (default: the preset for the kind of encoder).
        context: Number of earlier utterances of the same video that an encoder reads, instead of the recipe's.
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
    files, more = sources_of(transcripts, "transcripts"), sources_of(texts, "texts")
    check_choice(text_encoder, "text_encoder", TextEncoderKind)
    base = None if encoder is None else source_of(encoder, "encoder", "a folder, a file or a name")
    kept = layers_of(layers)
    check_seed(seed)
    run_dir = output_folder(output_dir, "output_dir", [*teacher_paths, *files, *more, base, recipe])
    hardware = start_hardware(device, precision)
    settings = text_recipe(load_table(recipe, "text"), text_encoder, epochs=epochs, context=context)
    _check_base(text_encoder, base, kept, settings)
    sources = [load_run(path) for path in teacher_paths]
    for source in sources:
        require_text_model(source)
    corpora = _open_corpora(files, parse_task(task), default=sources[0].spec.task, labeled=_VALID, texts_only=more)
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
    inputs |= {"precision": hardware.precision, "task": corpora.target.task.option}
    key_settings = settings.model_dump() | {"text_encoder": text_encoder, "layers": kept}
    names = corpora.input_names | {f"teacher {index}": str(source.path) for index, source in enumerate(sources)}
    if base is not None:
        inputs["encoder"], names["encoder"] = _encoder_digest(base), base
    request = Request("text distill", key_settings, seed, inputs, names)
    if run := find_current_shared_run(run_dir, request, hardware):
        print_up_to_date(run_dir)
        return run
    all_texts = Corpus.concatenate(corpora.train)
    cache_dir = run_dir.parent / "predictions"
    start = _Start(sources[0], base, kept, all_texts.texts, settings, seed)
    encoder_input = start.encoder() if text_encoder == "encoder" else None
    imitated = None if encoder_input is None else start.imitated(encoder_input)
    outputs = [
        load_or_compute_outputs(
            source, all_texts.texts, all_texts.earlier, cache_dir, hardware.device, hardware.precision
        )
        for source in sources
    ]
    predictions = _mean_predictions(outputs, corpora.target.task, settings)
    text_input = encoder_input or start.table(outputs[0], cache_dir, hardware)
    target = Corpus.concatenate(corpora.train[-1:], predictions[-len(corpora.train[-1]) :])
    copies = changed_copies(all_texts.texts, settings.transfer_copies, _COPIES_SEED)
    stages = {
        "transfer": Corpus.join(
            dataclasses.replace(all_texts, predictions=predictions),
            *[target] * settings.mix,
            *(
                [_predict_copies(copies, all_texts, sources, corpora.target.task, settings, cache_dir, hardware)]
                if copies
                else []
            ),
        ),
        "final": target,
    }
    origin = _origin(str(sources[0].path) if base is None else base)
    run = _train(text_input, stages, corpora, settings, request, run_dir, hardware, origin, imitated)
    print_output("text model", run_dir, next_step(_next_command(run_dir, corpora)))
    return run


def _predict_copies(
    copies: Mapping[str, int],
    corpus: Corpus,
    teachers: Sequence[Run],
    task: Task,
    settings: TextRecipe,
    cache_dir: Path,
    context: TrainingContext,
) -> Corpus:
    """Return changed texts without labels, with the mean prediction of the teachers and what is before the original."""
    texts = tuple(copies)
    earlier = tuple(corpus.earlier[row] for row in copies.values())
    outputs = [
        load_or_compute_outputs(teacher, texts, earlier, cache_dir, context.device, context.precision)
        for teacher in teachers
    ]
    predictions = _mean_predictions(outputs, task, settings)
    return Corpus(texts, np.full(len(texts), np.nan, np.float32), predictions, earlier)


def _mean_predictions(outputs: Sequence[TeacherOutputs], task: Task, settings: TextRecipe) -> FloatArray:
    """Return the mean prediction of the teachers, (N, outputs): scores, or probabilities of classes."""
    each = [teacher_outputs(torch.from_numpy(item.predictions), task, settings.temperature) for item in outputs]
    return torch.stack(each).mean(dim=0).numpy()


@dataclasses.dataclass(frozen=True)
class _Start:
    """What a distilled text encoder starts from: an encoder, a table, or parts of the first teacher."""

    teacher: Run
    base: str | None
    """The encoder or table of `--encoder`; None for the teacher."""
    layers: Layers | None
    texts: tuple[str, ...]
    settings: TextRecipe
    seed: int

    def encoder(self) -> TextInput:
        """Return the layers of an encoder, pruned if the recipe says so."""
        if self.settings.prune.enabled:
            run = self.teacher if self.base is None else load_run(Path(self.base))
            model, text_input = load_text_model(run)
            select_layers(text_input, str(run.path), self.settings, None)
            prune(model, text_input, self.texts, self.settings.prune, self.layers, str(run.path), self.seed)
            return select_layers(text_input, str(run.path), self.settings, None)
        if self.base is not None:
            return text_encoder_from_source(self.base, self.texts, self.settings, self.layers, self.seed)
        return select_layers(load_text_input(self.teacher), str(self.teacher.path), self.settings, self.layers)

    def imitated(self, student: TextInput) -> IntermediateTeacher | None:
        """Return the teacher whose states the student imitates, or None without such terms."""
        config = self.settings.intermediate
        if not config.enabled:
            return None
        source = load_text_input(self.teacher)
        if not isinstance(source.text_encoder, TransformerTextEncoder):
            raise UsageError(
                f"text.intermediate needs a first teacher with an encoder, but {self.teacher.path} has an embedding "
                "table. Pass another teacher first, or set text.intermediate.hidden and relations to 0."
            )
        check_same_tokens(source, student, self.texts, str(self.teacher.path))
        if source.tokenizer.context != student.tokenizer.context:
            raise UsageError(
                f"text.intermediate needs a student with the context of its first teacher, {source.tokenizer.context}, "
                f"got {student.tokenizer.context}. Pass the option --context."
            )
        return IntermediateTeacher(source.text_encoder, config)

    def table(self, outputs: TeacherOutputs, cache_dir: Path, context: TrainingContext) -> TextInput:
        """Return a table. `outputs` are those of the teacher."""
        if self.base is not None and is_table(self.base):
            return text_encoder_from_source(self.base, self.texts, self.settings, self.layers, self.seed)
        source, name = self._load()
        if self.base is not None and isinstance(source.text_encoder, TransformerTextEncoder):
            source = select_layers(source, name, self.settings, self.layers)
        elif self.layers is not None:
            raise UsageError(f"--layers cannot be used with {name}, which has an embedding table. Omit it.")
        if self.settings.initial_rows == "embeddings":
            rows = token_embeddings(source, self.texts)
        elif self.base is None:
            rows = outputs.mean_frames
        else:
            limits = f"{self.layers} {source.tokenizer.max_tokens} {self.settings.normalization}"
            digest = f"{_encoder_digest(self.base)} {limits}"
            rows = load_or_compute_mean_frames(
                source, name, digest, self.texts, cache_dir, context.device, context.precision
            )
        return table_from_rows(rows, source.tokenizer, self.texts, self.settings)

    def _load(self) -> tuple[TextInput, str]:
        """Return what the student starts from, and its name in messages."""
        if self.base is None:
            return load_text_input(self.teacher), str(self.teacher.path)
        return load_base(self.base, self.texts, self.settings), self.base


def _check_base(text_encoder: TextEncoderKind, base: str | None, layers: Layers | None, settings: TextRecipe) -> None:
    """Check what a distilled student starts from, before slow work."""
    if text_encoder == "encoder":
        if base is not None and is_table(base):
            raise UsageError(f"{base} is an embedding table and no encoder. Pass --text-encoder table.")
        if settings.prune.enabled and base is not None and not is_run(base):
            raise UsageError(
                f"text.prune needs a trained encoder, and {base} is no run of edge-msa text. Pass such a run, or omit "
                "--encoder to prune the encoder of the first teacher."
            )
        if settings.intermediate.enabled and not settings.transfer.epochs:
            raise UsageError(
                "text.transfer.epochs must be at least 1 with text.intermediate, which the transfer stage trains with, "
                "got 0. Raise it, or set text.intermediate.hidden and relations to 0."
            )
        return
    if settings.prune.enabled:
        raise UsageError("text.prune needs an encoder, but the student has a table. Pass --text-encoder encoder.")
    if settings.intermediate.enabled:
        print_note("text.intermediate has no effect on an embedding table")
    if layers is not None and (base is None or is_table(base) or settings.initial_rows == "embeddings"):
        raise UsageError(
            "--layers can be used with an embedding table only if its rows are mean frames of another --encoder. "
            "Omit it."
        )


def _train(
    text_input: TextInput,
    stages: Mapping[str, Corpus],
    corpora: _Corpora,
    recipe: TextRecipe,
    request: Request,
    output_dir: Path,
    context: TrainingContext,
    origin: str,
    imitated: IntermediateTeacher | None = None,
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
            teacher=imitated,
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
        TextInputSpec(
            text_input.text_encoder.kind, text_input.tokenizer.max_tokens, digest, text_input.tokenizer.context
        ),
    )


def _open_corpora(
    transcripts: Sequence[str],
    task: Task | None,
    *,
    default: Task | None = None,
    labeled: Sequence[SplitName],
    texts_only: Sequence[str] = (),
) -> _Corpora:
    """Open transcript files, print their notes, and leave out the unlabeled samples of the splits in `labeled`.

    Files that state no task have the task of the last one, or else `default`. The labels of files in `texts_only`
    are ignored.
    """
    if not transcripts:
        raise UsageError("No transcripts were passed. Pass --transcripts FILE at least once.")
    target = _open_with_default(transcripts[-1], task, default)
    unlabeled = [open_dataset(source, task=target.task, labels=False) for source in texts_only]
    others = [_open_with_default(source, task, target.task) for source in transcripts[:-1]]
    datasets = (*unlabeled, *(keep_labeled(dataset, labeled) for dataset in (*others, target)))
    print_notes(note for dataset in datasets for note in dataset.notes)
    all_sources = (*texts_only, *transcripts)
    for source, dataset in zip(all_sources, datasets, strict=True):
        if dataset.task != datasets[-1].task or dataset.task.kind == "emotions":
            raise DataError(
                f"All transcripts must have the same task, and its labels must be scores or classes, got "
                f"{dataset.task.option} in {source} and {datasets[-1].task.option} in {transcripts[-1]}."
            )
        names: tuple[SplitName, ...] = ("train", "valid") if dataset is datasets[-1] else ("train",)
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
            f"The valid split of {transcripts[-1]} has no labels, but labels are needed to choose the best epoch."
        )
    return _Corpora(all_sources, datasets, len(texts_only))


def _open_with_default(source: str, task: Task | None, default: Task | None) -> Dataset:
    try:
        return open_dataset(source, task=task)
    except UnstatedTaskError:
        if default is None:
            raise
        return open_dataset(source, task=default)


def _describe_task(task: Task) -> str:
    """Return the name of a task with its range of scores, or its classes."""
    return task.option if task.low is None else f"{task.kind} ({task.low:g} to {task.high:g})"


def _encoder_digest(encoder: str) -> str:
    """Return the digest of a run or of an encoder's files, or its name on the hub."""
    if is_run(encoder):
        return load_run(encoder).digest
    path = Path(encoder)
    if not path.exists():
        return encoder
    digest = hashlib.sha256()
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        if file.is_file():
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def base_name(run: Run) -> str:
    """Return the name of the encoder that a text model was trained from."""
    return run.spec.features.get("language", UNKNOWN).extractor.partition(_ORIGIN)[2]


def _origin(encoder: str) -> str:
    """Return the name of an encoder, or for a run that of the encoder that it was trained from."""
    if is_run(encoder):
        return base_name(load_run(encoder))
    return Path(encoder).name if Path(encoder).exists() else encoder


def _next_command(output_dir: Path, corpora: _Corpora) -> str:
    """Return the next command: for a corpus with frames, that of a teacher that uses the text model."""
    if corpora.target.dims:
        return f"edge-msa train --data {corpora.sources[-1]} --text-model {output_dir} --output-dir teacher"
    return f"edge-msa calibrate {output_dir} --output-dir calibrated"
