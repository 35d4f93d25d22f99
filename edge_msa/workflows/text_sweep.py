"""`edge-msa text sweep`: train, export and measure text models of all sizes, and plot them on one page."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from edge_msa.arguments import AnyPath, check_count, layers_of, source_of, sources_of
from edge_msa.artifacts.cache import compute_cache_key, load_cached, save_cached
from edge_msa.artifacts.dry_run import declare_steps, end_dry_run, independent_step, is_dry_run
from edge_msa.artifacts.files import write_text
from edge_msa.artifacts.requests import allow_replacing
from edge_msa.artifacts.runs import INFO_NAME, load_run
from edge_msa.benchmark.machine import describe_machine, unavailable_reason
from edge_msa.console import print_result, print_step
from edge_msa.data.dataset import Dataset
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
from edge_msa.training.run_data import open_unencoded_dataset_for_run
from edge_msa.training.shared_runs import require_single_process
from edge_msa.training.text.load import load_text_input
from edge_msa.workflows.api import OnProgress, api
from edge_msa.workflows.calibrate import calibrate
from edge_msa.workflows.export import export
from edge_msa.workflows.outputs import output_container
from edge_msa.workflows.text import distill_text, train_text
from edge_msa_export.provenance import Provenance
from edge_msa_runtime import load
from edge_msa_runtime.benchmark.bench import BenchResult, bench_sessions
from edge_msa_runtime.bundle.hashing import file_sha256
from edge_msa_runtime.bundle.loader import Bundle, open_bundle
from edge_msa_runtime.bundle.manifest import MANIFEST_NAME
from edge_msa_runtime.modalities import Subset
from edge_msa_runtime.session import Session

PAGE = "sweep.html"
TOKENS = 24
"""Number of tokens of the timed text. The validation text whose length is closest is used."""


@dataclasses.dataclass(frozen=True)
class _SweepConfig:
    """The options of a sweep."""

    transcripts: tuple[str, ...]
    encoder: str
    output_dir: Path
    seeds: tuple[int, ...]
    target: str
    recipe: AnyPath | Mapping[str, Any] | None
    device: str
    precision: Precision
    task: str | None = None

    def teacher(self, seed: int) -> Path:
        """Return the folder of the teacher with a seed."""
        return self.output_dir / f"teacher-{seed}"

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
    encoder: AnyPath,
    output_dir: AnyPath,
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

    The whole encoder is trained, and distilled into smaller encoders and a static table. Results that are up to date
    are reused, so an interrupted sweep continues where it stopped.

    Args:
        transcripts: CSV or feature files with transcripts and scores; the last one is the target corpus.
        encoder: BERT-like encoder, a folder or a name on the Hugging Face Hub.
        output_dir: Folder for runs, bundles, the record and the page.
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
    files = sources_of(transcripts, "transcripts")
    encoder = source_of(encoder, "encoder", "a folder or a name")
    check_count(seeds, "seeds", most=100)
    choices = _layer_choices(layers)
    inputs = [*files, encoder, recipe]
    folder = output_container(output_dir, "output_dir", inputs)
    config = _SweepConfig(tuple(files), encoder, folder, tuple(range(seeds)), target, recipe, device, precision, task)
    with allow_replacing("upstream"):
        declare_steps([(f"train, seed {seed}", config.teacher(seed)) for seed in config.seeds])
        for seed in config.seeds:
            print_step(f"teacher, seed {seed}")
            with independent_step():
                train_text(
                    files,
                    encoder=encoder,
                    output_dir=config.teacher(seed),
                    recipe=recipe,
                    seed=seed,
                    device=device,
                    precision=precision,
                    task=task,
                )
        if is_dry_run() and not all((config.teacher(seed) / INFO_NAME).is_file() for seed in config.seeds):
            declare_steps([("distill, calibrate and export smaller models", None), ("test and bench", None)])
            end_dry_run()
        variants = list(_variants(config, choices))
        runs: dict[str, list[Path]] = {}
        bundles: dict[str, list[Path]] = {}
        for variant in variants:
            declare_steps(_steps(variant, config))
            with independent_step():
                if variant.text_encoder == "table" and len(runs) < len(variants) - 1:
                    end_dry_run()  # the table depends on all others, which do not exist yet
                teachers = (
                    _best_runs(runs)
                    if variant.text_encoder == "table"
                    else [config.teacher(seed) for seed in config.seeds]
                )
                runs[variant.name] = [_run(variant, seed, teachers, config) for seed in config.seeds]
                bundles[variant.name] = [
                    _bundle(variant, seed, run, config)
                    for seed, run in zip(config.seeds, runs[variant.name], strict=True)
                ]
    declare_steps([("test and bench", None)])
    end_dry_run()
    sweep = _measure(variants, bundles, config)
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


def _variants(config: _SweepConfig, layers: Sequence[Layers]) -> Iterator[SweepVariant]:
    """Yield the teachers, the encoders with fewer layers, and the static table."""
    text_encoder = load_text_input(load_run(config.teacher(config.seeds[0]))).text_encoder
    all_layers = text_encoder.layers if isinstance(text_encoder, TransformerTextEncoder) else 0
    yield SweepVariant(f"layers-{all_layers}", f"encoder, {all_layers} layers", "teacher")
    for kept in layers:
        count = _count(kept)
        if count < all_layers:
            title = f"encoder, {count} layer{'s' * (count > 1)}"
            name = f"layers-{count}"
            if not isinstance(kept, int):
                title += f" ({', '.join(map(str, kept))})"
                name = f"layer{'s' * (count > 1)}-{'-'.join(map(str, kept))}"
            yield SweepVariant(name, title, "encoder", kept)
    yield SweepVariant("table", "static table", "table")


def _best_runs(runs: Mapping[str, Sequence[Path]]) -> Sequence[Path]:
    """Return the runs of the variant with the best validation metric, to distill the static table from.

    A smaller encoder that was distilled from several teachers can be better than each of them.
    """
    means = {
        name: sum(load_run(path).info.validation_metric for path in paths) / len(paths) for name, paths in runs.items()
    }
    best = min(means, key=lambda name: means[name])
    listed = ", ".join(f"{name} {mean:.4f}" for name, mean in means.items())
    print_result(f"The static table is distilled from {best} (validation: {listed}).")
    return runs[best]


def _run(variant: SweepVariant, seed: int, teachers: Sequence[Path], config: _SweepConfig) -> Path:
    """Return the run of a variant and a seed. Distill it unless it is up to date."""
    if variant.text_encoder == "teacher":
        return config.teacher(seed)
    print_step(f"{variant.title}, seed {seed}")
    run = config.run(variant, seed)
    distill_text(
        teachers,
        transcripts=config.transcripts,
        output_dir=run,
        text_encoder="table" if variant.text_encoder == "table" else "encoder",
        layers=variant.layers,
        recipe=config.recipe,
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
    variants: Sequence[SweepVariant], bundles: Mapping[str, Sequence[Path]], config: _SweepConfig
) -> TextSweep:
    """Evaluate all bundles on the test split, and measure the latency of one bundle per variant."""
    print_step("test and bench")
    trained = load_run(config.teacher(config.seeds[0]))
    dataset = open_unencoded_dataset_for_run(trained, config.transcripts[-1], config.task)
    first_bundles = [open_bundle(bundles[variant.name][0]) for variant in variants]
    backend = next(name for name in first_bundles[0].manifest.backends if unavailable_reason(name) is None)
    text = _timed_text(dataset, config.teacher(config.seeds[0]))
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
        results = bench_sessions(sessions, subsets=[Subset.L], text=text, repeats=400)
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
        latency_ms={"p50": latency.p50_ms, "p90": latency.p90_ms}
        | ({} if latency.p99_ms is None else {"p99": latency.p99_ms}),
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
