"""`edge-msa train`: what it says about its data."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from edge_msa.data.formats.archive import write_archive
from edge_msa.data.opening import open_dataset
from edge_msa.workflows.train import train
from tests.unit.edge_msa.toy_runs import write_dataset

RECIPE = {"epochs": 1, "robust_epochs": 1, "d": 8, "heads": 2, "batch_size": 8}


@pytest.mark.usefixtures("printing")
def test_texts_without_language_features_are_not_used_silently(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = open_dataset(write_dataset(tmp_path / "all.npz", {"audio": 3}))
    splits = {
        name: dataclasses.replace(split, texts=("a word", *[""] * (len(split) - 1)))
        for name, split in data.splits.items()
    }
    path = tmp_path / "texts.npz"
    write_archive(dataclasses.replace(data, splits=splits), path)
    train(path, recipe=RECIPE, output_dir=tmp_path / "teacher")
    (note,) = [line for line in capsys.readouterr().err.splitlines() if "text train" in line]
    assert note.startswith(f"note: 1 training samples of {path} have texts, which are not used, because there are no ")
    assert f"run edge-msa text train --transcripts {path} --encoder wordpieces --output-dir words, then " in note
    assert note.endswith(f"edge-msa train --data {path} --text-model words")
