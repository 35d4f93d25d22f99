"""The four emotions of IEMOCAP, from the pickle of MulT to predictions on the device."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edge_msa_runtime.bundle.loader import open_bundle
from edge_msa_runtime.modalities import Subset

if TYPE_CHECKING:
    from tests.conftest import Once
    from tests.integration.conftest import CommandResult

    Command = Callable[..., CommandResult]

pytestmark = pytest.mark.slow

EMOTIONS = ("neutral", "happy", "sad", "angry")
WIDTHS = {"text": 300, "audio": 74, "vision": 35}
NAMES = {"text": "language", "audio": "audio", "vision": "vision"}
FRAMES = 20
RECIPE = """
[hrlf]
epochs = 1
robust_epochs = 1
d = 8
heads = 2
[almt]
epochs = 1
tokens = 2
[student]
epochs = 12
batch_size = 32
learning_rate = 1e-2
width = 8
blocks = 1
hidden = 16
teacher_share = 0.0
[pipeline]
num_samples = 32
max_drop = 100
allow_worse_than_constant = true
precision = "int8"
"""


def iemocap_split(count: int, seed: int, *, bytes_ids: bool) -> dict[str, Any]:
    """Return a split in the format of MulT's `iemocap_data.pkl`. Feature i of a frame depends on emotion i modulo 4."""
    generator = np.random.default_rng(seed)
    present = np.eye(4, dtype=np.int64)[generator.integers(0, 4, count)]
    split: dict[str, Any] = {"labels": np.stack([1 - present, present], axis=2)}
    padded = np.arange(FRAMES) < FRAMES - generator.integers(5, FRAMES + 1, count)[:, None]
    for name, width in WIDTHS.items():
        signal = np.tile(present, (1, width // 4 + 1))[:, :width]
        split[name] = generator.normal(size=(count, FRAMES, width)).astype(np.float32) + 2 * signal[:, None]
        split[name] = split[name].astype(np.float32)
        split[name][padded] = 0
    split["audio"][0, -1, :2] = np.nan, -np.inf
    names = [f"Ses{seed:02d}_{row}" for row in range(count)]
    split["id"] = [(name.encode(), b"0.5", b"1.5") for name in names] if bytes_ids else names
    return split


@pytest.fixture(scope="session")
def folder(once: Once, edge_msa: Command) -> Path:
    """Return a folder with `iemocap_data.pkl`, `recipe.toml`, and the output of a pipeline, `out`."""

    def create(folder: Path) -> None:
        content = {
            "train": iemocap_split(96, 1, bytes_ids=True),
            "valid": iemocap_split(32, 2, bytes_ids=True),
            "test": iemocap_split(32, 3, bytes_ids=False),
        }
        data, recipe = folder / "iemocap_data.pkl", folder / "recipe.toml"
        data.write_bytes(pickle.dumps(content))
        recipe.write_text(RECIPE)
        result = edge_msa("pipeline", "--recipe", recipe, "--data", data, "--output-dir", folder / "out")
        assert result.code == 0, result.err
        (folder / "stdout").write_text(result.out)
        (folder / "stderr").write_text(result.err)

    return once("emotions", create)


@pytest.fixture(scope="session")
def pipeline(folder: Path) -> Path:
    """Return the output folder of the pipeline."""
    return folder / "out"


def evaluated(edge_msa: Command, path: Path, data: Path) -> dict[str, Any]:
    result = edge_msa("evaluate", path, "--data", data, "--json")
    assert result.code == 0, result.err
    evaluation: dict[str, Any] = json.loads(result.out.splitlines()[-1])
    return evaluation


def test_the_pipeline_prints_notes_and_emotion_metrics(folder: Path) -> None:
    assert "-inf" in (folder / "stderr").read_text()
    assert "F1 average lav" in (folder / "stdout").read_text()


@pytest.mark.parametrize("target", ["laptop", "jetson"])
def test_the_device_predicts_the_emotion(
    target: str, pipeline: Path, folder: Path, tmp_path: Path, edge_msa_run: Command
) -> None:
    bundle = pipeline / f"bundle-{target}"
    assert open_bundle(bundle).manifest.task.labels == EMOTIONS
    split = pickle.loads((folder / "iemocap_data.pkl").read_bytes())["test"]  # noqa: S301 - written above
    correct = 0
    for row in range(1, 9):
        frames = {NAMES[name]: split[name][row] for name in WIDTHS}
        np.savez(tmp_path / "sample.npz", allow_pickle=False, **{n: x[x.any(axis=1)] for n, x in frames.items()})
        result = edge_msa_run("predict", bundle, tmp_path / "sample.npz", "--backend", "onnxruntime", "--json")
        assert result.code == 0, result.err
        prediction = json.loads(result.out.splitlines()[-1])
        assert prediction["score"] is None
        assert tuple(prediction["probabilities"]) == EMOTIONS
        assert prediction["label"] == max(EMOTIONS, key=prediction["probabilities"].__getitem__)
        correct += prediction["label"] == EMOTIONS[split["labels"][row, :, 1].argmax()]
    assert correct >= 6


def test_each_emotion_is_better_than_its_baseline(pipeline: Path, folder: Path, edge_msa: Command) -> None:
    student, bundle = (
        evaluated(edge_msa, pipeline / name, folder / "iemocap_data.pkl") for name in ("student", "bundle-laptop")
    )
    for evaluation in (student, bundle):
        assert set(evaluation["by_subset"]) == {subset.value for subset in Subset}
        baseline = evaluation["baselines"]["best_constant"]
        for name in EMOTIONS:
            assert evaluation["by_subset"]["lav"][f"f1_{name}"] > baseline[f"f1_{name}"] + 0.05
            assert evaluation["by_subset"]["lav"][f"acc_{name}"] >= baseline[f"acc_{name}"]
    table = edge_msa("evaluate", pipeline / "teacher", "--data", folder / "iemocap_data.pkl").out
    assert "baseline: median = best constant (no emotion)" in table


def test_the_report_names_the_emotions(pipeline: Path) -> None:
    page = (pipeline / "report.html").read_text(encoding="utf-8")
    for text in ("F1 average", *(f"F1 {name}" for name in EMOTIONS), "baseline: median = best constant (no emotion)"):
        assert text in page


def test_almt_is_a_teacher_of_emotions(folder: Path, tmp_path: Path, edge_msa: Command) -> None:
    data = folder / "iemocap_data.pkl"
    common = ("--data", data, "--recipe", folder / "recipe.toml", "--epochs", "1", "--device", "cpu")
    assert edge_msa("train", "--model", "almt", *common, "--output-dir", tmp_path / "teacher").code == 0
    distilled = edge_msa("distill", "--teacher", tmp_path / "teacher", *common, "--output-dir", tmp_path / "student")
    assert distilled.code == 0, distilled.err
    for name in ("teacher", "student"):
        assert {f"f1_{emotion}" for emotion in EMOTIONS} < set(
            evaluated(edge_msa, tmp_path / name, data)["by_subset"]["l"]
        )
