"""The same training with one process, and with two that torchrun starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge_msa.data.formats.archive import write_archive
from edge_msa.data.synthetic.generator import SyntheticConfig, generate_dataset
from tests.tolerances import assert_close_to_scale

pytestmark = pytest.mark.slow

RECIPE = """
[hrlf]
epochs = 2
robust_epochs = 2
dropout = 0.0
batch_size = 15
d = 8
heads = 2
[almt]
preset = "demo"
epochs = 2
batch_size = 15
"""
ROUNDING = 2e-5


def losses(model: str, launcher: list[str], data: Path, recipe: Path, run: Path) -> list[dict[str, float]]:
    command = [*launcher, "-m", "edge_msa", "train", "--model", model, "--data", str(data), "--device", "cpu"]
    command += ["--recipe", str(recipe), "--output-dir", str(run)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    completed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=environment)
    assert completed.returncode == 0, completed.stderr
    assert completed.stdout.count("next: ") == 1  # only one process prints
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in {"seconds", "stage"}} for row in rows]


@pytest.mark.parametrize("model", ["hrlf", "almt"])
def test_two_processes_have_the_same_losses_as_one(model: str, tmp_path: Path) -> None:
    """Neither the batches (15, the last one 10) nor the split (40) divide evenly."""
    data, recipe = tmp_path / "data.npz", tmp_path / "recipe.toml"
    write_archive(generate_dataset(SyntheticConfig(train=40, valid=20, test=4)), data)
    recipe.write_text(RECIPE)
    two = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    expected = losses(model, [sys.executable], data, recipe, tmp_path / "one")
    actual = losses(model, two, data, recipe, tmp_path / "two")
    assert len(actual) == (4 if model == "hrlf" else 2)
    for one, other in zip(expected, actual, strict=True):
        assert other.keys() == one.keys()
        assert_close_to_scale(list(other.values()), list(one.values()), rtol=ROUNDING)
