"""Pretrained bundles of an installed package of data, which the runtime finds without importing it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Callable

import pytest

import edge_msa_runtime as emr
from edge_msa_runtime.cli.main import main
from edge_msa_runtime.errors import PackageImportError
from edge_msa_runtime.pretrained import PACKAGE, find_model, load_index, pretrained_bundle
from tests.pretrained_package import CARD, entry, write_index, write_package


@pytest.fixture
def package(make_text_bundle: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with one bundle, `toy`, and a model of the hub, `far`."""
    package = write_package(tmp_path / "site", make_text_bundle("table"))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return package


def test_a_bundle_is_found_without_importing_its_package(package: Path) -> None:
    folder = pretrained_bundle("toy")
    assert folder == package / "toy"
    assert PACKAGE not in sys.modules
    with emr.load(folder) as session:
        assert session.predict(text="i love it").subset == "l"


def test_the_index_states_models_of_the_package_and_of_the_hub(package: Path) -> None:
    models = load_index()
    assert {name: model.folder for name, model in models.items()} == {"toy": package / "toy", "far": None}
    assert models["far"].hub == "someone/far"
    assert models["toy"].card == CARD


@pytest.mark.parametrize(
    "arguments",
    [
        ["--pretrained", "toy", "i love it"],
        ["i love it", "--pretrained", "toy"],
        ["--pretrained", "toy", "--text", "i love it"],
    ],
)
def test_predict_takes_the_text_of_a_pretrained_model_as_its_argument(
    package: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(package / "toy"), "--text", "i love it", "--json"]) == 0
    expected = json.loads(capsys.readouterr().out.splitlines()[-1])["score"]
    assert main(["predict", *arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["score"] == expected


@pytest.mark.parametrize("command", ["info", "verify"])
def test_other_commands_take_a_pretrained_bundle(
    package: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert package.is_dir()
    assert main([command, "--pretrained", "toy"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["predict", "--pretrained", "toi", "hi"],
            "Unknown pretrained model 'toi'. Did you mean 'toy'? Available: toy",
        ),
        (["predict", "--pretrained", "far", "hi"], "edge-msa pretrained get far --output-dir far"),
        (["predict", "--pretrained", "toy", "so", "good"], "the only argument is the text, got 'so' and 'good'"),
        (["predict", "--pretrained", "toy", "so", "--text", "good"], "the only argument is the text"),
        (["predict", "--pretrained", "toy", "."], "'.' is a file or a folder"),
        (["predict", "--pretrained", "toy"], "No input."),
        (["info", "bundle", "--pretrained", "toy"], "exclude each other, got 'bundle' and 'toy'"),
    ],
)
def test_a_wrong_use_is_explained(
    package: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert package.is_dir()
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_a_missing_package_is_an_error_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(PackageImportError):
        find_model("text-nano")
    assert main(["predict", "--pretrained", "text-nano", "hi"]) == 4
    assert "edge-msa-pretrained is not installed. Run: pip install edge-msa-pretrained" in capsys.readouterr().err


def test_a_substituted_bundle_is_refused(
    package: Path, seal: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    seal(package / "toy", {"name": "another"})  # consistent in itself, with a new digest
    assert main(["info", str(package / "toy")]) == 0
    assert main(["predict", "--pretrained", "toy", "hi"]) == 1
    assert "is not the bundle that was published: the SHA-256 of its manifest.json must be" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["language/table.npz", "manifest.json"])
def test_a_damaged_bundle_is_refused(package: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with (package / "toy" / name).open("r+b") as file:
        file.write(b"\0\0")
    assert main(["predict", "--pretrained", "toy", "hi"]) == 1
    assert name in capsys.readouterr().err


def test_an_incomplete_bundle_is_refused(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (package / "toy" / "manifest.json").unlink()
    assert main(["predict", "--pretrained", "toy", "hi"]) == 1
    assert "Run: pip install --force-reinstall edge-msa-pretrained" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sha256": "0"}, "damaged"),
        ({"title": None, "bytes": "many"}, "damaged"),
        ({"card": None}, "damaged"),
    ],
)
def test_a_damaged_index_is_refused(package: Path, change: dict[str, Any], message: str) -> None:
    write_index(package, {"toy": entry(package / "toy", **change)})
    with pytest.raises(emr.BundleError, match=message):
        load_index()


@pytest.mark.parametrize("content", ["", "[]", '{"schema": 1}', '{"schema": 1, "models": {"../x": {}}}'])
def test_an_index_of_another_form_is_refused(package: Path, content: str) -> None:
    (package / "index.json").write_text(content)
    with pytest.raises(emr.BundleError, match="damaged"):
        load_index()


def test_an_index_of_another_schema_names_the_versions(package: Path) -> None:
    write_index(package, {}, schema=2)
    with pytest.raises(emr.BundleError, match=r"must be 1, got 2\. Install the versions of edge-msa-pretrained"):
        load_index()
