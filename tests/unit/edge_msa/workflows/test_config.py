"""`edge-msa config` and `edge-msa devices show`: what is shown can be passed to other commands."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from edge_msa.cli import run
from edge_msa.config.recipes import student_recipe, teacher_recipe
from edge_msa.config.settings import load_settings
from edge_msa_export.profiles import find_profile

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

INVALID = """[pipeline]
sed = 3
targets = ["jetsn"]
[hrlf]
preset = "papr-mosi"
epochs = 0
[student]
widht = 32
msm = {inter = 2}
size = "tny"
[strudent]
[variants.a]
tokens = -1
[search.space]
widt = [1, 2]
kernel = {low = 3, high = 2}
"""


def test_every_error_of_a_recipe_is_named_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(INVALID)
    assert run(["config", "validate", str(path)]) == 2
    captured = capsys.readouterr()
    expected = [
        (2, "Unknown key 'sed' in [pipeline]. Did you mean 'seed'?"),
        (3, "pipeline.targets: Unknown target 'jetsn'. Did you mean 'jetson'?"),
        (5, "Unknown preset 'papr-mosi' of [hrlf]. Did you mean 'paper-mosi'?"),
        (6, "hrlf.epochs must be at least 1, got 0."),
        (8, "Unknown key 'widht' in [student]. Did you mean 'width'?"),
        (9, "student.msm.inter must be at most 1, got 2."),
        (10, "Unknown student.size 'tny'. Did you mean 'tiny'?"),
        (11, "unknown table [strudent]. Did you mean 'student'?"),
        (13, "variants.a.tokens must be at least 1, got -1."),
        (15, "Unknown field 'widt' in search.space. Did you mean 'width'?"),
        (16, "search.space.kernel must have low below high"),
    ]
    lines = captured.out.splitlines()
    assert len(lines) == len(expected)
    for line, (number, message) in zip(lines, expected, strict=True):
        assert line.startswith(f"{path}:{number}: {message}")
    assert captured.err.startswith(f"edge-msa: {path} has 11 errors.")
    assert run(["config", "validate", str(path), "--json"]) == 2
    errors = json.loads(capsys.readouterr().out)["errors"]
    assert [error["line"] for error in errors] == [number for number, _ in expected]
    assert errors[5]["key"] == "student.msm.inter"


@pytest.mark.parametrize(
    ("text", "message"),
    [("[student\n", "line 1"), ("seed = 1\n", "seed is not in a table"), ("variants.a = 1\n", "[variants.a]")],
)
def test_a_file_without_tables_is_not_valid(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    assert run(["config", "validate", str(path)]) == 2
    captured = capsys.readouterr()
    assert message in captured.out + captured.err


def test_the_shown_recipe_is_that_of_the_pipeline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes = tmp_path / "changes.toml"
    changes.write_text('[pipeline]\nteacher = "almt"\n[student]\nsize = "nano"\n')
    assert run(["config", "show", "--recipe", str(changes), "--data", "mosi.pkl"]) == 0
    shown = tmp_path / "shown.toml"
    shown.write_text(capsys.readouterr().out)
    tables = tomllib.loads(shown.read_text())
    assert list(tables) == ["pipeline", "almt", "student"]
    assert load_settings(shown).pipeline.data == "mosi.pkl"
    assert student_recipe(tables["student"], "synthetic") == student_recipe({"size": "nano"}, "mosi.pkl")
    assert teacher_recipe("almt", tables["almt"], "synthetic") == teacher_recipe("almt", {}, "mosi.pkl")
    assert run(["config", "validate", str(shown)]) == 0
    assert "is valid: [pipeline], [almt], [student].\n" in capsys.readouterr().out


def test_a_preset_needs_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "show", "--preset", "demo"]) == 2
    assert "--preset needs a model" in capsys.readouterr().err
    assert run(["config", "show", "hrlf", "--preset", "paper-mosi"]) == 0
    assert 'preset = "paper-mosi"' in capsys.readouterr().out


def test_presets_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "list"]) == 0
    assert "paper-mosi" in capsys.readouterr().out
    assert run(["config", "list", "--json"]) == 0
    presets = json.loads(capsys.readouterr().out)
    assert presets["hrlf"]["demo"] == "Tuned for the synthetic data, two CPU cores and one minute."


def test_a_shown_profile_is_a_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["devices", "show", "laptop"]) == 0
    text = capsys.readouterr().out
    mine = tmp_path / "mine.toml"
    mine.write_text(text)
    assert find_profile(mine) == find_profile("laptop-x86")
    mine.write_text(text.replace('name = "laptop-x86"', 'name = "mine"', 1).replace("family_default = true\n", ""))
    monkeypatch.setenv("EDGE_MSA_DEVICES", str(tmp_path))
    assert run(["devices", "show", "mine"]) == 0
    assert capsys.readouterr().out == mine.read_text()
    assert run(["devices", "--json"]) == 0
    assert "mine" in json.loads(capsys.readouterr().out)
    mine.write_text(text.replace("vnni", "vni", 1))
    assert run(["devices", "show", str(mine)]) == 2
    assert "Unknown key 'vni'. Did you mean 'vnni'?" in capsys.readouterr().err


def test_settings_without_a_table_are_valid_as_for_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("epochs = 3\n")
    assert run(["config", "validate", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"{path} is valid: settings without a table, for hrlf, almt, student.",
        f"next: edge-msa train --model hrlf --output-dir teacher --recipe {path}",
    ]
    path.write_text("frf = 0.1\nepochs = 0\nepoch = 3\n")
    assert run(["config", "validate", str(path)]) == 2
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[2][:40] for line in lines] == [
        "hrlf.epochs must be at least 1, got 0."[:40],
        "Unknown key 'epoch' in [hrlf]. Did you mean"[:40],
    ]


@pytest.mark.parametrize("model", [[], ["hrlf"], ["student"]])
def test_the_shown_recipe_is_for_own_data(model: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "show", *model]) == 0
    text = capsys.readouterr().out
    assert text.startswith("# For own data. For the synthetic data, run the command with --data synthetic.\n")
    assert 'preset = "default"' in text
    assert run(["config", "show", *model, "--data", "synthetic"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("# For the synthetic data only.")
    assert 'preset = "demo"' in text
