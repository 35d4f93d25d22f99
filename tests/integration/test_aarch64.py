"""Bundles for ARM on an emulated ARM: the wheel inside, NumPy and ONNX Runtime, nothing else of ours.

`make test-aarch64` makes the emulated Python (tests/integration/aarch64/make_root.sh) and runs this; without it these tests skip.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edge_msa_runtime.bundle.loader import open_bundle
from tests.locations import REPOSITORY

if TYPE_CHECKING:
    from tests.integration.conftest import CommandResult

    Command = Callable[..., CommandResult]

TOP = REPOSITORY
EMULATED = Path(os.environ.get("EDGE_MSA_AARCH64", TOP / ".aarch64")) / "python"
READ_ALL = TOP / "tests/integration/aarch64/read_all.py"
MISSING = [
    what
    for what, there in (("qemu-aarch64-static", shutil.which("qemu-aarch64-static")), (EMULATED, EMULATED.is_file()))
    if not there
]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"no {MISSING and MISSING[0]} here: make test-aarch64")

TEXT = "I love it, not at all!"
# In fp32 two processors differ by rounding. In int8 a value that lies between two steps may fall on either side.
ALLOWED = {"fp32": 1e-5, "int8": 5e-4}
# Predictions that hardly differ from one another would agree whatever is computed.
LEAST_SPREAD = 2e-3


@pytest.fixture(
    scope="module",
    params=["jetson streams", "jetson encoder", "raspberry-pi streams", "raspberry-pi table", "laptop-arm streams"],
)
def bundle(
    request: pytest.FixtureRequest,
    calibrated_runs: dict[str, Path],
    edge_msa: Command,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    target, kind = request.param.split()
    path = tmp_path_factory.mktemp("aarch64") / f"{target}-{kind}"
    common = ("--max-drop", "100", "--output-dir", path)
    ran = edge_msa("export", "--target", target, "--model", calibrated_runs[kind], *common)
    assert ran.code == 0, ran.err
    return path


@pytest.fixture
def emulate(bundle: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the emulated Python where the wheel of the bundle is installed, and nothing of the checkout is."""
    (wheel,) = bundle.glob("*.whl")
    site = tmp_path / "site"
    install = ["-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", "--no-index", "--target"]
    subprocess.run([sys.executable, *install, str(site), str(wheel)], check=True, capture_output=True)

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
        command = [str(EMULATED), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)

    return run


@pytest.mark.parametrize("cpu", ["cortex-a72", "cortex-a76"])  # without and with 8-bit dot products
def test_the_golden_predictions_come_back(
    bundle: Path,
    cpu: str,
    emulate: Callable[..., subprocess.CompletedProcess[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("QEMU_CPU", cpu)
    done = emulate("-m", "edge_msa_runtime", "verify", bundle, "--backend", "onnxruntime", "--all", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert [found["precision"] for found in told] == list(open_bundle(bundle).precisions("onnxruntime"))
    for found in told:
        assert found["passed"]
        with capsys.disabled():
            told = f"largest difference {found['largest_difference']:.2e}"
            print(f"\n{bundle.name}, {found['precision']}, {cpu} from torch: {told}", end="")


def test_every_subset_reads_as_on_this_machine(
    bundle: Path,
    emulate: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    np.savez(tmp_path / "inputs.npz", **_inputs(bundle))
    predictions = {}
    for name, run in (("aarch64", emulate), ("here", _run_here)):
        done = run(READ_ALL, bundle, tmp_path / "inputs.npz", tmp_path / f"{name}.npz")
        assert done.returncode == 0, done.stderr
        predictions[name] = dict(np.load(tmp_path / f"{name}.npz"))
    assert predictions["aarch64"].keys() == predictions["here"].keys()
    for precision in open_bundle(bundle).precisions("onnxruntime"):
        differences = {
            name: float(np.abs(value - predictions["aarch64"][name]).max())
            for name, value in predictions["here"].items()
            if name.startswith(f"{precision}/")
        }
        worst = max(differences, key=lambda name: differences[name])
        with capsys.disabled():
            told = f"largest difference {differences[worst]:.2e} ({worst})"
            print(f"\n{bundle.name}, {len(differences)} predictions, aarch64 from x86: {told}", end="")
        assert max(differences.values()) <= ALLOWED[precision]
    assert np.ptp(list(predictions["here"].values())) > LEAST_SPREAD


def _inputs(bundle: Path) -> dict[str, Any]:
    """Frames of two and a half windows, and masks with a fifth of them missing."""
    rng = np.random.default_rng(8)
    manifest = open_bundle(bundle).manifest
    given: dict[str, Any] = {"text": TEXT} if manifest.language else {}
    for name, spec in manifest.modalities.items():
        count = spec.window * 5 // 2
        given[name] = (rng.normal(size=(count, spec.dim)) * spec.std + spec.mean).astype(np.float32)
        given[f"valid.{name}"] = rng.random(count) > 0.2
    return given


def _run_here(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)
