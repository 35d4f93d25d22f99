"""`edge-msa language ladder`: every rung made, exported, measured, and drawn on one picture; a killed call goes on."""

from __future__ import annotations

import dataclasses
import json as json_module
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_msa.data.dataset import Dataset
from edge_msa.errors import RunUsageError
from edge_msa.evaluation import Evaluation, Source, evaluate, once
from edge_msa.files import write_text
from edge_msa.flow.calibrate import calibrate_student
from edge_msa.flow.console import made, say, say_json, step
from edge_msa.flow.data import opened
from edge_msa.flow.export import export_once
from edge_msa.flow.language import distill_language, train_language
from edge_msa.flow.machine import machine, unavailable
from edge_msa.flow.readings import by_session, readable_by
from edge_msa.ladder.picture import write_page
from edge_msa.ladder.record import NAME, Ladder, Rung, Step
from edge_msa.ladder.table import format_ladder
from edge_msa.models.fronts import EncoderFront
from edge_msa.runs import file_digest, read_run
from edge_msa.study.record import OverSeeds
from edge_msa.training.engine import Hardware
from edge_msa.training.readers import spoken_of
from edge_msa_runtime import load
from edge_msa_runtime.bench import BenchResult, bench_sessions
from edge_msa_runtime.bundle import Bundle, open_bundle
from edge_msa_runtime.manifest import MANIFEST_NAME
from edge_msa_runtime.modalities import Subset
from edge_msa_runtime.session import Session

PAGE = "ladder.html"
TOKENS = 24
"""Of the utterance that is timed; the validation text that comes nearest is taken."""


@dataclasses.dataclass(frozen=True)
class _Climb:
    """What the whole ladder is asked for."""

    transcripts: tuple[str, ...]
    encoder: str
    output_dir: Path
    seeds: tuple[int, ...]
    target: str
    recipe: Path | None
    hardware: Hardware

    def teacher(self, seed: int) -> Path:
        return self.output_dir / f"teacher-{seed}"


def climb(
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
) -> Ladder:
    """Make what is not there yet, read test once by each bundle, print the table, write the record and the page."""
    if output_dir.is_file():
        raise RunUsageError(f"{output_dir} is a file: give a folder for runs, bundles and {NAME}")
    asked = _Climb(tuple(transcripts), encoder, output_dir, tuple(range(seeds)), target, recipe, hardware or Hardware())
    for seed in asked.seeds:
        step(f"teacher, seed {seed}")
        train_language(
            transcripts,
            asked.teacher(seed),
            encoder=encoder,
            recipe=recipe,
            seed=seed,
            hardware=asked.hardware,
            in_pipeline=True,
        )
    rungs = list(_rungs(asked, layers))
    runs: dict[str, list[Path]] = {}
    bundles: dict[str, list[Path]] = {}
    for rung in rungs:
        teachers = _best(runs) if rung.front == "table" else [asked.teacher(seed) for seed in asked.seeds]
        runs[rung.name] = [_run(rung, seed, teachers, asked) for seed in asked.seeds]
        bundles[rung.name] = [
            _bundle(rung, seed, run, asked) for seed, run in zip(asked.seeds, runs[rung.name], strict=True)
        ]
    ladder = _measured(rungs, bundles, asked)
    write_text(output_dir / NAME, json_module.dumps(ladder.to_json(), indent=1) + "\n")
    say(f"\n{format_ladder(ladder)}\n")
    made("record", output_dir / NAME)
    made("page", write_page(ladder, output_dir / PAGE))
    if json:
        say_json(ladder.to_json())
    return ladder


def _rungs(asked: _Climb, layers: Sequence[int]) -> Iterator[Rung]:
    """The teachers, encoders of fewer layers, and the table."""
    front = spoken_of(read_run(asked.teacher(asked.seeds[0]))).front
    whole = front.layers if isinstance(front, EncoderFront) else 0
    yield Rung(f"layers-{whole}", f"encoder, {whole} layers", "teacher")
    for count in sorted(set(layers), reverse=True):
        if count < whole:
            yield Rung(f"layers-{count}", f"encoder, {count} layer{'s' * (count > 1)}", "encoder", count)
    yield Rung("table", "static table", "table")


def _best(runs: Mapping[str, Sequence[Path]]) -> Sequence[Path]:
    """The readers of the rung that reads validation best: the static table, which is last, learns from them.

    A smaller encoder that learned from the mean of several teachers may be better than each of them.
    """
    means = {
        name: sum(float(read_run(path).info.metrics["validation_metric"]) for path in paths) / len(paths)
        for name, paths in runs.items()
    }
    chosen = min(means, key=lambda name: means[name])
    told = ", ".join(f"{name} {mean:.4f}" for name, mean in means.items())
    say(f"the static table learns from {chosen} (validation: {told})")
    return runs[chosen]


