"""A model that does not beat a constant: the commands that make and export models say so."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from edge_msa.artifacts.runs import load_run
from edge_msa.data.formats.archive import write_archive
from edge_msa.data.opening import open_dataset
from edge_msa.workflows.baseline_warning import ConstantCheck
from edge_msa.workflows.distill import distill
from edge_msa.workflows.export import _remedies, export
from edge_msa_calibrate.errors import GateFailedError
from tests.unit.edge_msa.toy_runs import SMALL, write_dataset, write_teacher

WARNING = "student does not beat a constant on lav of the valid split. Do not ship it."


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a student that was distilled from an untrained teacher on random labels."""
    folder = tmp_path_factory.mktemp("useless")
    data = write_dataset(folder / "all.npz")
    distill([write_teacher(folder / "teacher", data)], data=data, output_dir=folder / "student", recipe=SMALL)
    return folder / "student"


@pytest.mark.case("F30")
@pytest.mark.usefixtures("printing")
def test_distillation_warns_of_a_useless_student(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_dataset(tmp_path / "all.npz")
    distill([write_teacher(tmp_path / "teacher", data)], data=data, output_dir=tmp_path / "student", recipe=SMALL)
    assert WARNING in capsys.readouterr().err


@pytest.mark.case("F30")
def test_a_useless_student_is_not_exported(student: Path, tmp_path: Path) -> None:
    with pytest.raises(GateFailedError, match="Nothing was written") as error:
        export(student, target="laptop-x86", output_dir=tmp_path / "bundle")
    assert error.value.exit_code == 3
    assert f"{WARNING.partition('. ')[0]}. Nothing was written. " in str(error.value)
    assert "interval" not in str(error.value)  # the figures are in a note
    assert not (tmp_path / "bundle").exists()
    remedies = "The student was trained with 1 epoch. Train a better model: pass more epochs, more samples, or, for "
    assert f"{remedies}small data, a recipe with a smaller batch_size, or pass allow_worse_than" in str(error.value)


def test_with_too_few_samples_the_advice_is_to_add_some(student: Path) -> None:
    run = load_run(student)
    add = "Add labeled samples to the valid split, best from 20 videos or more: it has 6 videos"
    ahead = ConstantCheck("w", samples_to_add=add, lacks_only_samples=True)
    assert _remedies(run, ahead) == add
    behind = _remedies(run, ConstantCheck("w", samples_to_add=add))
    assert behind.startswith(f"{add}. The student was trained with 1 epoch. Train a better model")


def test_a_student_that_cannot_be_compared_is_not_exported(student: Path, tmp_path: Path) -> None:
    data = open_dataset(load_run(student).spec.data_source)
    one = dataclasses.replace(data, splits={**data.splits, "valid": data.split("valid").select(np.arange(1))})
    write_archive(one, tmp_path / "one.npz")
    with pytest.raises(GateFailedError, match=r"constant: the valid split has 1 labeled sample, .* least 2") as error:
        export(student, target="laptop-x86", data=tmp_path / "one.npz", output_dir=tmp_path / "bundle")
    assert (
        "Add labeled samples to the valid split, best from 20 videos or more: it has 1 sample from 1 video, or"
        in str(error.value)
    )
    assert "epochs" not in str(error.value)
    assert not (tmp_path / "bundle").exists()


@pytest.mark.slow
@pytest.mark.case("F30")
@pytest.mark.usefixtures("printing")
def test_a_useless_student_is_exported_if_allowed(
    student: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export(
        student, target="laptop-x86", output_dir=tmp_path / "bundle", precision="fp32", allow_worse_than_constant=True
    )
    assert (tmp_path / "bundle/manifest.json").is_file()
    assert WARNING in capsys.readouterr().err
