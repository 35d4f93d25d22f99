"""ALMT as a teacher: trained, imported, distilled and measured from the command line."""

from __future__ import annotations

import csv
import json
import pickle
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from edge_msa.artifacts.runs import load_run
from edge_msa.data.dataset import Frames, Split
from edge_msa.evaluation.predictors import run_predictor
from edge_msa.models.almt import Almt, AlmtConfig
from edge_msa_runtime.modalities import MODALITIES, Subset
from tests.locations import SHARED_DATA
from tests.tolerances import assert_close_to_scale

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.conftest import CommandResult

    Command = Callable[..., CommandResult]

GOLDEN = SHARED_DATA / "golden"
RECIPE = "[almt]\nepochs = 1\ntokens = 2\n[student]\nepochs = 1\nwidth = 8\nblocks = 1\n"
SYNTHETIC = AlmtConfig(
    {"language": 24, "audio": 16, "vision": 12}, {"language": 14, "audio": 20, "vision": 20}, tokens=2
)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.save(Almt(SYNTHETIC).state_dict(), tmp_path / "almt.pth")
    return tmp_path / "almt.pth"


def test_almt_is_trained_evaluated_and_distilled(archive: Path, tmp_path: Path, edge_msa: Command) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE)
    common = ("--data", archive, "--recipe", recipe, "--device", "cpu")
    teacher = tmp_path / "teacher"
    train = ("train", "--model", "almt", *common, "--output-dir", teacher)
    assert edge_msa(*train).code == 0
    assert load_run(teacher, "teacher").info.model == "almt"
    assert "up to date" in edge_msa(*train).out
    assert edge_msa("evaluate", teacher, "--data", archive).code == 0
    distilled = edge_msa("distill", "--teacher", teacher, *common, "--output-dir", tmp_path / "student")
    assert distilled.code == 0, distilled.err


def test_an_imported_checkpoint_is_a_teacher(
    checkpoint: Path, archive: Path, tmp_path: Path, edge_msa: Command
) -> None:
    command = ("import", "almt", checkpoint, "--output-dir", tmp_path / "run")
    result = edge_msa(*command)
    assert result.code == 0
    assert "features are not normalized" in result.err
    assert "language 14 x 24, audio 20 x 16, vision 20 x 12" in result.out
    run = load_run(tmp_path / "run", "teacher")
    assert run.spec.windows == SYNTHETIC.lengths
    assert "up to date" in edge_msa(*command).out
    assert edge_msa("evaluate", tmp_path / "run", "--data", archive).code == 0


def test_the_authors_checkpoint_predicts_as_published(tmp_path: Path, edge_msa: Command) -> None:
    if not GOLDEN.exists():
        pytest.skip("the golden outputs of ALMT are not available")
    checkpoint = GOLDEN / "almt_authors_mosi50.pth"
    assert edge_msa("import", "almt", checkpoint, "--output-dir", tmp_path / "run").code == 0
    with np.load(GOLDEN / "almt_authors_mosi50_io.npz", allow_pickle=False) as arrays:
        modalities = {name: Frames(np.ones(arrays[name].shape[:2], np.bool_), arrays[name]) for name in MODALITIES}
        expected = arrays["output"][:, 0]
    ids = tuple(map(str, range(len(expected))))
    split = Split(ids, ids, np.zeros(len(ids), np.float32), modalities)
    assert_close_to_scale(run_predictor(load_run(tmp_path / "run"))(split, Subset.LAV), expected)


@pytest.mark.case("E5")
@pytest.mark.parametrize("zeros", [False, True])
def test_an_imported_checkpoint_gets_the_language_padding_of_the_file(
    checkpoint: Path, tmp_path: Path, edge_msa: Command, *, zeros: bool
) -> None:
    rng = np.random.default_rng(0)
    count = 6
    text = rng.normal(size=(count, 14, 24)).astype(np.float32)
    mask = np.arange(14) < np.array([3, 14, 8, 5, 1, 9])[:, None]
    if zeros:
        text[~mask] = 0
    streams = {"audio": (20, 16), "vision": (20, 12)}
    features = {name: rng.normal(size=(count, *shape)).astype(np.float32) for name, shape in streams.items()}
    split = {
        "id": [f"video${row}" for row in range(count)],
        "text": text,
        "text_bert": np.stack([np.zeros((count, 14)), mask, np.zeros((count, 14))], axis=1).astype(np.float32),
        **features,
        "regression_labels": rng.uniform(-3, 3, count).astype(np.float32),
    }
    (tmp_path / "features.pkl").write_bytes(pickle.dumps({"train": split, "valid": split, "test": split}))
    assert edge_msa("data", "convert", tmp_path / "features.pkl", "--output", tmp_path / "copy.npz").code == 0
    assert edge_msa("import", "almt", checkpoint, "--output-dir", tmp_path / "run").code == 0
    network = Almt(SYNTHETIC).eval()
    network.load_state_dict(torch.load(checkpoint, weights_only=True))
    frames = {name: torch.from_numpy(item) for name, item in {"language": text, **features}.items()}
    everything = {name: torch.ones(item.shape[:2], dtype=torch.bool) for name, item in frames.items()}
    with torch.no_grad():
        expected = network(frames, everything)  # the authors use no masks
    for name in ("features.pkl", "copy.npz"):
        scores_file = tmp_path / f"{name}.csv"
        result = edge_msa("evaluate", tmp_path / "run", "--data", tmp_path / name, "--predictions", scores_file)
        assert result.code == 0, result.err
        table = csv.DictReader(scores_file.read_text().splitlines())
        rows = [row for row in table if row["subset"] == "lav"]
        scores = torch.tensor([[float(row["score"])] for row in rows])
        assert_close_to_scale(scores, expected)
        assert ("the padding in the data is zero" in result.out) == zeros


@pytest.mark.parametrize(
    ("name", "options", "code", "words"),
    [
        ("nowhere.pth", (), 2, "nowhere.pth does not exist"),
        ("folder", (), 2, "is a folder"),
        ("short.pth", (), 1, "missing: h_hyper"),
        ("almt.pth", ("--task", "emotions"), 2, "The task emotions has 4 outputs"),
        ("almt.pth", ("--task", "mosy"), 2, "did you mean 'mosi'"),
    ],
)
def test_unusable_checkpoints_are_one_error_line(
    name: str, options: tuple[str, ...], code: int, words: str, checkpoint: Path, tmp_path: Path, edge_msa: Command
) -> None:
    tensors = torch.load(checkpoint, weights_only=True)
    del tensors["h_hyper"]
    torch.save(tensors, tmp_path / "short.pth")
    (tmp_path / "folder").mkdir()
    before = sorted(tmp_path.iterdir())
    result = edge_msa("import", "almt", tmp_path / name, "--output-dir", tmp_path / "run", *options)
    assert result.code == code
    assert words.lower() in result.err.lower()
    assert len(result.err.splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before


def test_bench_almt_prints_the_speedup(edge_msa: Command) -> None:
    result = edge_msa("bench", "almt", "--repeats", "1", "--json")
    assert result.code == 0
    assert "speedup" in result.out
    assert {"batch", "speedup", "max_difference"} <= set(json.loads(result.out.splitlines()[-1])["almt"][0])
