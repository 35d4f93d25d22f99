"""Bundles for ARM on an emulated ARM processor, with only the bundle's wheel, NumPy and ONNX Runtime installed.

`make test-aarch64` sets up the emulated Python (tests/integration/aarch64/make_root.sh) and runs these tests. They skip
without it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_msa_runtime.bundle.golden import load_golden
from edge_msa_runtime.bundle.loader import open_bundle
from tests.locations import REPOSITORY
from tests.unit.runtime.audio.sounds import make_noise, make_syllables, make_tones

EMULATED_PYTHON = Path(os.environ.get("EDGE_MSA_AARCH64", REPOSITORY / ".aarch64")) / "python"
SCRIPT = REPOSITORY / "tests/integration/aarch64/predict_all.py"
AUDIO_SCRIPT = REPOSITORY / "tests/integration/aarch64/compute_audio.py"
MISSING = [
    name
    for name, available in (
        ("qemu-aarch64-static", shutil.which("qemu-aarch64-static")),
        (EMULATED_PYTHON, EMULATED_PYTHON.is_file()),
    )
    if not available
]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"{MISSING and MISSING[0]} is missing: make test-aarch64"),
]

TEXT = "I love it, not at all!"
# At fp32 the processors differ by rounding. At int8 a value between two steps may be rounded up on one of them.
MAX_DIFFERENCE = {"fp32": 1e-5, "int8": 5e-4}
# Predictions that are almost equal to each other would agree for any computation.
MIN_RANGE = 2e-3
# Of a feature, in its unit: most log-mel energies differ by rounding of float32, those near the lower limit by more.
MAX_AUDIO_DIFFERENCE = 1e-3

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(
    scope="module",
    params=["jetson streams", "jetson encoder", "raspberry-pi streams", "raspberry-pi table", "laptop-arm streams"],
)
def bundle(request: pytest.FixtureRequest, exported_bundle: Callable[[str, str], Path]) -> Path:
    target, name = request.param.split()
    return exported_bundle(target, name)


@pytest.fixture
def emulate(bundle: Path, tmp_path: Path) -> Run:
    """Run the emulated Python with the wheel of the bundle, and without the repository."""
    (wheel,) = bundle.glob("*.whl")
    site = tmp_path / "site"
    install = ["-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", "--no-index", "--target"]
    subprocess.run([sys.executable, *install, str(site), str(wheel)], check=True, capture_output=True)

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
        command = [str(EMULATED_PYTHON), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)

    return run


@pytest.mark.parametrize("cpu", ["cortex-a72", "cortex-a76"])  # without and with 8-bit dot products
def test_golden_predictions_are_reproduced_on_arm(
    bundle: Path, cpu: str, emulate: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QEMU_CPU", cpu)
    completed = emulate("-m", "edge_msa_runtime", "verify", bundle, "--backend", "onnxruntime", "--all", "--json")
    assert completed.returncode == 0, completed.stderr
    checks = json.loads(completed.stdout.splitlines()[-1])
    assert [check["precision"] for check in checks] == list(open_bundle(bundle).precisions("onnxruntime"))
    for check in checks:
        assert check["passed"]
        with capsys.disabled():
            difference = f"largest difference from torch {check['largest_difference']:.2e}"
            print(f"\n{bundle.parent.name}, {check['precision']}, {cpu}: {difference}", end="")


def test_every_subset_has_the_same_predictions_on_arm(
    bundle: Path, emulate: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "inputs.npz", **make_inputs(bundle))
    predictions = {}
    for name, run in (("aarch64", emulate), ("local", run_locally)):
        completed = run(SCRIPT, bundle, tmp_path / "inputs.npz", tmp_path / f"{name}.npz")
        assert completed.returncode == 0, completed.stderr
        predictions[name] = dict(np.load(tmp_path / f"{name}.npz"))
    assert predictions["aarch64"].keys() == predictions["local"].keys()
    for precision in open_bundle(bundle).precisions("onnxruntime"):
        differences = {
            name: float(np.abs(value - predictions["aarch64"][name]).max())
            for name, value in predictions["local"].items()
            if name.startswith(f"{precision}/")
        }
        worst = max(differences, key=lambda name: differences[name])
        with capsys.disabled():
            difference = f"largest difference between aarch64 and x86 {differences[worst]:.2e} ({worst})"
            print(f"\n{bundle.parent.name}, {len(differences)} predictions: {difference}", end="")
        assert max(differences.values()) <= MAX_DIFFERENCE[precision]
    assert np.ptp(list(predictions["local"].values())) > MIN_RANGE


@pytest.mark.parametrize("cpu", ["cortex-a72", "cortex-a76"])
def test_the_pretrained_bundle_runs_on_arm(cpu: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The bundle has one int8 graph for x86 and ARM, with unsigned activations and weights of 7 bits."""
    path = os.pathsep.join(str(REPOSITORY / name) for name in ("runtime", "pretrained"))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "QEMU_CPU": cpu}
    scores = {}
    for name, python in (("aarch64", EMULATED_PYTHON), ("local", Path(sys.executable))):
        for arguments in (
            ["verify", "--backend", "onnxruntime", "--all"],
            ["predict", TEXT, "--backend", "onnxruntime"],
        ):
            command = [str(python), "-m", "edge_msa_runtime", *arguments, "--pretrained", "text-nano", "--json"]
            completed = subprocess.run(
                command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path
            )
            assert completed.returncode == 0, completed.stderr
        scores[name] = json.loads(completed.stdout.splitlines()[-1])["score"]
    with capsys.disabled():
        print(f"\ntext-nano, int8, {cpu}: aarch64 {scores['aarch64']:.7f}, x86 {scores['local']:.7f}", end="")
    assert abs(scores["aarch64"] - scores["local"]) <= MAX_DIFFERENCE["int8"]