def _run(rung: Rung, seed: int, teachers: Sequence[Path], asked: _Climb) -> Path:
    """The rung's reader of that seed; what is there already is kept."""
    if rung.front == "teacher":
        return asked.teacher(seed)
    step(f"{rung.title}, seed {seed}")
    run = asked.output_dir / f"{rung.name}-{seed}"
    distill_language(
        teachers,
        asked.transcripts,
        run,
        front=rung.front,
        layers=rung.layers,
        recipe=asked.recipe,
        seed=seed,
        hardware=asked.hardware,
        in_pipeline=True,
    )
    return run


def _bundle(rung: Rung, seed: int, run: Path, asked: _Climb) -> Path:
    """Its bundle: calibrated, exported; what is there already is kept."""
    step(f"bundle: {rung.title}, seed {seed}")
    calibrated = asked.output_dir / f"calibrated-{rung.name}-{seed}"
    calibrate_student(None, run, calibrated, in_pipeline=True)
    return export_once(asked.target, asked.output_dir / f"bundle-{rung.name}-{seed}", calibrated)


def _measured(rungs: Sequence[Rung], bundles: Mapping[str, Sequence[Path]], asked: _Climb) -> Ladder:
    step("test and bench")
    dataset = opened(asked.transcripts[-1], None)
    first = [open_bundle(bundles[rung.name][0]) for rung in rungs]
    engine = next(name for name in first[0].manifest.engines if unavailable(name) is None)
    sessions = [
        load(bundle.path, engine=engine, precision=precision)
        for bundle in first
        for precision in bundle.precisions(engine)
    ]
    text = _timed_text(dataset, asked.teacher(asked.seeds[0]))
    results = bench_sessions(sessions, subsets=[Subset.L], text=text, repeats=400)
    evaluations: list[Evaluation] = []
    steps = []
    names = [(rung, bundle) for rung, bundle in zip(rungs, first, strict=True) for _ in bundle.precisions(engine)]
    for (rung, bundle), session, result in zip(names, sessions, results, strict=True):
        read = [_test(path, engine, session.precision, dataset) for path in bundles[rung.name]]
        evaluations += read
        steps.append(_step(rung, bundle, session, result, read))
        session.close()
    return Ladder(
        dataset=dataset.name,
        samples=len(dataset.split("test")),
        seeds=asked.seeds,
        target=first[0].manifest.target,
        steps=tuple(steps),
        floors=once(evaluations[0].floors),
        machine=machine(),
    )


def _step(rung: Rung, bundle: Bundle, session: Session, result: BenchResult, read: Sequence[Evaluation]) -> Step:
    latency = result.latencies[0]
    metrics = [dict(item.by_subset["l"]) for item in read]
    return Step(
        rung=rung.name,
        title=rung.title,
        precision=session.precision,
        engine=session.engine,
        parameters=int(bundle.manifest.provenance["parameters"]),
        size_bytes=result.file_bytes,
        tokens=latency.frames["language"],
        latency_ms={"p50": latency.p50, "p90": latency.p90} | ({} if latency.p99 is None else {"p99": latency.p99}),
        metrics={name: OverSeeds.of([item[name] for item in metrics]) for name in metrics[0]},
    )


def _test(bundle: Path, engine: str, precision: str, dataset: Dataset) -> Evaluation:
    """Test, read by the bundle from raw words; kept beside it, so that it is read once."""
    kept = bundle.with_name(f"{bundle.name}-{engine}-{precision}.json")
    digest = file_digest(bundle / MANIFEST_NAME) + dataset.digest
    if kept.is_file():
        value: dict[str, Any] = json_module.loads(kept.read_text(encoding="utf-8"))
        if value.get("of") == digest:
            return Evaluation.from_json(value["evaluation"])
    with load(bundle, engine=engine, precision=precision) as session:
        source = Source(bundle.name, "bundle", session.precision, session.engine, session.device)
        evaluation, _ = evaluate(by_session(session), readable_by(session, dataset), "test", source)
    write_text(kept, json_module.dumps({"of": digest, "evaluation": evaluation.to_json()}) + "\n")
    return evaluation


def _timed_text(dataset: Dataset, teacher: Path) -> str:
    texts = dataset.split("valid").texts
    counts = [len(ids) for ids in spoken_of(read_run(teacher)).words.ids(texts)]
    return min(zip(counts, texts, strict=True), key=lambda item: abs(item[0] - TOKENS))[1]
