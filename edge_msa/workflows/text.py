"""`edge-msa text train|distill`: readers of raw words, as student runs that hold their tokenizer and text encoder."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge_msa.artifacts.cache import compute_cache_key
from edge_msa.artifacts.model_spec import ModelSpec, TextInputSpec
from edge_msa.artifacts.runs import Run, RunInfo, load_run, write_run
from edge_msa.config.recipes import read_recipe, text_recipe
from edge_msa.console import format_metrics, print_output, print_result, print_up_to_date, shows_progress
from edge_msa.data.dataset import Dataset, Split, SplitName
from edge_msa.data.normalization import FeatureNormalization
from edge_msa.data.opening import open_and_report
from edge_msa.errors import DataError, UsageError
from edge_msa.training.context import Hardware, TrainingContext
from edge_msa.training.shared_runs import find_current_shared_run, new_shared_run
from edge_msa.training.text.cached_teacher_outputs import asked
from edge_msa.training.text.encoders import is_table, text_encoder_from_source, text_encoder_from_teacher
from edge_msa.training.text.load import spec_of_text_model
from edge_msa.training.text.text_input import TextInput, write_text_input
from edge_msa.training.text.train import TextRecipe, Texts, TrainedTextModel, fit_text_model
from edge_msa_export.text import BUCKET_LENGTHS


@dataclasses.dataclass(frozen=True)
class _Corpora:
    """Opened transcripts in their order; the last is the one that the reader is for."""

    sources: tuple[str, ...]
    datasets: tuple[Dataset, ...]

    @property
    def last(self) -> Dataset:
        return self.datasets[-1]

    @property
    def train(self) -> tuple[Split, ...]:
        return tuple(dataset.split("train") for dataset in self.datasets)

    @property
    def inputs(self) -> dict[str, str]:
        return {f"transcripts {index}": dataset.digest for index, dataset in enumerate(self.datasets)}


def train_text_model(
    transcripts: Sequence[str],
    output_dir: Path,
    *,
    encoder: str,
    layers: int | None = None,
    recipe: Path | Mapping[str, Any] | None = None,
    seed: int = 0,
    hardware: Hardware | None = None,
    in_pipeline: bool = False,
) -> Run:
    """Train a reader on transcripts with scores, the last file's at the end; skipped when an identical one is there."""
    context = (hardware or Hardware()).start(progress=shows_progress())
    chosen = _recipe(recipe, "table" if is_table(encoder) else "encoder")
    corpora = _opened(transcripts)
    for source, dataset in zip(corpora.sources, corpora.datasets, strict=True):
        if not np.isfinite(dataset.split("train").labels).all():
            raise DataError(f"{source} has no scores: only language distill can learn from it, through teachers")
    inputs = corpora.inputs | {"encoder": _encoder_digest(encoder), "precision": context.precision}
    cache_key = compute_cache_key("language train", dataclasses.asdict(chosen) | {"layers": layers}, seed, inputs)
    if run := find_current_shared_run(output_dir, cache_key, context):
        print_up_to_date(output_dir)
        return run
    text_input = text_encoder_from_source(
        encoder, [text for split in corpora.train for text in split.texts], chosen, layers, seed
    )
    texts = {"transfer": Texts.of(corpora.train[:-1])} if len(corpora.train) > 1 else {}
    texts |= {"final": Texts.of(corpora.train[-1:])}
    made_of = _Made("language train", cache_key, seed, inputs)
    run = _train(text_input, texts, corpora, chosen, made_of, output_dir, context)
    print_output("language reader", output_dir, None if in_pipeline else _following(output_dir))
    return run


def distill_text_model(
    teachers: Sequence[Path],
    transcripts: Sequence[str],
    output_dir: Path,
    *,
    text_encoder: str = "table",
    layers: int | None = None,
    recipe: Path | Mapping[str, Any] | None = None,
    seed: int = 0,
    hardware: Hardware | None = None,
    in_pipeline: bool = False,
) -> Run:
    """Distill readers of words into a smaller one; skipped when an identical one is there."""
    context = (hardware or Hardware()).start(progress=shows_progress())
    chosen = _recipe(recipe, text_encoder)
    corpora = _opened(transcripts)
    sources = [load_run(path) for path in teachers]
    for source in sources:
        if spec_of_text_model(source).dims.keys() != {"language"}:
            raise UsageError(f"{source.path} reads more than words: give runs of edge-msa text train or distill")
    inputs = corpora.inputs | {f"teacher {index}": source.digest for index, source in enumerate(sources)}
    inputs["precision"] = context.precision
    recorded = dataclasses.asdict(chosen) | {"text_encoder": text_encoder, "layers": layers}
    cache_key = compute_cache_key("language distill", recorded, seed, inputs)
    if run := find_current_shared_run(output_dir, cache_key, context):
        print_up_to_date(output_dir)
        return run
    everything = Texts.of(corpora.train)
    taught = [asked(source, everything.texts, output_dir.parent / "predictions") for source in sources]
    predictions = np.mean([item.predictions[:, 0] for item in taught], axis=0)
    text_input = text_encoder_from_teacher(text_encoder, sources[0], taught[0], everything.texts, chosen, layers)
    last = len(corpora.train[-1])
    texts = {
        "transfer": dataclasses.replace(everything, taught=predictions),
        "final": Texts.of(corpora.train[-1:], predictions[-last:]),
    }
    made_of = _Made("language distill", cache_key, seed, inputs)
    run = _train(text_input, texts, corpora, chosen, made_of, output_dir, context)
    print_output("language reader", output_dir, None if in_pipeline else _following(output_dir))
    return run


