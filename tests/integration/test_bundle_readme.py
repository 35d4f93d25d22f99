"""The README in a bundle is a quick start: its program and its commands work as they are written."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge_msa_runtime.bundle.loader import open_bundle

if TYPE_CHECKING:
    from tests.integration.conftest import PipelineRun


def read_blocks(bundle: Path, language: str = "") -> list[str]:
    """Return the blocks of code in the README of a bundle."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", (bundle / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    return [code for name, code in blocks if name == language]


def run_readme(bundle: Path, site: Path, environment: dict[str, str]) -> str:
    """Run everything in the README in its order, with the backends of this environment, and return the output."""
    variables = {**environment, "PYTHONPATH": str(site), "EDGE_MSA_CACHE": str(site / "cache")}

    def run(*command: str) -> str:
        return subprocess.run(
            command, cwd=bundle.parent, env=variables, check=True, capture_output=True, text=True
        ).stdout

    output = []
    for block in read_blocks(bundle):
        for line in block.splitlines():
            program, *arguments = shlex.split(line)
            if program == "edge-msa-run":
                output.append(run(sys.executable, "-m", "edge_msa_runtime", *arguments))
            elif arguments[:3] == ["-m", "pip", "install"] and arguments[3].startswith("./"):
                offline = ("-q", "--no-deps", "--no-index", "--disable-pip-version-check", "--target", str(site))
                run(sys.executable, *arguments[:3], *offline, arguments[3])
            elif arguments[:1] == ["-c"]:
                run(sys.executable, *arguments)
    (code,) = read_blocks(bundle, "python")
    return "\n".join([*output, run(sys.executable, "-W", "error", "-c", code)])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bundle-laptop", "bundle-jetson"])
def test_the_readme_of_a_bundle_works_word_for_word(
    name: str, pipeline_run: PipelineRun, tmp_path: Path, environment: dict[str, str]
) -> None:
    bundle = shutil.copytree(pipeline_run.folder / name, tmp_path / "copied" / name)
    output = run_readme(bundle, tmp_path / "site", environment)
    assert output.count("subset lav, ") == 1  # predict
    assert output.count("p50 ms") >= 2 + ("laptop" in name)  # bench, and bench --all with each backend
    assert re.search(r"^-?[\d.]+ \w+ lav [\d.]+\n-?[\d.]+\n$", output, re.MULTILINE)  # the Python program
    assert "trained on synthetic data: it is useless on real input." in (bundle / "README.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["table", "encoder"])
def test_the_readme_of_a_text_bundle_works_word_for_word(
    kind: str, exported_bundle: Callable[[str, str], Path], tmp_path: Path, environment: dict[str, str]
) -> None:
    source = exported_bundle("laptop-x86", kind)
    bundle = shutil.copytree(source, tmp_path / "copied" / source.name)
    assert "subset l, " in run_readme(bundle, tmp_path / "site", environment)


def test_the_readme_of_a_bundle_says_why_and_how_good(pipeline_run: PipelineRun) -> None:
    text = (pipeline_run.folder / "bundle-laptop" / "README.md").read_text()
    backends = " ".join(text.partition("## Backends")[2].partition("|")[0].split())
    assert re.search(r"1\. OpenVINO \(`openvino`\) at \w+.*\. Reason: .*fp32 [\d.]+ ms.* 2\. ONNX Runtime", backends)
    assert re.search(r"2\. ONNX Runtime \(`onnxruntime`\) at \w+.*\. Reason: ", backends)
    assert re.search(r"^\| lav, 64 samples \| Acc-2 Non0 \| MAE \|$", text, re.MULTILINE)
    rows = dict(re.findall(r"^\| ([^|]+) \| [\d.]+ % \| ([\d.]+) \|$", text, re.MULTILINE))
    assert [name.partition(" at ")[0] for name in rows] == [
        "openvino",
        "onnxruntime",
        "baseline: median",
        "baseline: best constant",
    ]
    manifest = open_bundle(pipeline_run.folder / "bundle-laptop").manifest
    expected = manifest.accuracy["openvino"][manifest.precision["openvino"]]["by_subset"]["lav"]["mae"]
    assert float(next(iter(rows.values()))) == pytest.approx(expected, abs=5e-4)
