"""Students of several teachers and of transfer files, on toy archives, and what `compare` and `--qat` make of them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from edge_msa.artifacts.model_spec import ModelSpec
from edge_msa.artifacts.runs import RunInfo, load_run, new_run, write_run
from edge_msa.config.student_recipe import StudentRecipe
from edge_msa.data.dataset import SPLITS, Dataset, Frames, Split
from edge_msa.data.formats.archive import write_archive
from edge_msa.data.tasks import EMOTIONS, MOSI, Task
from edge_msa.errors import DataError, UsageError
from edge_msa.models.student import Student, StudentConfig
from edge_msa.quantization.calibration_files import Calibration, load_calibration
from edge_msa.training.context import Hardware
from edge_msa.training.distillation.setup import prepare_distillation
from edge_msa.training.predict import to_numpy
from edge_msa.workflows.compare import compare_students
from edge_msa.workflows.data import convert
from edge_msa.workflows.distill import distill_student

DIMS = {"language": 4, "audio": 3, "vision": 2}
SMALL = {"student": {"width": 16, "blocks": 1, "tokens": 1, "hidden": 4, "epochs": 1, "batch_size": 8}}
CONTEXT = Hardware("cpu").start()


def archive(path: Path, dims: dict[str, int] | None = None, task: Task = MOSI) -> str:
    rng = np.random.default_rng(0)
    splits = {}
    for name in SPLITS:
        modalities = {
            modality: Frames(np.ones((12, 5), np.bool_), rng.normal(size=(12, 5, dim)).astype(np.float32))
            for modality, dim in (dims or DIMS).items()
        }
        labels = rng.uniform(-2, 2, 12) if task.is_score else rng.integers(0, 2, (12, task.outputs))
        ids = tuple(f"{name}{row}" for row in range(12))
        splits[name] = Split(ids, ids, labels.astype(np.float32), modalities)
    write_archive(Dataset(path.stem, task, splits, ""), path)
    return str(path)


def teacher(path: Path, data: str, dims: dict[str, int] | None = None, task: Task = MOSI) -> Path:
    """A run of an untrained network that reads those modalities."""
    from edge_msa.data.opening import open_dataset

    dataset = open_dataset(data)
    unread = [name for name in dataset.dims if dims is not None and name not in dims]
    spec = ModelSpec.for_training(dataset.without(unread), data)
    torch.manual_seed(len(str(path)))
    config = StudentConfig(spec.dims, width=8, blocks=1, tokens=1, hidden=4, outputs=task.outputs)
    info = RunInfo(
        kind="teacher",
        model="student",
        command="train",
        cache_key=path.name,
        seed=0,
        recipe={},
        config=dataclasses.asdict(config),
        spec=spec,
        inputs={"data": dataset.digest},
        metrics={},
    )
    with new_run(path, path.name) as work:
        write_run(work, info, to_numpy(Student(config)), [])
    return path


@pytest.fixture
def data(tmp_path: Path) -> str:
    return archive(tmp_path / "all.npz")


def test_a_student_reads_what_any_of_its_teachers_reads(data: str, tmp_path: Path) -> None:
    words = teacher(tmp_path / "words", data, {"language": 4})
    others = teacher(tmp_path / "others", data, {"audio": 3, "vision": 2})
    setup = prepare_distillation(None, [words, others], [], None)
    assert list(setup.spec.dims) == ["language", "audio", "vision"]
    assert [list(given.dims) for given in setup.specs] == [["language"], ["audio", "vision"]]
    targets = setup.targets(StudentRecipe(), CONTEXT)
    assert targets is not None
    assert targets.known.tolist() == [False] + [True] * 7
    assert setup.targets(StudentRecipe(epochs=2), CONTEXT) is targets


def test_a_later_teacher_is_not_asked_for_what_has_other_features(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wide = archive(tmp_path / "wide.npz", {"language": 9, "audio": 3})
    first, later = teacher(tmp_path / "first", data), teacher(tmp_path / "later", wide)
    setup = prepare_distillation(data, [first, later], [], None)
    assert list(setup.specs[1].dims) == ["audio"]
    assert "is not asked for language (9 features, not 4)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("dims", "task", "message"),
    [
        ({"language": 9}, MOSI, r"later reads language, and nothing that all has: it has other language \(9 features"),
        (DIMS, EMOTIONS, "later answers the task emotions, the first teacher mosi: give teachers of one task"),
    ],
)
def test_a_teacher_that_does_not_fit_is_one_line(
    data: str, tmp_path: Path, dims: dict[str, int], task: Task, message: str
) -> None:
    other = archive(tmp_path / "other.npz", dims, task)
    runs = [teacher(tmp_path / "first", data), teacher(tmp_path / "later", other, task=task)]
    with pytest.raises(DataError, match=message) as caught:
        prepare_distillation(data, runs, [], None)
    assert "\n" not in str(caught.value)


def test_a_transfer_file_adds_samples_with_and_without_labels_and_modalities(data: str, tmp_path: Path) -> None:
    run = teacher(tmp_path / "first", data)
    blind, words = tmp_path / "blind.npz", archive(tmp_path / "words.npz", {"language": 4})
    convert(data, blind, None, samples="2:5", unlabeled=True)
    setup = prepare_distillation(data, [run], [str(blind), words], None)
    train = setup.dataset.split("train")
    assert len(train) == 12 + 3 + 12
    assert np.isnan(train.labels).tolist() == [False] * 12 + [True] * 3 + [False] * 12
    assert train.modalities["audio"].valid.any(axis=1).tolist() == [True] * 15 + [False] * 12
    made = distill_student(data, [run], tmp_path / "student", transfer=[str(blind), words], recipe=SMALL)
    assert made.info.metrics["best_epoch"] == 1


def test_a_transfer_file_of_other_features_is_one_line(data: str, tmp_path: Path) -> None:
    run, other = teacher(tmp_path / "first", data), archive(tmp_path / "other.npz", {"audio": 7})
    with pytest.raises(DataError, match="audio must have 3 features per frame, got 7 in other"):
        prepare_distillation(data, [run], [other], None)


def test_a_teacher_is_not_trained_on_samples_without_labels(data: str) -> None:
    from edge_msa.data.opening import open_dataset

    whole = open_dataset(data)
    train = whole.split("train")
    blind = dataclasses.replace(train, labels=np.full_like(train.labels, np.nan))
    with pytest.raises(DataError, match="train split of all has samples without labels"):
        ModelSpec.for_training(dataclasses.replace(whole, splits={**whole.splits, "train": blind}), data)


@pytest.mark.parametrize("samples", ["5", "a:b", "-2:", "1:2:3"])
def test_a_range_that_is_none_is_refused(data: str, tmp_path: Path, samples: str) -> None:
    with pytest.raises(UsageError, match="must be a slice of training samples"):
        convert(data, tmp_path / "part.npz", None, samples=samples)


def test_another_number_of_weights_than_teachers_is_refused(data: str, tmp_path: Path) -> None:
    recipe = {"student": {**SMALL["student"], "teacher_weights": [1.0, 2.0]}}
    with pytest.raises(UsageError, match="has 2 numbers for 1 teachers"):
        distill_student(data, [teacher(tmp_path / "first", data)], tmp_path / "student", recipe=recipe)


def test_compare_prints_every_variant_beside_the_first_and_makes_none_twice(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "variants.toml"
    lines = ["[student]", *(f"{name} = {value}" for name, value in SMALL["student"].items())]
    recipe.write_text("\n".join([*lines, "[variants.labels]", "from_teacher = 0", '[variants."both of them"]']))
    run, out = teacher(tmp_path / "first", data), tmp_path / "out"
    first = compare_students(recipe, [run], out, seeds=2, json=True)
    printed = capsys.readouterr().out
    assert [item.name for item in first] == ["first", "labels", "both of them"]
    assert [len(item.scores["lav"]) for item in first] == [1, 2, 2]
    assert json.loads(printed.splitlines()[-1])["compare"][1]["name"] == "labels"
    assert compare_students(recipe, [run], out, seeds=2) == first
    assert capsys.readouterr().out.count("is up to date") == 4
    convert(data, tmp_path / "blind.npz", None, unlabeled=True)
    more = compare_students(recipe, [run], tmp_path / "more", transfer=[str(tmp_path / "blind.npz")], seeds=1)
    assert more[0] == first[0]
    recipe.write_text("[student]\nepochs = 1\n")
    with pytest.raises(UsageError, match=r"has no variants: give tables, as \[variants.labels\]"):
        compare_students(recipe, [run], out)


def test_training_as_in_int8_keeps_ranges_sizes_and_contract_of_the_calibrated_run(data: str, tmp_path: Path) -> None:
    run = teacher(tmp_path / "first", data)
    student = distill_student(data, [run], tmp_path / "student", recipe=SMALL)
    calibrated = tmp_path / "calibrated"
    keys = [
        f"encoders.{name}.{layer}.weight:{side}"
        for name in DIMS
        for layer in ("embed", "blocks.0", "score")
        for side in ("input", "output")
    ]
    with new_run(calibrated, "calibrated") as work:
        Calibration(dict.fromkeys(keys, (-3.0, 3.0))).save(work)
        write_run(work, dataclasses.replace(student.info, kind="calibration"), student.weights, [])
    found = distill_student(data, [run], tmp_path / "qat", qat=calibrated, recipe={"student": {"width": 99}}, epochs=1)
    assert load_run(tmp_path / "qat", "calibration").info.command == "distill --qat"
    assert found.info.config == student.info.config
    assert found.spec.to_json() == student.spec.to_json()
    assert load_calibration(found) == Calibration(dict.fromkeys(keys, (-3.0, 3.0)))
    assert any(not np.array_equal(value, found.weights[name]) for name, value in student.weights.items())