def test_audio_frames_are_the_same_on_arm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("kaldi_native_fbank")
    speech = np.concatenate([np.zeros(8000), make_syllables(3.0), np.zeros(8000)])
    sounds = {
        "speech": speech,
        "speech in noise": speech + make_noise(0.03, seconds=4),
        "speech in music": speech + 0.3 * make_tones(4.0),
        "noise": make_noise(0.1, seconds=2),
        "silence": np.zeros(16_000),
    }
    np.savez(tmp_path / "sounds.npz", **{name: samples.astype(np.float32) for name, samples in sounds.items()})
    frames = {}
    for name, python in (("aarch64", EMULATED_PYTHON), ("local", Path(sys.executable))):
        command = [str(python), str(AUDIO_SCRIPT), str(tmp_path / "sounds.npz"), str(tmp_path / f"{name}.npz")]
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "runtime")}
        completed = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
        assert completed.returncode == 0, completed.stderr
        frames[name] = dict(np.load(tmp_path / f"{name}.npz"))
    assert frames["aarch64"].keys() == frames["local"].keys() == sounds.keys()
    differences = {name: np.abs(value - frames["aarch64"][name]).max(axis=0) for name, value in frames["local"].items()}
    with capsys.disabled():
        for name, values in differences.items():
            mels, rest = values[:-4].max(), ", ".join(f"{value:.1e}" for value in values[-4:])
            print(
                f"\n{name}: largest difference of log mels {mels:.1e}; pitch, voicing, energy, activity {rest}", end=""
            )
    assert max(values.max() for values in differences.values()) <= MAX_AUDIO_DIFFERENCE
    assert np.ptp(frames["local"]["speech"][:, -1]) == 1


def make_inputs(folder: Path) -> dict[str, Any]:
    """Return golden frames in random order, two and a half windows of them, with masks that exclude a fifth of them."""
    generator = np.random.default_rng(8)
    bundle = open_bundle(folder)
    manifest = bundle.manifest
    inputs: dict[str, Any] = {"text": TEXT} if manifest.language else {}
    for name, spec in manifest.modalities.items():
        count = spec.window * 5 // 2
        golden = next(case.frames[name] for case in load_golden(bundle) if name in case.frames)
        inputs[name] = generator.choice(golden, count)
        inputs[f"valid.{name}"] = generator.random(count) > 0.2
    return inputs


def run_locally(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)
