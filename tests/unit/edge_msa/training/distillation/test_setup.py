from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from edge_msa.artifacts.model_spec import ModelSpec
from edge_msa.config.students import StudentRecipe
from edge_msa.data.tasks import EMOTIONS, MOSI, Task
from edge_msa.errors import DataError
from edge_msa.training.distillation.setup import prepare_distillation
from edge_msa.workflows.data import convert_data
from edge_msa.workflows.distill import distill
from edge_msa_runtime.features import FeatureSource
from tests.unit.edge_msa.toy_runs import CONTEXT, DIMS, SMALL, write_dataset, write_teacher


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


@pytest.mark.usefixtures("printing")
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
    convert_data(data, output=unlabeled, samples="2:5", unlabeled=True)
    setup = prepare_distillation(data, [run], [str(unlabeled), text], None)
    train = setup.dataset.split("train")
    assert len(train) == 12 + 3 + 12
    assert np.isnan(train.labels).tolist() == [False] * 12 + [True] * 3 + [False] * 12
    assert train.modalities["audio"].valid.any(axis=1).tolist() == [True] * 15 + [False] * 12
    student = distill([run], data=data, output_dir=tmp_path / "student", transfer=[str(unlabeled), text], recipe=SMALL)
    assert student.info.metrics["best_epoch"] == 1


def test_transfer_file_of_other_width_raises_an_error(data: str, tmp_path: Path) -> None:
    run, other = write_teacher(tmp_path / "first", data), write_dataset(tmp_path / "other.npz", {"audio": 7})
    with pytest.raises(DataError, match=r"audio must have 3 features per frame, got 7 in .*other\.npz"):
        prepare_distillation(data, [run], [other], None)


def test_teacher_on_unlabeled_samples_raises_an_error(data: str) -> None:
    from edge_msa.data.opening import open_dataset

    whole = open_dataset(data)
    train = whole.split("train")
    no_labels = dataclasses.replace(train, labels=np.full_like(train.labels, np.nan))
    with pytest.raises(DataError, match="train split of all has no labels"):
        ModelSpec.for_training(dataclasses.replace(whole, splits={**whole.splits, "train": no_labels}), data)


def _described(data: str, path: Path, extractor: str) -> str:
    statement = path.with_suffix(".toml")
    statement.write_text(f'[audio]\nextractor = "{extractor}"\n')
    convert_data(data, output=path, features=statement)
    return str(path)


def test_a_transfer_file_with_other_features_is_refused(data: str, tmp_path: Path) -> None:
    covarep, librosa = (_described(data, tmp_path / f"{name}.npz", name) for name in ("COVAREP", "librosa"))
    run = write_teacher(tmp_path / "first", covarep)
    with pytest.raises(
        DataError, match=r"librosa\.npz must have the features of all, got others \(audio: librosa instead of COVAREP\)"
    ):
        prepare_distillation(None, [run], [librosa], None)
    assert prepare_distillation(None, [run], [data], None).spec.features == {"audio": FeatureSource("COVAREP")}


def test_the_student_knows_from_the_teacher_what_the_data_does_not_state(data: str, tmp_path: Path) -> None:
    run = write_teacher(tmp_path / "first", _described(data, tmp_path / "covarep.npz", "COVAREP"))
    assert prepare_distillation(data, [run], [], None).spec.features["audio"] == FeatureSource("COVAREP")
