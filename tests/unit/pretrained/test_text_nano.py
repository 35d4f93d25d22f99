"""The bundle of the package edge-msa-pretrained in this repository."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from edge_msa_runtime import __version__, load, pretrained_bundle
from edge_msa_runtime.bundle.loader import open_bundle
from edge_msa_runtime.cli.main import main
from edge_msa_runtime.pretrained import find_model, load_index
from edge_msa_runtime.verification import verify_bundle
from tests.locations import REPOSITORY

PROJECT = REPOSITORY / "pretrained"
PACKAGE = PROJECT / "edge_msa_pretrained"


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Python find the package, also where it is not installed."""
    monkeypatch.syspath_prepend(str(PROJECT))


def test_every_folder_of_the_package_is_a_bundle_of_the_index() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == set(load_index())
    assert {pretrained_bundle(name).parent for name in folders} == {PACKAGE}


def test_the_package_has_the_version_of_the_runtime_and_imports_nothing() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    assert not [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert f'__version__ = "{__version__}"' in (PACKAGE / "__init__.py").read_text()
    assert f"edge_msa_pretrained-{__version__}-py3" in (PROJECT / "README.md").read_text()


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_the_bundle_reproduces_its_golden_predictions(precision: str) -> None:
    with load(pretrained_bundle("text-nano"), "onnxruntime", precision=precision) as session:
        verify_bundle(session).raise_if_failed()


@pytest.mark.parametrize(
    ("text", "label"), [("i love it", "positive"), ("this was a terrible and boring movie", "negative")]
)
def test_the_model_tells_praise_from_blame(text: str, label: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "--pretrained", "text-nano", text]) == 0
    assert capsys.readouterr().out.splitlines()[0].endswith(label)


def test_the_bundle_is_small_and_runs_on_any_cpu() -> None:
    model = find_model("text-nano")
    bundle = open_bundle(pretrained_bundle("text-nano"))
    manifest = bundle.manifest
    assert model.size == sum(path.stat().st_size for path in (PACKAGE / "text-nano").rglob("*") if path.is_file())
    assert model.size < 1.7e6
    assert bundle.size(bundle.needed_files("onnxruntime", "int8")) < 1.4e6
    assert manifest.profile["architecture"] == "any"
    assert {spec.scheme for spec in manifest.graphs if spec.precision == "int8"} == {"ort-x86-avx2"}


def test_the_card_states_terms_uses_and_accuracy_with_intervals() -> None:
    card = find_model("text-nano").card
    text = " ".join((PACKAGE / "text-nano/README.md").read_text().split())
    for statement in (card["terms"], *card["data"], *card["not_for"]):
        assert statement in text
    assert [(item["data"], item["unit"]) for item in card["tested"]] == [
        ("CMU-MOSEI", "videos"),
        ("CMU-MOSI", "videos"),
    ]
    for item in card["tested"]:
        value, low, high = item["metrics"]["mae"]
        assert low < value < high < item["baseline"]["mae"]
        assert f"{value:.3f} [{low:.3f}, {high:.3f}]" in text


@pytest.mark.parametrize("pattern", [r"/(?:tmp|home|root|work)/", r"\.csv\b"])
def test_the_manifest_has_no_paths_of_the_machine_that_made_it(pattern: str) -> None:
    for name in ("text-nano/manifest.json", "index.json"):
        assert not re.search(pattern, Path(PACKAGE / name).read_text())