@dataclasses.dataclass(frozen=True)
class _Made:
    """What a run records of how it came to be."""

    command: str
    cache_key: str
    seed: int
    inputs: Mapping[str, str]


def _train(
    text_input: TextInput,
    texts: Mapping[str, Texts],
    corpora: _Corpora,
    recipe: TextRecipe,
    made_of: _Made,
    output_dir: Path,
    context: TrainingContext,
) -> Run:
    text_input.text_encoder.to(context.device)
    last = corpora.last
    with new_shared_run(output_dir, made_of.cache_key, context) as work:
        trained = fit_text_model(
            text_input,
            texts,
            last.split("valid"),
            last.task,
            recipe,
            seed=made_of.seed,
            context=context,
            work_dir=work,
            fingerprint=made_of.cache_key,
        )
        context.dismiss_others()
        digest = write_text_input(work, trained.text_input)
        info = RunInfo(
            kind="student",
            model="student",
            command=made_of.command,
            cache_key=made_of.cache_key,
            seed=made_of.seed,
            recipe=dataclasses.asdict(recipe),
            config=dataclasses.asdict(trained.config),
            spec=_spec(trained, corpora, digest),
            inputs=made_of.inputs,
            metrics=trained.metrics,
        )
        write_run(work, info, trained.weights, trained.log)
    print_result(f"validation: {format_metrics(trained.metrics)}")
    return load_run(output_dir)


def _spec(trained: TrainedTextModel, corpora: _Corpora, digest: str) -> ModelSpec:
    text_input, last = trained.text_input, corpora.last
    dim = text_input.text_encoder.dim
    longest = max(len(ids) for split in last.splits.values() for ids in text_input.words.ids(split.texts))
    window = next((bucket for bucket in BUCKET_LENGTHS if bucket >= longest), longest)
    return ModelSpec(
        last.task,
        {"language": dim},
        {"language": min(window, text_input.words.max_tokens)},
        {},
        FeatureNormalization.identity({"language": dim}),
        corpora.sources[-1],
        TextInputSpec(text_input.text_encoder.kind, text_input.words.max_tokens, digest),
    )


def _recipe(recipe: Path | Mapping[str, Any] | None, preset: str) -> TextRecipe:
    tables = read_recipe(recipe) if isinstance(recipe, Path) else dict(recipe or {})
    return text_recipe(tables.get("language", {}), preset)


def _opened(transcripts: Sequence[str]) -> _Corpora:
    if not transcripts:
        raise UsageError("there are no transcripts: give --transcripts FILE, once or several times")
    datasets = tuple(open_and_report(source, None) for source in transcripts)
    for source, dataset in zip(transcripts, datasets, strict=True):
        if dataset.task != datasets[-1].task or not dataset.task.is_score:
            raise DataError(
                f"{source} has the task {dataset.task.kind}, {transcripts[-1]} has {datasets[-1].task.kind}: "
                "readers of words learn scores, of one kind"
            )
        wanted: tuple[SplitName, ...] = ("train", "valid") if source == transcripts[-1] else ("train",)
        for name in wanted:
            texts = dataset.split(name).texts
            if not texts:
                raise DataError(f"the {name} split of {source} does not say what was said: give a file with text")
            if not any(character.isalnum() for text in texts for character in text):
                raise DataError(f"no text of the {name} split of {source} has a word in it: there is nothing to learn")
    if not np.isfinite(datasets[-1].split("valid").labels).all():
        raise DataError(f"the valid split of {transcripts[-1]} has no scores, by which the best epoch is chosen")
    return _Corpora(tuple(transcripts), datasets)


def _encoder_digest(encoder: str) -> str:
    """What names an encoder: the content of a folder's or a file's bytes, or a hub's name."""
    path = Path(encoder)
    if not path.exists():
        return encoder
    digest = hashlib.sha256()
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        if file.is_file():
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _following(output_dir: Path) -> str:
    return f"edge-msa calibrate --model {output_dir} --output-dir calibrated"
