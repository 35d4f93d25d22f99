"""Examples that train: own features, the notebook, and the commands in the page about an own device."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
from nbclient import NotebookClient

import edge_msa as em
import edge_msa_runtime as emr
from tests.integration.conftest import run_successfully
from tests.locations import REPOSITORY

EXAMPLES = REPOSITORY / "examples"


@pytest.mark.slow
def test_own_features_become_a_bundle_that_beats_a_constant(
    load_example: Callable[[str], ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load_example("own_features.py").main(quick=True, folder=str(tmp_path / "own"))
    out = capsys.readouterr().out
    assert re.search(r"^video-0/0: [+-]\d\.\d\d from av, labeled [+-]\d\.\d\d$", out, re.MULTILINE)
    evaluation = em.evaluate(tmp_path / "own/bundle", data=tmp_path / "own/data.npz")
    assert evaluation.beats_constant
    assert set(evaluation.by_subset) == {"a", "v", "av"}


@pytest.mark.slow
def test_the_notebook_runs_and_is_stored_without_outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    notebook = nbformat.read(EXAMPLES / "quickstart.ipynb", as_version=4)  # type: ignore[no-untyped-call]
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert "image/png" in code[-1].outputs[0].data
    assert not any(
        output.output_type == "stream" and output.name == "stderr" for cell in code for output in cell.outputs
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_commands_for_an_own_device_make_a_bundle_that_passes_verification(
    calibrated_run: Callable[[str], Path], tmp_path: Path
) -> None:
    page = (EXAMPLES / "own_device/README.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^ +edge-msa (export .*)$", page, re.MULTILINE)
    places = {
        "examples/own_device/mini-pc.toml": EXAMPLES / "own_device/mini-pc.toml",
        "demo/calibrated": calibrated_run("streams"),
        "bundle-mini-pc": tmp_path / "bundle",
    }
    arguments = [str(places.get(argument, argument)) for argument in shlex.split(command)]
    run_successfully(*arguments, "--max-drop", "100", "--allow-worse-than-constant")
    with emr.load(tmp_path / "bundle") as session:
        assert session.manifest.target == "mini-pc"
