"""`edge-msa text sweep`: every variant print_output, exported, measured, and drawn on one picture; a killed call goes on."""

from __future__ import annotations

import dataclasses
import json as json_module
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from edge_msa.artifacts.cache import compute_cache_key, load_cached, save_cached
from edge_msa.artifacts.files import write_text
from edge_msa.artifacts.runs import load_run
from edge_msa.benchmark.machine import describe_machine, unavailable_reason
from edge_msa.console import print_json, print_output, print_result, print_step
from edge_msa.data.dataset import Dataset
from edge_msa.data.opening import open_and_report
from edge_msa.errors import RunUsageError
from edge_msa.evaluation.evaluate import Evaluation, Source, evaluate, once
from edge_msa.evaluation.predictors import by_session, readable_by
from edge_msa.evaluation.reproduction.record import OverSeeds
from edge_msa.models.text_encoders import TransformerTextEncoder
from edge_msa.reporting.text_sweep import (
    RECORD_NAME,
    SweepPoint,
    SweepVariant,
    TextSweep,
    format_sweep,
    write_sweep_page,
)
from edge_msa.training.context import Hardware
from edge_msa.training.text.load import load_text_input
from edge_msa.workflows.calibrate import calibrate_student
from edge_msa.workflows.export import export_once
from edge_msa.workflows.text import distill_text_model, train_text_model
from edge_msa_runtime import load
from edge_msa_runtime.benchmark.bench import BenchResult, bench_sessions
from edge_msa_runtime.bundle.hashing import file_sha256
from edge_msa_runtime.bundle.loader import Bundle, open_bundle
from edge_msa_runtime.bundle.manifest import MANIFEST_NAME
from edge_msa_runtime.modalities import Subset
from edge_msa_runtime.session import Session

PAGE = "sweep.html"
TOKENS = 24
"""Of the utterance that is timed; the validation text that comes nearest is taken."""


@dataclasses.dataclass(frozen=True)
class _SweepConfig:
    """What the whole sweep is asked for."""

    transcripts: tuple[str, ...]
    encoder: str
    output_dir: Path
    seeds: tuple[int, ...]
    target: str
    recipe: Path | None
    hardware: Hardware

    def teacher(self, seed: int) -> Path:
        return self.output_dir / f"teacher-{seed}"


def run_text_sweep(
    transcripts: Sequence[str],
    encoder: str,
    output_dir: Path,
    *,
    seeds: int = 3,
    layers: Sequence[int] = (3, 1),
    target: str = "laptop-x86",
    recipe: Path | None = None,
    hardware: Hardware | None = None,
    json: bool = False,
) -> TextSweep:
    """Make what is not there yet, read test once by each bundle, print the table, write the record and the page."""
    if output_dir.is_file():
        raise RunUsageError(f"{output_dir} is a file: give a folder for runs, bundles and {RECORD_NAME}")
    asked = _SweepConfig(
        tuple(transcripts), encoder, output_dir, tuple(range(seeds)), target, recipe, hardware or Hardware()
    )
    for seed in asked.seeds:
        print_step(f"teacher, seed {seed}")
        train_text_model(
            transcripts,
            asked.teacher(seed),
            encoder=encoder,
            recipe=recipe,
            seed=seed,
            hardware=asked.hardware,
            in_pipeline=True,
        )
    variants = list(_variants(asked, layers))
    runs: dict[str, list[Path]] = {}
    bundles: dict[str, list[Path]] = {}
    for variant in variants:
        teachers = _best(runs) if variant.text_encoder == "table" else [asked.teacher(seed) for seed in asked.seeds]
        runs[variant.name] = [_run(variant, seed, teachers, asked) for seed in asked.seeds]
        bundles[variant.name] = [
            _bundle(variant, seed, run, asked) for seed, run in zip(asked.seeds, runs[variant.name], strict=True)
        ]
    sweep = _measured(variants, bundles, asked)
    write_text(output_dir / RECORD_NAME, json_module.dumps(sweep.to_json(), indent=1) + "\n")
    print_result(f"\n{format_sweep(sweep)}\n")
    print_output("record", output_dir / RECORD_NAME)
    print_output("page", write_sweep_page(sweep, output_dir / PAGE))
    if json:
        print_json(sweep.to_json())
    return sweep


def _variants(asked: _SweepConfig, layers: Sequence[int]) -> Iterator[SweepVariant]:
    """The teachers, encoders of fewer layers, and the table."""
    text_encoder = load_text_input(load_run(asked.teacher(asked.seeds[0]))).text_encoder
    whole = text_encoder.layers if isinstance(text_encoder, TransformerTextEncoder) else 0
    yield SweepVariant(f"layers-{whole}", f"encoder, {whole} layers", "teacher")
    for count in sorted(set(layers), reverse=True):
        if count < whole:
            yield SweepVariant(f"layers-{count}", f"encoder, {count} layer{'s' * (count > 1)}", "encoder", count)
    yield SweepVariant("table", "static table", "table")


