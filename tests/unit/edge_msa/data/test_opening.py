from __future__ import annotations

import hashlib
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_msa.data import open_dataset
from edge_msa.data.synthetic import generator
from edge_msa.data.synthetic.generator import SyntheticConfig
from edge_msa.data.tasks import MOSI
from edge_msa.errors import DataError, UsageError


def test_a_missing_path_suggests_a_similar_file(tmp_path: Path) -> None:
    (tmp_path / "aligned_50.pkl").touch()
    with pytest.raises(UsageError, match=r"does not exist\. Did you mean .*aligned_50\.pkl\?"):
        open_dataset(tmp_path / "alined_50.pkl")
    with pytest.raises(UsageError, match="There is no folder"):
        open_dataset(tmp_path / "none" / "x.npz")


def test_a_misspelled_synthetic_is_recognized(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="Did you mean synthetic"):
        open_dataset("syntetic")


def test_the_synthetic_dataset_has_its_own_task() -> None:
    with pytest.raises(UsageError, match="Omit --task"):
        open_dataset("synthetic", task=MOSI)


@pytest.mark.parametrize("name", ["x.txt", "x", "x.tar.gz", "x.pth"])
def test_an_unknown_format_lists_the_supported_ones(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(UsageError, match=r"Supported: \.npz"):
        open_dataset(tmp_path / name)


def test_video_files_point_to_the_guide(tmp_path: Path) -> None:
    (tmp_path / "clip.MP4").touch()
    guide = "`edge-msa features extract FOLDER` computes them"
    for path in (tmp_path, tmp_path / "clip.MP4"):
        with pytest.raises(UsageError, match=guide):
            open_dataset(path)


def test_a_folder_of_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.txt").touch()
    with pytest.raises(UsageError, match=r"is a folder without \.csd files, not a feature file\. Supported"):
        open_dataset(tmp_path)
    (tmp_path / "mosi.pkl").touch()
    with pytest.raises(UsageError, match=r"Feature files in it: mosi\.pkl"):
        open_dataset(tmp_path)
    (tmp_path / "run.json").touch()
    with pytest.raises(UsageError, match="is a run, not a feature file"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, {"train": {"x": 1}}, {"train": 3}, {}])
def test_another_pickle_is_refused(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(DataError, match=r"x\.pkl must (be a pickle of MMSA|hold a dict of splits)"):
        open_dataset(path)


def test_an_npz_of_unknown_arrays_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", foo=np.ones(2))
    with pytest.raises(DataError, match="got foo"):
        open_dataset(tmp_path / "x.npz")


def test_a_single_array_named_npz_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "x.npz").open("wb") as file:
        np.save(file, np.ones(2))
    with pytest.raises(DataError, match="single array"):
        open_dataset(tmp_path / "x.npz")


def test_the_digest_is_that_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, train_audio=np.ones((1, 2, 2)), train_vision=np.ones((1, 2, 2)), train_label=np.ones(1))
    assert open_dataset(path).digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_importing_the_package_is_light() -> None:
    code = "import sys, edge_msa.data; print([m for m in ('h5py', 'torch', 'onnx') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_synthetic_long_is_the_task_at_real_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    assert generator.LONG.real_lengths
    monkeypatch.setattr(generator, "LONG", SyntheticConfig(train=4, valid=4, test=4, real_lengths=True))
    dataset = open_dataset("synthetic-long")

    assert dataset.name == "synthetic-long"
    assert dataset.split("test").modalities["vision"].length == 500
