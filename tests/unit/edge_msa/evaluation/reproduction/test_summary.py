"""Test the record, tables and plots of a reproduction on known predictions."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_msa.data.dataset import Dataset, FloatArray, Frames, Split
from edge_msa.data.tasks import EMOTIONS, MOSI, REGRESSION, SIMS, Task
from edge_msa.errors import EdgeMsaError
from edge_msa.evaluation.metrics import BEST_CONSTANT, MEDIAN, baseline_constants, measure, measure_constants
from edge_msa.evaluation.reproduction.conditions import all_conditions, predict_conditions
from edge_msa.evaluation.reproduction.plots import PLOT_NAMES, write_plots
from edge_msa.evaluation.reproduction.published import PaperName
from edge_msa.evaluation.reproduction.record import Reproduction, SeedSummary
from edge_msa.evaluation.reproduction.summary import ReproductionConfig, TrainedVariant, summarize, variant_conditions
from edge_msa.evaluation.reproduction.table import cell, format_reproduction
from edge_msa.evaluation.reproduction.variants import FULL_METHOD, Variant
from edge_msa_runtime.modalities import MODALITIES, Subset

WORSE = Variant("without-frf", "without FRF", {"frf": 0.0})


def split_of(seed: int, names: tuple[str, ...], task: Task, *, samples: int = 60, videos: int = 12) -> Split:
    generator = np.random.default_rng(seed)
    shape = samples if task.is_score else (samples, task.outputs)
    bound = 1.0 if task.kind == "sims" else 3.0
    labels = generator.uniform(-bound, bound, shape) if task.is_score else generator.random(shape) < 0.4
    frames = {
        name: Frames(np.ones((samples, 4), np.bool_), generator.normal(0, 1, (samples, 4, 2)).astype(np.float32))
        for name in names
    }
    groups = tuple(f"v{row % videos}" for row in range(samples))
    return Split(tuple(map(str, range(samples))), groups, labels.astype(np.float32), frames)


def dataset_of(task: Task = MOSI, names: tuple[str, ...] = MODALITIES, *, videos: int = 12) -> Dataset:
    splits = {name: split_of(seed, names, task, videos=videos) for seed, name in enumerate(("train", "valid", "test"))}
    return Dataset("toy", task, splits, "digest")  # type: ignore[arg-type]


def trained(dataset: Dataset, variant: Variant, skill: float, seeds: int) -> TrainedVariant:
    """Return predictions that approach the labels with more valid frames, plus noise of each seed."""
    split = dataset.split("test")
    std = {name: np.ones(2, np.float32) for name in MODALITIES}
    predictions = []
    for seed in range(seeds):
        noise = np.random.default_rng([seed, int(10 * skill)])

        def predict(part: Split, subset: Subset, noise: np.random.Generator = noise) -> FloatArray:
            seen = np.mean([part.modalities[name].valid.mean() for name in subset.modalities])
            labels = part.labels if dataset.task.is_score else 2 * part.labels - 1
            return np.asarray(skill * seen * labels + noise.normal(0, 0.5, labels.shape), np.float32)

        conditions = variant_conditions(variant, split)
        result = predict_conditions(predict, split, conditions, std, seed=seed)
        predictions.append({condition.key: values for condition, values in result})
    return TrainedVariant(variant, tuple(f"run{seed}" for seed in range(seeds)), tuple(predictions))


def record_of(
    dataset: Dataset | None = None,
    *,
    seeds: int = 2,
    paper: PaperName = "mosi",
    noise: bool = True,
    variants: tuple[tuple[Variant, float], ...] = ((FULL_METHOD, 1.0), (WORSE, 0.2)),
) -> Reproduction:
    data = dataset or dataset_of()
    config = ReproductionConfig("hrlf", paper, {"epochs": 1}, tuple(range(seeds)), noise)
    return summarize(config, data, [trained(data, variant, skill, seeds) for variant, skill in variants])


@pytest.fixture(scope="module")
def record() -> Reproduction:
    return record_of()


def test_each_condition_has_mean_and_deviation(record: Reproduction) -> None:
    data = dataset_of()
    split = data.split("test")
    predictions = trained(data, FULL_METHOD, 1.0, 2).predictions
    for condition in all_conditions(split):
        errors = [measure(MOSI, split.labels, one[condition.key])["mae"] for one in predictions]
        result = record.full.conditions[condition.key]["mae"]
        assert result.values == pytest.approx(errors)
        assert result.mean == pytest.approx(np.mean(errors))
        assert result.deviation == pytest.approx(np.std(errors, ddof=1))


def test_the_average_is_over_six_incomplete_subsets(record: Reproduction) -> None:
    six = [record.full.conditions[name]["mae"].values for name in ("l", "a", "v", "la", "lv", "av")]
    assert record.full.average["mae"].values == pytest.approx(tuple(np.mean(six, axis=0)))


def test_one_seed_has_no_standard_deviation() -> None:
    record = record_of(seeds=1)
    assert record.full.conditions["lav"]["mae"].deviation is None
    assert "±" not in format_reproduction(record).replace("mean ±", "")
    assert "1 seed, so there are no standard deviations" in format_reproduction(record)
    assert cell(SeedSummary.from_values([0.5, 0.5]), "mae") == "0.500 ± 0.000"


def test_only_different_variants_exclude_0() -> None:
    alike = replace(WORSE, name="without-hal", title="without HAL")
    result = record_of(variants=((FULL_METHOD, 1.0), (WORSE, 0.2), (alike, 1.0)), seeds=4).differences
    differences = {(item.variant, item.reference, item.condition, item.metric): item for item in result}
    for condition in ("lav", "average"):
        assert differences["without-frf", "full", condition, "mae"].is_significant
        assert differences["without-frf", "full", condition, "mae"].low > 0
        assert not differences["without-hal", "full", condition, "mae"].is_significant
    (against,) = {item.reference for item in result if (item.variant, item.metric) == ("full", "f1_non0")}
    assert differences["full", against, "lav", "f1_non0"].low > 0
    assert len(result) == 3 * 8 * 2


@pytest.mark.case("E1")
def test_the_average_difference_is_the_difference_of_the_averages(record: Reproduction) -> None:
    item = next(item for item in record.differences if (item.variant, item.condition) == (WORSE.name, "average"))
    expected = record.variants[1].average[item.metric].mean - record.full.average[item.metric].mean
    assert item.value == pytest.approx(expected)


@pytest.mark.case("E1")
def test_one_seed_claims_nothing_about_the_methods() -> None:
    record = record_of(variants=((FULL_METHOD, 1.0), (WORSE, 0.2)), seeds=1)
    assert not any(item.is_significant for item in record.differences)
    text = format_reproduction(record)
    ablations = text[text.index("ablations;") : text.index("noise that")]
    assert "*" not in ablations.partition("\n\n")[2]
    assert "cover the choice of videos, not seeds" in text
    assert "they compare these trainings, not the methods" in text
    assert "1 of 20" not in text


def test_the_method_is_compared_with_the_better_baseline() -> None:
    """For mostly mildly positive labels, 0 is the best whole number, but half of its signs are wrong."""
    data = dataset_of()
    for split in data.splits.values():
        split.labels[:] = np.where(np.arange(len(split)) % 4, 0.4, -1.0)
    result = {item.metric: item for item in record_of(data, variants=((FULL_METHOD, 1.0),), noise=False).differences}
    errors = {
        baseline: metrics["lav"]
        for baseline, metrics in record_of(data, variants=((FULL_METHOD, 1.0),), noise=False).baselines.items()
    }
    assert errors[MEDIAN]["f1_non0"] > errors[BEST_CONSTANT]["f1_non0"]
    assert result["f1_non0"].reference == MEDIAN
    better = min(errors, key=lambda baseline: errors[baseline]["mae"])
    assert result["mae"].reference == better


def test_a_difference_counts_agreeing_seeds(record: Reproduction) -> None:
    for item in record.differences:
        if item.variant != "full" and item.condition != "average":
            pairs = zip(
                record.variants[1].conditions[item.condition][item.metric].values,
                record.full.conditions[item.condition][item.metric].values,
                strict=True,
            )
            assert item.agreeing_seeds == sum((worse - full) * item.value > 0 for worse, full in pairs)
    lav = next(item for item in record.differences if (item.variant, item.condition) == (WORSE.name, "lav"))
    assert lav.agreeing_seeds == 2
    assert "2 of 2" in format_reproduction(record)


def test_different_ablations_are_marked() -> None:
    alike = replace(WORSE, name="without-hal", title="without HAL")
    text = format_reproduction(
        record_of(variants=((FULL_METHOD, 1.0), (WORSE, 0.2), (alike, 1.0)), seeds=4, paper="none")
    )
    table = text[text.index("ablations;") : text.index("noise that")]
    worse, same = ([row for row in table.splitlines() if name in row] for name in ("without FRF", "without HAL"))
    assert all(row.rstrip().endswith("*") for row in worse)
    assert not any("*" in row for row in same)
    assert "For equally good methods, about 1 of 20 excludes 0 by chance" in text


def test_both_baselines_have_all_columns(record: Reproduction) -> None:
    data = dataset_of()
    labels = data.split("test").labels
    expected = measure_constants(MOSI, baseline_constants(MOSI, data.split("train").labels, labels), labels)
    for baseline in (MEDIAN, BEST_CONSTANT):
        assert set(record.baselines[baseline]) == {"l", "a", "v", "la", "lv", "av", "lav", "average"}
        assert record.baselines[baseline]["lv"] == expected[baseline]
    text = format_reproduction(record).partition("with a share p")[0]
    assert text.count("baseline: median") == len(record.metrics)
    assert text.count("baseline: best constant") == len(record.metrics)
    assert text.count("best constant, swapped arguments") == 2


def test_baselines_use_the_samples_of_each_subset() -> None:
    data = dataset_of()
    data.split("test").modalities["audio"].valid[:40] = False
    result = record_of(data, variants=((FULL_METHOD, 1.0),), noise=False)
    assert result.counts["a"] == 20
    assert result.baselines[BEST_CONSTANT]["a"] != result.baselines[BEST_CONSTANT]["l"]
    assert "a: 40 of 60 test samples without a valid frame excluded" in format_reproduction(result)


@pytest.mark.case("E6")
def test_published_rows_come_before_the_reproduction(record: Reproduction) -> None:
    lines = format_reproduction(record).splitlines()
    places = [
        next(i for i, line in enumerate(lines) if part in line)
        for part in ("HRLF, paper", " this reproduction ", "baseline:")
    ]
    assert places == sorted(places)
    assert "84.15" in lines[places[0]]
    ablated = next(line for line in lines if "without FRF, paper" in line)
    assert "74.43" in ablated
    first_of_group = next(index for index, line in enumerate(lines) if line.startswith("F1 Non0"))
    assert first_of_group <= places[0]
    assert "F1, published" not in format_reproduction(record)
    assert "negative against positive (Non0), as here" in next(line for line in lines if line.startswith("note:"))


def test_without_a_paper_no_published_rows_are_shown() -> None:
    text = format_reproduction(record_of(paper="none", variants=((FULL_METHOD, 1.0),), noise=False))
    assert "paper" not in text
    assert "published" not in text


@pytest.mark.parametrize(
    ("task", "headline", "paper"),
    [(SIMS, "f1", "none"), (EMOTIONS, "f1_average", "iemocap"), (REGRESSION, "corr", "none")],
    ids=["sims", "emotions", "regression"],
)
def test_every_task_has_its_own_metrics(task: Task, headline: str, paper: PaperName) -> None:
    record = record_of(dataset_of(task), paper=paper, variants=((FULL_METHOD, 1.0),))
    assert record.headline == headline
    text = format_reproduction(record)
    for metric in measure(task, dataset_of(task).split("test").labels, dataset_of(task).split("test").labels):
        assert metric in record.full.conditions["lav"]
    assert ("88.1" in text) == (task is EMOTIONS)
    assert "excludes 0" in text
    assert ("swapped arguments" in text) == (task is not REGRESSION)


def test_an_absent_modality_is_noted() -> None:
    record = record_of(dataset_of(names=("language", "audio")), variants=((FULL_METHOD, 1.0),))
    assert record.subsets == ("l", "a", "la")
    text = format_reproduction(record)
    assert "v, lv, av, lav cannot be measured" in text
    assert "vision, smoothing" not in text
    assert "audio, drop-outs" in text


def test_a_modality_without_training_frames_is_noted() -> None:
    data = dataset_of()
    data.split("train").modalities["language"].valid[:] = False
    assert "language: the train split has no valid frame" in format_reproduction(record_of(data, noise=False))


def test_too_few_videos_are_noted() -> None:
    record = record_of(dataset_of(videos=3), variants=((FULL_METHOD, 1.0),), noise=False)
    assert {item.unit for item in record.differences} == {"samples"}
    assert "too few videos" in format_reproduction(record)


def test_a_record_survives_a_json_round_trip(record: Reproduction) -> None:
    assert Reproduction.from_json(json.loads(json.dumps(record.to_json()))) == record


@pytest.mark.parametrize(
    ("change", "advice"),
    [({"record": "bench"}, "Reproduce again"), ({"schema": 9}, "update edge-msa"), ({"surplus": 1}, "Reproduce again")],
)
def test_another_record_is_refused(change: dict[str, object], advice: str, record: Reproduction) -> None:
    with pytest.raises(EdgeMsaError, match=advice):
        Reproduction.from_json({**record.to_json(), **change})


def test_requested_plots_are_written(record: Reproduction, tmp_path: Path) -> None:
    assert [path.name for path in write_plots(record, tmp_path / "all")] == list(PLOT_NAMES)
    for path in (tmp_path / "all").iterdir():
        assert path.read_bytes().startswith(b"\x89PNG")
    plain = record_of(seeds=1, noise=False, variants=((FULL_METHOD, 1.0),))
    assert [path.name for path in write_plots(plain, tmp_path / "plain")] == [PLOT_NAMES[0]]