def _best(runs: Mapping[str, Sequence[Path]]) -> Sequence[Path]:
    """The readers of the variant that reads validation best: the static table, which is last, learns from them.

    A smaller encoder that learned from the mean of several teachers may be better than each of them.
    """
    means = {
        name: sum(load_run(path).info.validation_metric for path in paths) / len(paths) for name, paths in runs.items()
    }
    chosen = min(means, key=lambda name: means[name])
    told = ", ".join(f"{name} {mean:.4f}" for name, mean in means.items())
    print_result(f"the static table learns from {chosen} (validation: {told})")
    return runs[chosen]


def _run(variant: SweepVariant, seed: int, teachers: Sequence[Path], asked: _SweepConfig) -> Path:
    """The variant's reader of that seed; what is there already is kept."""
    if variant.text_encoder == "teacher":
        return asked.teacher(seed)
    print_step(f"{variant.title}, seed {seed}")
    run = asked.output_dir / f"{variant.name}-{seed}"
    distill_text_model(
        teachers,
        asked.transcripts,
        run,
        text_encoder=variant.text_encoder,
        layers=variant.layers,
        recipe=asked.recipe,
        seed=seed,
        hardware=asked.hardware,
        in_pipeline=True,
    )
    return run


def _bundle(variant: SweepVariant, seed: int, run: Path, asked: _SweepConfig) -> Path:
    """Its bundle: calibrated, exported; what is there already is kept."""
    print_step(f"bundle: {variant.title}, seed {seed}")
    calibrated = asked.output_dir / f"calibrated-{variant.name}-{seed}"
    calibrate_student(None, run, calibrated, in_pipeline=True)
    return export_once(asked.target, asked.output_dir / f"bundle-{variant.name}-{seed}", calibrated)


def _measured(
    variants: Sequence[SweepVariant], bundles: Mapping[str, Sequence[Path]], asked: _SweepConfig
) -> TextSweep:
    print_step("test and bench")
    dataset = open_and_report(asked.transcripts[-1], None)
    first = [open_bundle(bundles[variant.name][0]) for variant in variants]
    backend = next(name for name in first[0].manifest.backends if unavailable_reason(name) is None)
    sessions = [
        load(bundle.path, backend=backend, precision=precision)
        for bundle in first
        for precision in bundle.precisions(backend)
    ]
    text = _timed_text(dataset, asked.teacher(asked.seeds[0]))
    results = bench_sessions(sessions, subsets=[Subset.L], text=text, repeats=400)
    evaluations: list[Evaluation] = []
    points = []
    names = [
        (variant, bundle) for variant, bundle in zip(variants, first, strict=True) for _ in bundle.precisions(backend)
    ]
    for (variant, bundle), session, result in zip(names, sessions, results, strict=True):
        read = [_test(path, backend, session.precision, dataset) for path in bundles[variant.name]]
        evaluations += read
        points.append(_sweep_point(variant, bundle, session, result, read))
        session.close()
    return TextSweep(
        dataset=dataset.name,
        samples=len(dataset.split("test")),
        seeds=asked.seeds,
        target=first[0].manifest.target,
        points=tuple(points),
        baselines=once(evaluations[0].baselines),
        machine=describe_machine(),
    )


def _sweep_point(
    variant: SweepVariant, bundle: Bundle, session: Session, result: BenchResult, read: Sequence[Evaluation]
) -> SweepPoint:
    latency = result.latencies[0]
    metrics = [dict(item.by_subset["l"]) for item in read]
    return SweepPoint(
        variant=variant.name,
        title=variant.title,
        precision=session.precision,
        backend=session.backend,
        parameters=int(bundle.manifest.provenance["parameters"]),
        size_bytes=result.file_bytes,
        tokens=latency.frames["language"],
        latency_ms={"p50": latency.p50_ms, "p90": latency.p90_ms}
        | ({} if latency.p99_ms is None else {"p99": latency.p99_ms}),
        metrics={name: OverSeeds.of([item[name] for item in metrics]) for name in metrics[0]},
    )


def _test(bundle: Path, backend: str, precision: str, dataset: Dataset) -> Evaluation:
    """Test, read by the bundle from raw words; kept beside it, so that it is read once."""
    kept = bundle.with_name(f"{bundle.name}-{backend}-{precision}.json")
    recipe = {"backend": backend, "precision": precision, "split": "test"}
    inputs = {"bundle": file_sha256(bundle / MANIFEST_NAME), "data": dataset.digest}
    cache_key = compute_cache_key("evaluate", recipe, 0, inputs)
    cached = load_cached(kept, cache_key)
    if cached is not None:
        return Evaluation.from_json(cached)
    with load(bundle, backend=backend, precision=precision) as session:
        source = Source(bundle.name, "bundle", session.precision, session.backend, session.device)
        evaluation, _ = evaluate(by_session(session), readable_by(session, dataset), "test", source)
    save_cached(kept, cache_key, evaluation.to_json())
    return evaluation


def _timed_text(dataset: Dataset, teacher: Path) -> str:
    texts = dataset.split("valid").texts
    counts = [len(ids) for ids in load_text_input(load_run(teacher)).tokenizer.ids(texts)]
    return min(zip(counts, texts, strict=True), key=lambda item: abs(item[0] - TOKENS))[1]
