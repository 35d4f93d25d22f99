from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_msa.errors import UsageError
from edge_msa.workflows.compare import compare
from edge_msa.workflows.data import convert_data
from tests.unit.edge_msa.toy_runs import SMALL, write_dataset, write_teacher


@pytest.fixture
def data(tmp_path: Path) -> str:
    return write_dataset(tmp_path / "all.npz")


@pytest.mark.usefixtures("printing")
def test_compare_reuses_runs_that_are_up_to_date(data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "variants.toml"
    lines = ["[student]", *(f"{name} = {value}" for name, value in SMALL["student"].items())]
    recipe.write_text("\n".join([*lines, "[variants.labels]", "teacher_share = 0", '[variants."both of them"]']))
    run, out = write_teacher(tmp_path / "first", data), tmp_path / "out"
    comparison = compare(recipe, teachers=[run], output_dir=out, seeds=2)
    first = comparison.variants
    capsys.readouterr()
    assert [item.name for item in first] == ["first", "labels", "both of them"]
    assert [len(item.scores["lav"]) for item in first] == [1, 2, 2]
    both = json.loads(json.dumps(comparison.to_json()))["compare"][2]
    assert both["name"] == "both of them"
    assert set(both["differences"]) == {*both["scores"]} >= {"lav", "missing_average"}
    six = [first[2].scores[subset] for subset in ("l", "a", "v", "la", "lv", "av")]
    assert first[2].scores["missing_average"] == pytest.approx([sum(values) / 6 for values in zip(*six, strict=True)])
    assert "Differences from labels: 95 % intervals cover the choice of seeds and " in str(comparison)
    assert compare(recipe, teachers=[run], output_dir=out, seeds=2) == comparison
    assert capsys.readouterr().out.count("is up to date") == 4
    convert_data(data, output=tmp_path / "unlabeled.npz", unlabeled=True)
    more = compare(
        recipe, teachers=[run], output_dir=tmp_path / "more", transfer=[str(tmp_path / "unlabeled.npz")], seeds=1
    )
    assert more.variants[0] == first[0]
    assert "They compare these trainings, not the methods" in str(more)
    recipe.write_text("[student]\nepochs = 1\n")
    with pytest.raises(UsageError, match=r"has no variants\. Add tables such as \[variants\.labels\]"):
        compare(recipe, teachers=[run], output_dir=out)
