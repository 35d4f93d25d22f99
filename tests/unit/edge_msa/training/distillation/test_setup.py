from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from edge_msa.artifacts.model_spec import ModelSpec
from edge_msa.artifacts.runs import RunInfo, load_run, new_run, write_run
from edge_msa.config.students import StudentRecipe
from edge_msa.data.dataset import SPLITS, Dataset, Frames, Split
from edge_msa.data.formats.archive import write_archive
from edge_msa.data.tasks import EMOTIONS, MOSI, Task
from edge_msa.errors import DataError, UsageError
from edge_msa.models.student import Student, StudentConfig
from edge_msa.quantization.calibration_files import Calibration, load_calibration
from edge_msa.training.context import Hardware
from edge_msa.training.distillation.setup import prepare_distillation
from edge_msa.training.predict import weights_to_numpy
from edge_msa.workflows.compare import compare_students
from edge_msa.workflows.data import convert
from edge_msa.workflows.distill import distill_student

DIMS = {"language": 4, "audio": 3, "vision": 2}
SMALL = {"student": {"width": 16, "blocks": 1, "tokens": 1, "hidden": 4, "epochs": 1, "batch_size": 8}}
CONTEXT = Hardware("cpu").start()


def write_dataset(path: Path, dims: dict[str, int] | None = None, task: Task = MOSI) -> str:
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


def write_teacher(path: Path, data: str, dims: dict[str, int] | None = None, task: Task = MOSI) -> Path:
    """Write a run of an untrained network with these modalities."""
    from edge_msa.data.opening import open_dataset

    dataset = open_dataset(data)
    unused = [name for name in dataset.dims if dims is not None and name not in dims]
    spec = ModelSpec.for_training(dataset.without(unused), data)
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
        write_run(work, info, weights_to_numpy(Student(config)), [])
    return path


@pytest.fixture
def data(tmp_path: Path) -> str:
    return write_dataset(tmp_path / "all.npz")


def test_student_has_the_modalities_of_all_teachers(data: str, tmp_path: Path) -> None:
    text = write_teacher(tmp_path / "text", data, {"language": 4})
    others = write_teacher(tmp_path / "others", data, {"audio": 3, "vision": 2})
    setup = prepare_distillation(None, [text, others], [], None)
    assert list(setup.spec.dims) == ["language", "audio", "vision"]
    assert [list(spec.dims) for spec in setup.teacher_specs] == [["language"], ["audio", "vision"]]
    targets = setup.targets(StudentRecipe(), CONTEXT)
    assert targets is not None
    assert targets.known.tolist() == [False] + [True] * 7
    assert setup.targets(StudentRecipe(epochs=2), CONTEXT) is targets


def test_later_teacher_skips_modalities_of_other_width(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wide = write_dataset(tmp_path / "wide.npz", {"language": 9, "audio": 3})
    first, later = write_teacher(tmp_path / "first", data), write_teacher(tmp_path / "later", wide)
    setup = prepare_distillation(data, [first, later], [], None)
    assert list(setup.teacher_specs[1].dims) == ["audio"]
    assert "does not use language (it expects 9 features, got 4)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("dims", "task", "message"),
    [
        ({"language": 9}, MOSI, r"later can use no modality of all: language \(it expects 9 features, got 4\)"),
        (DIMS, EMOTIONS, "must have the task of the first one, mosi, got emotions for .*later"),
    ],
)
def test_unfitting_teacher_raises_an_error(
    data: str, tmp_path: Path, dims: dict[str, int], task: Task, message: str
) -> None:
    other = write_dataset(tmp_path / "other.npz", dims, task)
    runs = [write_teacher(tmp_path / "first", data), write_teacher(tmp_path / "later", other, task=task)]
    with pytest.raises(DataError, match=message) as caught:
        prepare_distillation(data, runs, [], None)
    assert "\n" not in str(caught.value)


