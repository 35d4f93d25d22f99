"""`edge-msa text sweep`: train, export and measure text models of all sizes, and plot them on one page."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from edge_msa.arguments import AnyPath, check_count, layers_of, source_of, sources_of
from edge_msa.artifacts.cache import compute_cache_key, load_cached, save_cached
from edge_msa.artifacts.dry_run import declare_steps, end_dry_run, independent_step, is_dry_run
from edge_msa.artifacts.files import write_text
from edge_msa.artifacts.requests import allow_replacing
from edge_msa.artifacts.runs import INFO_NAME, load_run
from edge_msa.benchmark.machine import describe_machine, unavailable_reason
from edge_msa.console import print_result, print_step
from edge_msa.data.dataset import Dataset, FloatArray, Split
from edge_msa.data.opening import open_dataset
from edge_msa.data.tasks import parse_task
from edge_msa.errors import UnstatedTaskError, UsageError
from edge_msa.evaluation.evaluate import Evaluation, evaluate, merge_equal
from edge_msa.evaluation.metrics import Method, compare_methods, compare_paired
from edge_msa.evaluation.predictors import select_session_inputs, session_predictor, session_source
from edge_msa.evaluation.reproduction.record import SeedSummary
from edge_msa.models.encoder_layers import Layers
from edge_msa.models.text_encoders import TransformerTextEncoder
from edge_msa.reporting.text_sweep import (
    RECORD_NAME,
    SweepPoint,
    SweepVariant,
    TextSweep,
    format_sweep,
    write_sweep_page,
)
from edge_msa.result_tables import Row, Table
from edge_msa.training.context import Precision
from edge_msa.training.device import resolve_device
from edge_msa.training.run_data import open_unencoded_dataset_for_run
from edge_msa.training.shared_runs import require_single_process
from edge_msa.training.text.load import load_text_input, load_text_model
from edge_msa.training.text.teacher_outputs import compute_outputs, load_or_compute_outputs
from edge_msa.workflows.api import OnProgress, api
from edge_msa.workflows.calibrate import calibrate
from edge_msa.workflows.export import export
from edge_msa.workflows.outputs import output_container
from edge_msa.workflows.text import base_name, distill_text, train_text
from edge_msa_export.provenance import Provenance
from edge_msa_runtime import load
from edge_msa_runtime.benchmark.bench import BenchResult, bench_sessions
from edge_msa_runtime.bundle.hashing import file_sha256
from edge_msa_runtime.bundle.loader import Bundle, open_bundle
from edge_msa_runtime.bundle.manifest import MANIFEST_NAME
from edge_msa_runtime.modalities import Subset
from edge_msa_runtime.session import Session

PAGE = "sweep.html"
_REPEATS = 700
"""Timed predictions of a bundle, enough for p99."""
_ALL_TEACHERS = "all teachers"
TOKENS = 24
"""Number of tokens of the timed text. The validation text whose length is closest is used."""


@dataclasses.dataclass(frozen=True)
class _SweepConfig:
    """The options of a sweep."""

    transcripts: tuple[str, ...]
    encoders: Mapping[str, str]
    """The bases of the teachers by name; the name is empty if there is only one."""
    student_encoder: str | None
    output_dir: Path
    seeds: tuple[int, ...]
    target: str
    recipe: AnyPath | Mapping[str, Any] | None
    device: str
    precision: Precision
    task: str | None = None
    texts: tuple[str, ...] = ()

    def teacher(self, base: str, seed: int) -> Path:
        """Return the folder of the teacher with a base and a seed."""
        return self.output_dir / "-".join(filter(None, ("teacher", base, str(seed))))

    def teachers(self, base: str) -> list[Path]:
        """Return the folders of the teachers with a base."""
        return [self.teacher(base, seed) for seed in self.seeds]

    @property
    def all_teachers(self) -> list[Path]:
        """The folders of all teachers."""
        return [path for base in self.encoders for path in self.teachers(base)]

    def run(self, variant: SweepVariant, seed: int) -> Path:
        """Return the folder of the run of a variant that is no teacher."""
        return self.output_dir / f"{variant.name}-{seed}"

    def calibrated(self, variant: SweepVariant, seed: int) -> Path:
        """Return the folder of the calibrated run of a variant."""
        return self.output_dir / f"calibrated-{variant.name}-{seed}"

    def bundle(self, variant: SweepVariant, seed: int) -> Path:
        """Return the folder of the bundle of a variant."""
        return self.output_dir / f"bundle-{variant.name}-{seed}"


@dataclasses.dataclass(frozen=True, repr=False)
class SweepResult(Table):
    """A finished sweep over the sizes of text models."""

    sweep: TextSweep
    """All measured points."""
    path: Path
    """The JSON record."""
    page: Path
    """The HTML page."""

    def __repr__(self) -> str:
        """Return what was measured."""
        return f"<SweepResult on {self.sweep.dataset} for {self.sweep.target}: {len(self.sweep.points)} points>"

    def __str__(self) -> str:
        """Return the table for people."""
        return format_sweep(self.sweep)

    @property
    def rows(self) -> tuple[Row, ...]:
        """One row per size and precision."""
        return tuple(
            {
                "variant": point.variant,
                "precision": point.precision,
                "backend": point.backend,
                "parameters": point.parameters,
                "size_bytes": point.size_bytes,
                "tokens": point.tokens,
                **{f"{name}_ms": value for name, value in point.latency_ms.items()},
                **{name: summary.mean for name, summary in point.metrics.items()},
            }
            for point in self.sweep.points
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return self.sweep.to_json()


@api
def sweep_text(
    transcripts: AnyPath | Sequence[AnyPath],
    *,
    encoder: AnyPath | Sequence[AnyPath],
    output_dir: AnyPath,
    texts: AnyPath | Sequence[AnyPath] = (),
    student_encoder: AnyPath | None = None,
    seeds: int = 3,
    layers: Sequence[int | str | Sequence[int]] = (3, 1),
    target: str = "laptop-x86",
    recipe: AnyPath | Mapping[str, Any] | None = None,
    device: str = "auto",
    precision: Precision = "auto",
    task: str | None = None,
    overwrite: bool = False,
    verbose: bool = False,
    on_progress: OnProgress | None = None,
) -> SweepResult:
    """Compare text models of all sizes: train, distill, export and measure them, and write a page.

    The whole encoders are trained, and distilled into smaller encoders and a static table. The targets are the mean
    predictions of the teachers with one base, or of all teachers, whichever has the lowest error on validation. Results
    that are up to date are reused, so an interrupted sweep continues where it stopped.

    Args:
        transcripts: CSV or feature files with transcripts and scores; the last one is the target corpus.
        encoder: Bases of the teachers: BERT-like encoders, each a folder or a name on the Hugging Face Hub.
        output_dir: Folder for runs, bundles, the record and the page.
        texts: More transcripts that the smaller models learn from, as `texts` of `distill_text`.
        student_encoder: What the smaller encoders and the table start from, as `encoder` of `distill_text` (default:
            the best teacher).
        seeds: Number of trainings per size, with seeds 0, 1, ..., at most 100.
        layers: Layers of each smaller encoder: a number from the first, or indices from 0, such as `[0, 4, 8]`.
        target: Device to export for.
        recipe: Settings of the text models, or a TOML file (default: the presets).
        device: Device to train on: `"auto"`, `"cpu"` or `"cuda"`.
        precision: Training precision: `"auto"`, `"32"` or `"bf16"`.
        task: What the scores mean (default: what the last file states, or what its scores imply).
        overwrite: Whether to replace results of other requests in `output_dir`.
        verbose: Whether to print progress and notes.
        on_progress: Called after every epoch.

    Returns:
        The table of all sizes, and the page.

    Raises:
        UsageError: An argument is invalid, or this process is one of several.

    Examples:
        >>> print(em.sweep_text("reviews.csv", encoder="bert-base-uncased", output_dir="sweep"))
    """
    require_single_process("text sweep")
    files, more = sources_of(transcripts, "transcripts"), sources_of(texts, "texts")
    bases = _named_encoders(encoder)
    student = None if student_encoder is None else source_of(student_encoder, "student_encoder", "a folder or a name")
    check_count(seeds, "seeds", most=100)
    choices = _layer_choices(layers)
    inputs = [*files, *more, *bases.values(), student, recipe]
    folder = output_container(output_dir, "output_dir", inputs)
    _require_scores(files[-1], task)
    config = _SweepConfig(
        tuple(files), bases, student, folder, tuple(range(seeds)), target, recipe, device, precision, task, tuple(more)
    )
    with allow_replacing("upstream"):
        steps = [(base, seed) for base in config.encoders for seed in config.seeds]
        declare_steps(
            [(f"train {base}".strip() + f", seed {seed}", config.teacher(base, seed)) for base, seed in steps]
        )
        for base, seed in steps:
            print_step(f"teacher {base}".strip() + f", seed {seed}")
            with independent_step():
                train_text(
                    files,
                    encoder=config.encoders[base],
                    output_dir=config.teacher(base, seed),
                    recipe=recipe,
                    seed=seed,
                    device=device,
                    precision=precision,
                    task=task,
                )
        if is_dry_run() and not all((path / INFO_NAME).is_file() for path in config.all_teachers):
            declare_steps([("distill, calibrate and export smaller models", None), ("test and bench", None)])
            end_dry_run()
        validation = _Validation(config)
        teacher_variants = [_teacher_variant(base, config) for base in config.encoders]
        candidates = {
            item.name: config.teachers(base) for item, base in zip(teacher_variants, config.encoders, strict=True)
        }
        if len(candidates) > 1:
            candidates[_ALL_TEACHERS] = config.all_teachers
        chosen = teachers = candidates[validation.choose("The smaller models are distilled", candidates)]
        variants = [*teacher_variants, *_student_variants(config, choices, chosen[0])]
        runs: dict[str, list[Path]] = {}
        bundles: dict[str, list[Path]] = {}
        for variant in variants:
            declare_steps(_steps(variant, config))
            with independent_step():
                if variant.text_encoder == "table" and len(runs) < len(variants) - 1:
                    end_dry_run()  # the table depends on all others, which do not exist yet
                if variant.text_encoder == "table":
                    candidates |= runs
                    teachers = candidates[validation.choose("The static table is distilled", candidates)]
                runs[variant.name] = (
                    list(candidates[variant.name])
                    if variant.text_encoder == "teacher"
                    else [_run(variant, seed, teachers, config) for seed in config.seeds]
                )
                bundles[variant.name] = [
                    _bundle(variant, seed, run, config)
                    for seed, run in zip(config.seeds, runs[variant.name], strict=True)
                ]
    declare_steps([("test and bench", None)])
    end_dry_run()
    sweep = _measure(variants, bundles, config, sorted({base_name(load_run(path)) for path in chosen}))
    record = write_text(folder / RECORD_NAME, json.dumps(sweep.to_json(), indent=1) + "\n")
    return SweepResult(sweep, record, write_sweep_page(sweep, folder / PAGE))


def _steps(variant: SweepVariant, config: _SweepConfig) -> list[tuple[str, Path | None]]:
    """Return the names and outputs of the steps of a variant."""
    steps: list[tuple[str, Path | None]] = []
    if variant.text_encoder != "teacher":
        steps += [(f"distill {variant.title}, seed {seed}", config.run(variant, seed)) for seed in config.seeds]
    for seed in config.seeds:
        steps.append((f"calibrate {variant.title}, seed {seed}", config.calibrated(variant, seed)))
        steps.append((f"export {variant.title}, seed {seed}", config.bundle(variant, seed)))
    return steps


def _layer_choices(values: Sequence[object]) -> list[Layers]:
    """Return what each smaller encoder keeps, without repetitions, the largest first."""
    choices = {choice for value in values if (choice := layers_of(value)) is not None}
    return sorted(choices, key=lambda item: (-_count(item), str(item)))


def _count(layers: Layers) -> int:
    """Return how many layers are kept."""
    return layers if isinstance(layers, int) else len(layers)


def _named_encoders(values: AnyPath | Sequence[AnyPath]) -> dict[str, str]:
    """Return the bases of the teachers by a name for folders, which is empty for a single base."""
    encoders = sources_of(values, "encoder")
    if not encoders:
        raise UsageError("encoder must be a folder, a name or a list of them, got an empty list.")
    if len(encoders) == 1:
        return {"": encoders[0]}
    named = {re.sub(r"[^\w.-]", "-", Path(encoder).resolve().name): encoder for encoder in encoders}
    if len(named) < len(encoders):
        raise UsageError(f"The names of --encoder must differ, got {', '.join(encoders)}. Rename a folder.")
    return named


def _teacher_variant(base: str, config: _SweepConfig) -> SweepVariant:
    """Return the variant of the teachers with a base."""
    count = _layers_of_run(config.teacher(base, config.seeds[0]))
    if not base and config.student_encoder is None:
        return SweepVariant(f"layers-{count}", f"encoder, {count} layers", "teacher")
    return SweepVariant(f"teacher-{base}".rstrip("-"), f"teacher {base}".strip() + f", {count} layers", "teacher")


def _student_variants(config: _SweepConfig, layers: Sequence[Layers], teacher: Path) -> Iterator[SweepVariant]:
    """Yield the distilled encoders, and the static table.

    Without another base, students that would keep all layers of the teacher are left out.
    """
    most = _layers_of_run(teacher) if config.student_encoder is None else None
    for kept in layers:
        count = _count(kept)
        if most is None or count < most:
            name, title = f"layers-{count}", f"encoder, {count} layer{'s' * (count > 1)}"
            if not isinstance(kept, int):
                name = f"layer{'s' * (count > 1)}-{'-'.join(map(str, kept))}"
                title += f" ({', '.join(map(str, kept))})"
            yield SweepVariant(name, title, "encoder", kept)
    yield SweepVariant("table", "static table", "table")


def _layers_of_run(run: Path) -> int:
    text_encoder = load_text_input(load_run(run)).text_encoder
    return text_encoder.layers if isinstance(text_encoder, TransformerTextEncoder) else 0


class _Validation:
    """Chooses teachers by the validation error of their mean prediction."""

    def __init__(self, config: _SweepConfig) -> None:
        self._config = config
        self._predictions: dict[Path, FloatArray] = {}

    def choose(self, what: str, candidates: Mapping[str, Sequence[Path]]) -> str:
        """Return the name of the runs whose mean prediction has the lowest MAE, and print the choice.

        A student of several teachers can be better than each of them, and so can the mean of several students.
        """
        if len(candidates) == 1:
            return next(iter(candidates))
        errors = {name: self._error(runs) for name, runs in candidates.items()}
        best = min(errors, key=lambda name: errors[name])
        listed = ", ".join(f"{name} {error:.4f}" for name, error in errors.items())
        print_result(f"{what} from {best} (MAE of the mean prediction on validation: {listed}).")
        return best

    def _error(self, runs: Sequence[Path]) -> float:
        mean = np.mean([self._predict(path) for path in runs], axis=0)
        return float(np.abs(mean - self._split.labels).mean())

    def _predict(self, path: Path) -> FloatArray:
        if path not in self._predictions:
            run, device = load_run(path), resolve_device(self._config.device)
            if is_dry_run():
                model, text_input = load_text_model(run)
                outputs = compute_outputs(model.to(device), text_input, self._split.texts, self._split.earlier)
            else:
                folder = self._config.output_dir / "predictions"
                outputs = load_or_compute_outputs(run, self._split.texts, self._split.earlier, folder, device)
            self._predictions[path] = outputs.predictions[:, 0]
        return self._predictions[path]

    @functools.cached_property
    def _split(self) -> Split:
        run = load_run(self._config.all_teachers[0])
        return open_unencoded_dataset_for_run(run, self._config.transcripts[-1], self._config.task).split("valid")


def _require_scores(source: str, task_name: str | None) -> None:
    """Check that labels are scores, before slow work. Files that state no task have scores, see `train_text`.

    Raises:
        UsageError: They are classes or emotions.
    """
    task = parse_task(task_name)
    with contextlib.suppress(UnstatedTaskError):
        task = open_dataset(source, task=task).task
    if task is not None and not task.is_score:
        raise UsageError(
            f"text sweep compares models by the error of their scores, but the task of {source} is {task.kind}. "
            "Use edge-msa text train and text distill."
        )


def _run(variant: SweepVariant, seed: int, teachers: Sequence[Path], config: _SweepConfig) -> Path:
    """Return the run of a student and a seed. Distill it unless it is up to date."""
    print_step(f"{variant.title}, seed {seed}")
    run = config.run(variant, seed)
    distill_text(
        teachers,
        transcripts=config.transcripts,
        texts=config.texts,
        output_dir=run,
        text_encoder="table" if variant.text_encoder == "table" else "encoder",
        encoder=config.student_encoder,
        layers=variant.layers,
        recipe=config.recipe,
        context=0 if variant.text_encoder == "table" else None,
        seed=seed,
        device=config.device,
        precision=config.precision,
        task=config.task,
    )
    return run


def _bundle(variant: SweepVariant, seed: int, run: Path, config: _SweepConfig) -> Path:
    """Return the bundle of a run. Calibrate and export it unless it is up to date."""
    print_step(f"bundle: {variant.title}, seed {seed}")
    calibrated = config.calibrated(variant, seed)
    calibrate(run, output_dir=calibrated)
    bundle = config.bundle(variant, seed)
    # The table shows the baselines beside every variant.
    return export(calibrated, target=config.target, output_dir=bundle, allow_worse_than_constant=True).path


def _measure(
    variants: Sequence[SweepVariant],
    bundles: Mapping[str, Sequence[Path]],
    config: _SweepConfig,
    teacher_bases: Sequence[str],
) -> TextSweep:
    """Evaluate all bundles on the test split, and measure the latency of one bundle per variant."""
    print_step("test and bench")
    trained = load_run(config.all_teachers[0])
    dataset = open_unencoded_dataset_for_run(trained, config.transcripts[-1], config.task)
    first_bundles = [open_bundle(bundles[variant.name][0]) for variant in variants]
    backend = next(name for name in first_bundles[0].manifest.backends if unavailable_reason(name) is None)
    text = _timed_text(dataset, config.all_teachers[0])
    names = [
        (variant, bundle, precision)
        for variant, bundle in zip(variants, first_bundles, strict=True)
        for precision in bundle.precisions(backend)
    ]
    evaluations: list[Evaluation] = []
    points = []
    estimates = []
    with ExitStack() as stack:
        sessions = [
            stack.enter_context(load(bundle.path, backend=backend, precision=precision))
            for _, bundle, precision in names
        ]
        results = bench_sessions(sessions, subsets=[Subset.L], text=text, repeats=_REPEATS)
        for (variant, bundle, precision), session, result in zip(names, sessions, results, strict=True):
            tested = [_evaluate(path, backend, precision, dataset) for path in bundles[variant.name]]
            evaluations += tested
            points.append(_sweep_point(variant, bundle, session, result, tested))
            estimates.append(Method([item.estimates["l"]["mae"] for item in tested]))
    return TextSweep(
        dataset=dataset.name,
        samples=len(dataset.split("test")),
        seeds=config.seeds,
        target=first_bundles[0].manifest.target,
        points=_with_differences(points, estimates),
        baselines=merge_equal(evaluations[0].baselines),
        teacher_bases=tuple(teacher_bases),
        student_base=base_name(load_run(config.run(variants[-1], config.seeds[0]))),
        machine=describe_machine(),
    )


def _with_differences(points: Sequence[SweepPoint], estimates: Sequence[Method]) -> tuple[SweepPoint, ...]:
    """Return the points with the difference of their MAE from the first one.

    The first point does not depend on the test split. The lowest MAE would be partly lucky, so its differences would
    exclude 0 too often. Precisions of one variant share their trainings, so their seeds are compared in pairs. A test
    split with one sample allows no interval.
    """
    return tuple(
        point
        if index == 0 or not estimates[index].estimates[0].has_variance
        else dataclasses.replace(
            point,
            mae_difference=(compare_paired if point.variant == points[0].variant else compare_methods)(
                estimates[0], estimates[index]
            ),
        )
        for index, point in enumerate(points)
    )


def _sweep_point(
    variant: SweepVariant, bundle: Bundle, session: Session, result: BenchResult, evaluations: Sequence[Evaluation]
) -> SweepPoint:
    latency = result.latencies[0]
    metrics = [dict(item.by_subset["l"]) for item in evaluations]
    return SweepPoint(
        variant=variant.name,
        title=variant.title,
        precision=session.precision,
        precision_title=session.manifest.describe_precision(session.backend, session.precision),
        backend=session.backend,
        parameters=Provenance.from_json(bundle.manifest.provenance).require_parameters(),
        size_bytes=result.file_bytes,
        tokens=latency.frames["language"],
        latency_ms=latency.values_ms,
        metrics={name: SeedSummary.from_values([item[name] for item in metrics]) for name in metrics[0]},
    )


def _evaluate(bundle: Path, backend: str, precision: str, dataset: Dataset) -> Evaluation:
    """Evaluate a bundle on the texts of the test split. The result is cached next to the bundle."""
    cache = bundle.with_name(f"{bundle.name}-{backend}-{precision}.json")
    recipe = {"backend": backend, "precision": precision, "split": "test"}
    inputs = {"bundle": file_sha256(bundle / MANIFEST_NAME), "data": dataset.digest}
    cache_key = compute_cache_key("evaluate", recipe, 0, inputs)
    cached = load_cached(cache, cache_key)
    if cached is not None:
        return Evaluation.from_json(cached)
    with load(bundle, backend=backend, precision=precision) as session:
        source = dataclasses.replace(session_source(session, session.backend), name=bundle.name)
        evaluation, _ = evaluate(session_predictor(session), select_session_inputs(session, dataset), "test", source)
    save_cached(cache, cache_key, evaluation.to_json())
    return evaluation


def _timed_text(dataset: Dataset, teacher: Path) -> str:
    """Return the validation text whose number of tokens is closest to `TOKENS`."""
    texts = dataset.split("valid").texts
    counts = [len(ids) for ids in load_text_input(load_run(teacher)).tokenizer.ids(texts)]
    return min(zip(counts, texts, strict=True), key=lambda item: abs(item[0] - TOKENS))[1]
