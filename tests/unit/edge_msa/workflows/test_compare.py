from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_msa.errors import UsageError
from edge_msa.workflows.compare import compare_students
from edge_msa.workflows.data import convert
from tests.unit.edge_msa.toy_runs import SMALL, write_dataset, write_teacher


@pytest.fixture
def data(tmp_path: Path) -> str:
    return write_dataset(tmp_path / "all.npz")


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
