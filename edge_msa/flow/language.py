"""`edge-msa language train|distill`: readers of raw words, as student runs that hold their tokenizer and front."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge_msa.contract import Contract, LanguageContract
from edge_msa.data.dataset import Dataset, Split, SplitName
from edge_msa.data.normalise import Normalisation
from edge_msa.errors import DataError, UsageError
from edge_msa.flow.console import made, metrics_line, say, shows_progress
from edge_msa.flow.data import opened
from edge_msa.flow.language_teachers import asked
from edge_msa.flow.processes import current_for_all, new_for_all
from edge_msa.runs import Run, RunInfo, identity_of, read_run, write_run
from edge_msa.training.engine import Engine, Hardware
from edge_msa.training.fronts import front_of_source, front_of_teacher, is_table
from edge_msa.training.language import LanguageRecipe, Texts, TrainedReader, train_reader
from edge_msa.training.readers import contract_of_reader
from edge_msa.training.recipes import language_recipe, read_recipe
from edge_msa.training.spoken import Spoken, write_spoken
from edge_msa_export.text import BUCKETS


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


def train_language(
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
    engine = (hardware or Hardware()).start(progress=shows_progress())
    chosen = _recipe(recipe, "table" if is_table(encoder) else "encoder")
    corpora = _opened(transcripts)
    for source, dataset in zip(corpora.sources, corpora.datasets, strict=True):
        if not np.isfinite(dataset.split("train").labels).all():
            raise DataError(f"{source} has no scores: only language distill can learn from it, through teachers")
    inputs = corpora.inputs | {"encoder": _encoder_digest(encoder), "precision": engine.precision}
    identity = identity_of("language train", dataclasses.asdict(chosen) | {"layers": layers}, seed, inputs)
    if run := current_for_all(output_dir, identity, engine):
        say(f"language: {output_dir} is up to date, skipped")
        return run
    spoken = front_of_source(encoder, [text for split in corpora.train for text in split.texts], chosen, layers, seed)
    texts = {"transfer": Texts.of(corpora.train[:-1])} if len(corpora.train) > 1 else {}
    texts |= {"final": Texts.of(corpora.train[-1:])}
    made_of = _Made("language train", identity, seed, inputs)
    run = _train(spoken, texts, corpora, chosen, made_of, output_dir, engine)
    made("language reader", output_dir, None if in_pipeline else _following(output_dir))
    return run


def distill_language(
    teachers: Sequence[Path],
    transcripts: Sequence[str],
    output_dir: Path,
    *,
    front: str = "table",
    layers: int | None = None,
    recipe: Path | Mapping[str, Any] | None = None,
    seed: int = 0,
    hardware: Hardware | None = None,
    in_pipeline: bool = False,
) -> Run:
    """Distil readers of words into a smaller one; skipped when an identical one is there."""
    engine = (hardware or Hardware()).start(progress=shows_progress())
    chosen = _recipe(recipe, front)
    corpora = _opened(transcripts)
    sources = [read_run(path) for path in teachers]
    for source in sources:
        if contract_of_reader(source).dims.keys() != {"language"}:
            raise UsageError(f"{source.path} reads more than words: give runs of edge-msa language train or distill")
    inputs = corpora.inputs | {f"teacher {index}": source.digest for index, source in enumerate(sources)}
    inputs["precision"] = engine.precision
    recorded = dataclasses.asdict(chosen) | {"front": front, "layers": layers}
    identity = identity_of("language distill", recorded, seed, inputs)
    if run := current_for_all(output_dir, identity, engine):
        say(f"language: {output_dir} is up to date, skipped")
        return run
    everything = Texts.of(corpora.train)
    taught = [asked(source, everything.texts, output_dir.parent / "readings") for source in sources]
    readings = np.mean([item.readings[:, 0] for item in taught], axis=0)
    spoken = front_of_teacher(front, sources[0], taught[0], everything.texts, chosen, layers)
    last = len(corpora.train[-1])
    texts = {
        "transfer": dataclasses.replace(everything, taught=readings),
        "final": Texts.of(corpora.train[-1:], readings[-last:]),
    }
    made_of = _Made("language distill", identity, seed, inputs)
    run = _train(spoken, texts, corpora, chosen, made_of, output_dir, engine)
    made("language reader", output_dir, None if in_pipeline else _following(output_dir))
    return run


@dataclasses.dataclass(frozen=True)
class _Made:
    """What a run records of how it came to be."""

    command: str
    identity: str
    seed: int
    inputs: Mapping[str, str]


def _train(
    spoken: Spoken,
    texts: Mapping[str, Texts],
    corpora: _Corpora,
    recipe: LanguageRecipe,
    made_of: _Made,
    output_dir: Path,
    engine: Engine,
) -> Run:
    spoken.front.to(engine.device)
    last = corpora.last
    with new_for_all(output_dir, made_of.identity, engine) as work:
        trained = train_reader(
            spoken,
            texts,
            last.split("valid"),
            last.task,
            recipe,
            seed=made_of.seed,
            engine=engine,
            work_dir=work,
            fingerprint=made_of.identity,
        )
        engine.dismiss_others()
        digest = write_spoken(work, trained.spoken)
        info = RunInfo(
            kind="student",
            model="student",
            command=made_of.command,
            identity=made_of.identity,
            seed=made_of.seed,
            recipe=dataclasses.asdict(recipe),
            config=dataclasses.asdict(trained.config),
            contract=_contract(trained, corpora, digest).to_json(),
            inputs=made_of.inputs,
            metrics=trained.metrics,
        )
        write_run(work, info, trained.weights, trained.log)
    say(f"validation: {metrics_line(trained.metrics)}")
    return read_run(output_dir)


def _contract(trained: TrainedReader, corpora: _Corpora, digest: str) -> Contract:
    spoken, last = trained.spoken, corpora.last
    dim = spoken.front.dim
    longest = max(len(ids) for split in last.splits.values() for ids in spoken.words.ids(split.texts))
    window = next((bucket for bucket in BUCKETS if bucket >= longest), longest)
    return Contract(
        last.task,
        {"language": dim},
        {"language": min(window, spoken.words.max_tokens)},
        {},
        Normalisation.identity({"language": dim}),
        corpora.sources[-1],
        LanguageContract(spoken.front.kind, spoken.words.max_tokens, digest),
    )


def _recipe(recipe: Path | Mapping[str, Any] | None, preset: str) -> LanguageRecipe:
    tables = read_recipe(recipe) if isinstance(recipe, Path) else dict(recipe or {})
    return language_recipe(tables.get("language", {}), preset)


def _opened(transcripts: Sequence[str]) -> _Corpora:
    if not transcripts:
        raise UsageError("there are no transcripts: give --transcripts FILE, once or several times")
    datasets = tuple(opened(source, None) for source in transcripts)
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
