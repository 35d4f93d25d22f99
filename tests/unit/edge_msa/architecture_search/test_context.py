from __future__ import annotations

import dataclasses
from pathlib import Path

from edge_msa.architecture_search.context import SearchConfig, prepare_search
from edge_msa.data.formats.archive import write_archive
from edge_msa.data.synthetic.generator import SyntheticConfig, generate_dataset


def test_selected_samples_have_the_task_of_the_search(tmp_path: Path) -> None:
    dataset = generate_dataset(SyntheticConfig(train=16, valid=8, test=8)).without(["audio", "vision"])
    write_archive(dataclasses.replace(dataset, name="words"), tmp_path / "words.npz")
    config = SearchConfig("laptop-x86", str(tmp_path / "words.npz"), 1, tmp_path / "out", train_samples=4)
    for task in ("mosi", "regression", "mosi"):
        context = prepare_search(dataclasses.replace(config, task=task))
        assert context.dataset.task.kind == task
    assert len(list((tmp_path / "out").glob("data-*.npz"))) == 2