def test_transfer_files_add_training_samples(data: str, tmp_path: Path) -> None:
    run = write_teacher(tmp_path / "first", data)
    unlabeled, text = tmp_path / "unlabeled.npz", write_dataset(tmp_path / "text.npz", {"language": 4})
    convert(data, unlabeled, None, samples="2:5", unlabeled=True)
    setup = prepare_distillation(data, [run], [str(unlabeled), text], None)
    train = setup.dataset.split("train")
    assert len(train) == 12 + 3 + 12
    assert np.isnan(train.labels).tolist() == [False] * 12 + [True] * 3 + [False] * 12
    assert train.modalities["audio"].valid.any(axis=1).tolist() == [True] * 15 + [False] * 12
    student = distill_student(data, [run], tmp_path / "student", transfer=[str(unlabeled), text], recipe=SMALL)
    assert student.info.metrics["best_epoch"] == 1


def test_transfer_file_of_other_width_raises_an_error(data: str, tmp_path: Path) -> None:
    run, other = write_teacher(tmp_path / "first", data), write_dataset(tmp_path / "other.npz", {"audio": 7})
    with pytest.raises(DataError, match="audio must have 3 features per frame, got 7 in other"):
        prepare_distillation(data, [run], [other], None)


def test_teacher_on_unlabeled_samples_raises_an_error(data: str) -> None:
    from edge_msa.data.opening import open_dataset

    whole = open_dataset(data)
    train = whole.split("train")
    no_labels = dataclasses.replace(train, labels=np.full_like(train.labels, np.nan))
    with pytest.raises(DataError, match="train split of all has samples without labels"):
        ModelSpec.for_training(dataclasses.replace(whole, splits={**whole.splits, "train": no_labels}), data)


@pytest.mark.parametrize("samples", ["5", "a:b", "-2:", "1:2:3"])
def test_invalid_slice_raises_an_error(data: str, tmp_path: Path, samples: str) -> None:
    with pytest.raises(UsageError, match="must be a slice of training samples"):
        convert(data, tmp_path / "part.npz", None, samples=samples)


def test_wrong_number_of_teacher_weights_raises_an_error(data: str, tmp_path: Path) -> None:
    recipe = {"student": {**SMALL["student"], "teacher_weights": [1.0, 2.0]}}
    with pytest.raises(UsageError, match="must have 1 numbers, one per teacher, got 2"):
        distill_student(data, [write_teacher(tmp_path / "first", data)], tmp_path / "student", recipe=recipe)


def test_compare_reuses_runs_that_are_up_to_date(data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "variants.toml"
    lines = ["[student]", *(f"{name} = {value}" for name, value in SMALL["student"].items())]
    recipe.write_text("\n".join([*lines, "[variants.labels]", "teacher_share = 0", '[variants."both of them"]']))
    run, out = write_teacher(tmp_path / "first", data), tmp_path / "out"
    first = compare_students(recipe, [run], out, seeds=2, json=True)
    printed = capsys.readouterr().out
    assert [item.name for item in first] == ["first", "labels", "both of them"]
    assert [len(item.scores["lav"]) for item in first] == [1, 2, 2]
    assert json.loads(printed.splitlines()[-1])["compare"][1]["name"] == "labels"
    assert compare_students(recipe, [run], out, seeds=2) == first
    assert capsys.readouterr().out.count("is up to date") == 4
    convert(data, tmp_path / "unlabeled.npz", None, unlabeled=True)
    more = compare_students(recipe, [run], tmp_path / "more", transfer=[str(tmp_path / "unlabeled.npz")], seeds=1)
    assert more[0] == first[0]
    recipe.write_text("[student]\nepochs = 1\n")
    with pytest.raises(UsageError, match=r"has no variants\. Add tables such as \[variants\.labels\]"):
        compare_students(recipe, [run], out)


def test_qat_keeps_ranges_sizes_and_spec_of_the_calibrated_run(data: str, tmp_path: Path) -> None:
    run = write_teacher(tmp_path / "first", data)
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
    tuned = distill_student(data, [run], tmp_path / "qat", qat=calibrated, recipe={"student": {"width": 99}}, epochs=1)
    assert load_run(tmp_path / "qat", "calibration").info.command == "distill --qat"
    assert tuned.info.config == student.info.config
    assert tuned.spec.to_json() == student.spec.to_json()
    assert load_calibration(tuned) == Calibration(dict.fromkeys(keys, (-3.0, 3.0)))
    assert any(not np.array_equal(value, tuned.weights[name]) for name, value in student.weights.items())
