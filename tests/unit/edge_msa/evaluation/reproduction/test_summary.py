"""From predictions to the record, its tables and its pictures, on predictions that are known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_msa.data.dataset import Dataset, FloatArray, Frames, Split
from edge_msa.data.tasks import EMOTIONS, MOSI, REGRESSION, SIMS, Task
from edge_msa.errors import EdgeMsaError
from edge_msa.evaluation.metrics import BEST_CONSTANT, MEDIAN, baselines, measure
from edge_msa.evaluation.reproduction.conditions import all_conditions, read_conditions
from edge_msa.evaluation.reproduction.plots import PICTURES, draw
from edge_msa.evaluation.reproduction.published import PaperName
from edge_msa.evaluation.reproduction.record import OverSeeds, Reproduction
from edge_msa.evaluation.reproduction.summary import Asked, Trained, conditions_of, summarize
from edge_msa.evaluation.reproduction.table import cell, format_reproduction
from edge_msa.evaluation.reproduction.variants import WHOLE, Variant
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


def trained(dataset: Dataset, variant: Variant, skill: float, seeds: int) -> Trained:
    """Predictions that are the truth, as far as there are frames, beside noise of their seed."""
    split = dataset.split("test")
    spread = {name: np.ones(2, np.float32) for name in MODALITIES}
    predictions = []
    for seed in range(seeds):
        noise = np.random.default_rng([seed, int(10 * skill)])

        def predict(asked: Split, subset: Subset, noise: np.random.Generator = noise) -> FloatArray:
            seen = np.mean([asked.modalities[name].valid.mean() for name in subset.modalities])
            labels = asked.labels if dataset.task.is_score else 2 * asked.labels - 1
            return np.asarray(skill * seen * labels + noise.normal(0, 0.5, labels.shape), np.float32)

        conditions = conditions_of(variant, split)
        found = read_conditions(predict, split, conditions, spread, seed=seed)
        predictions.append({condition.key: values for condition, values in found})
    return Trained(variant, tuple(f"run{seed}" for seed in range(seeds)), tuple(predictions))


def record_of(
    dataset: Dataset | None = None,
    *,
    seeds: int = 2,
    paper: PaperName = "mosi",
    noise: bool = True,
    variants: tuple[tuple[Variant, float], ...] = ((WHOLE, 1.0), (WORSE, 0.2)),
) -> Reproduction:
    data = dataset or dataset_of()
    asked = Asked("hrlf", paper, {"epochs": 1}, tuple(range(seeds)), noise)
    return summarize(asked, data, [trained(data, variant, skill, seeds) for variant, skill in variants], draws=100)


@pytest.fixture(scope="module")
def record() -> Reproduction:
    return record_of()


def test_every_condition_has_its_mean_and_deviation_over_seeds(record: Reproduction) -> None:
    data = dataset_of()
    split = data.split("test")
    predictions = trained(data, WHOLE, 1.0, 2).predictions
    for condition in all_conditions(split):
        errors = [measure(MOSI, split.labels, one[condition.key])["mae"] for one in predictions]
        found = record.whole.conditions[condition.key]["mae"]
        assert found.values == pytest.approx(errors)
        assert found.mean == pytest.approx(np.mean(errors))
        assert found.deviation == pytest.approx(np.std(errors, ddof=1))


def test_the_average_is_over_the_six_incomplete_conditions(record: Reproduction) -> None:
    six = [record.whole.conditions[name]["mae"].values for name in ("l", "a", "v", "la", "lv", "av")]
    assert record.whole.average["mae"].values == pytest.approx(tuple(np.mean(six, axis=0)))


def test_one_seed_has_no_deviation_rather_than_none_of_it() -> None:
    record = record_of(seeds=1)
    assert record.whole.conditions["lav"]["mae"].deviation is None
    assert "±" not in format_reproduction(record).replace("the seeds ±", "")
    assert "1 seed, so nothing has a deviation" in format_reproduction(record)
    assert cell(OverSeeds.of([0.5, 0.5]), "mae") == "0.500 ± 0.000"


def test_differences_tell_apart_what_differs_and_not_what_is_alike() -> None:
    alike = replace(WORSE, name="without-hal", title="without HAL")
    found = record_of(variants=((WHOLE, 1.0), (WORSE, 0.2), (alike, 1.0)), seeds=1).differences
    told = {(item.what, item.against, item.condition, item.metric): item for item in found}
    assert not told["without-frf", "full", "lav", "mae"].holds_zero
    assert told["without-frf", "full", "lav", "mae"].low > 0
    assert told["without-hal", "full", "lav", "mae"].holds_zero
    (against,) = {item.against for item in found if (item.what, item.metric) == ("full", "f1_non0")}
    assert told["full", against, "lav", "f1_non0"].low > 0
    assert len(found) == 3 * 7 * 2


def test_the_method_stands_against_the_better_baseline_of_each_metric() -> None:
    """Of mostly mildly positive labels 0 is the whole number nearest, and reads half of all signs wrong."""
    data = dataset_of()
    for split in data.splits.values():
        split.labels[:] = np.where(np.arange(len(split)) % 4, 0.4, -1.0)
    found = {item.metric: item for item in record_of(data, variants=((WHOLE, 1.0),), noise=False).differences}
    errors = {
        baseline: metrics["lav"]
        for baseline, metrics in record_of(data, variants=((WHOLE, 1.0),), noise=False).baselines.items()
    }
    assert errors[MEDIAN]["f1_non0"] > errors[BEST_CONSTANT]["f1_non0"]
    assert found["f1_non0"].against == MEDIAN
    better = min(errors, key=lambda baseline: errors[baseline]["mae"])
    assert found["mae"].against == better


def test_a_difference_says_how_many_seeds_go_its_way(record: Reproduction) -> None:
    for item in record.differences:
        if item.what != "full":
            pairs = zip(
                record.variants[1].conditions[item.condition][item.metric].values,
                record.whole.conditions[item.condition][item.metric].values,
                strict=True,
            )
            assert item.agree == sum((worse - full) * item.value > 0 for worse, full in pairs)
    lav = next(item for item in record.differences if (item.what, item.condition) == (WORSE.name, "lav"))
    assert lav.agree == 2
    assert "2 of 2" in format_reproduction(record)


def test_ablations_are_marked_where_they_are_told_apart() -> None:
    alike = replace(WORSE, name="without-hal", title="without HAL")
    text = format_reproduction(record_of(variants=((WHOLE, 1.0), (WORSE, 0.2), (alike, 1.0)), seeds=1, paper="none"))
    table = text[text.index("ablations;") : text.index("noise that")]
    worse, same = ([row for row in table.splitlines() if name in row] for name in ("without FRF", "without HAL"))
    assert all(row.rstrip().endswith("*") for row in worse)
    assert not any("*" in row for row in same)
    assert "one training of each" in text


def test_both_baselines_stand_in_every_column(record: Reproduction) -> None:
    data = dataset_of()
    expected = baselines(MOSI, data.split("train").labels, data.split("test").labels)
    for baseline in (MEDIAN, BEST_CONSTANT):
        assert set(record.baselines[baseline]) == {"l", "a", "v", "la", "lv", "av", "lav", "average"}
        assert record.baselines[baseline]["lv"] == expected[baseline]
    text = format_reproduction(record).partition("with a share p")[0]
    assert text.count("baseline: learned nothing") == len(record.metrics)
    assert text.count("baseline: best constant") == len(record.metrics)
    assert text.count("best constant, arguments swapped") == 2


def test_samples_that_cannot_be_read_from_a_subset_are_left_out_of_its_baseline_too() -> None:
    data = dataset_of()
    data.split("test").modalities["audio"].valid[:40] = False
    found = record_of(data, variants=((WHOLE, 1.0),), noise=False)
    assert found.counts["a"] == 20
    assert found.baselines[BEST_CONSTANT]["a"] != found.baselines[BEST_CONSTANT]["l"]
    assert "a: 40 of 60 test samples have no valid frame of it" in format_reproduction(found)


def test_the_papers_rows_stand_above_ours(record: Reproduction) -> None:
    lines = format_reproduction(record).splitlines()
    places = [
        next(i for i, line in enumerate(lines) if part in line) for part in ("HRLF, paper", " ours ", "baseline:")
    ]
    assert places == sorted(places)
    assert "84.15" in lines[places[0]]
    ablated = next(line for line in lines if "without FRF, paper" in line)
    assert "74.43" in ablated
    assert "F1 leaves out zero labels" in lines[next(i for i, line in enumerate(lines) if line.startswith("note:"))]


def test_without_a_paper_there_are_no_rows_of_one() -> None:
    text = format_reproduction(record_of(paper="none", variants=((WHOLE, 1.0),), noise=False))
    assert "paper" not in text
    assert "in print" not in text


@pytest.mark.parametrize(
    ("task", "headline", "paper"),
    [(SIMS, "f1", "none"), (EMOTIONS, "f1_average", "iemocap"), (REGRESSION, "corr", "none")],
    ids=["sims", "emotions", "regression"],
)
def test_every_task_has_its_own_metrics(task: Task, headline: str, paper: PaperName) -> None:
    record = record_of(dataset_of(task), paper=paper, variants=((WHOLE, 1.0),))
    assert record.headline == headline
    text = format_reproduction(record)
    for metric in measure(task, dataset_of(task).split("test").labels, dataset_of(task).split("test").labels):
        assert metric in record.whole.conditions["lav"]
    assert ("88.1" in text) == (task is EMOTIONS)
    assert "told apart" in text
    assert ("arguments swapped" in text) == (task is not REGRESSION)


def test_a_modality_that_is_missing_is_said_and_its_noise_left_out() -> None:
    record = record_of(dataset_of(names=("language", "audio")), variants=((WHOLE, 1.0),))
    assert record.subsets == ("l", "a", "la")
    text = format_reproduction(record)
    assert "v, lv, av, lav cannot be measured" in text
    assert "vision, smoothing" not in text
    assert "audio, drop-outs" in text


def test_a_stream_that_was_never_learned_is_said() -> None:
    data = dataset_of()
    data.split("train").modalities["language"].valid[:] = False
    assert "language: the training split has no frame of it" in format_reproduction(record_of(data, noise=False))


def test_few_videos_are_said() -> None:
    record = record_of(dataset_of(videos=3), variants=((WHOLE, 1.0),), noise=False)
    assert record.interval_unit == "samples"
    assert "too few videos" in format_reproduction(record)


def test_a_record_survives_json(record: Reproduction) -> None:
    assert Reproduction.from_json(json.loads(json.dumps(record.to_json()))) == record


@pytest.mark.parametrize("change", [{"record": "bench"}, {"schema": 9}, {"surplus": 1}])
def test_another_record_is_refused(change: dict[str, object], record: Reproduction) -> None:
    with pytest.raises(EdgeMsaError, match="reproduce again"):
        Reproduction.from_json({**record.to_json(), **change})


def test_pictures_are_what_was_asked_for(record: Reproduction, tmp_path: Path) -> None:
    assert [path.name for path in draw(record, tmp_path / "all")] == list(PICTURES)
    for path in (tmp_path / "all").iterdir():
        assert path.read_bytes().startswith(b"\x89PNG")
    plain = record_of(seeds=1, noise=False, variants=((WHOLE, 1.0),))
    assert [path.name for path in draw(plain, tmp_path / "plain")] == [PICTURES[0]]
