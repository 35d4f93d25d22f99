from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edge_msa.data.dataset import SPLITS, Dataset, FloatArray, Frames, Split
from edge_msa.data.formats.archive import write_archive
from edge_msa.data.opening import SYNTHETIC_QUICK, open_dataset
from edge_msa.data.tasks import MOSI, Task
from edge_msa.errors import UsageError
from edge_msa.workflows import evaluate as evaluate_workflow
from edge_msa.workflows.evaluate import _open_data_of_bundle, evaluate
from edge_msa_export.provenance import DataSource, Provenance
from edge_msa_runtime.bundle.manifest import MANIFEST_NAME, TaskSpec
from edge_msa_runtime.modalities import Subset
from tests.unit.edge_msa.toy_runs import DIMS, write_dataset, write_teacher


def test_against_is_refused_for_a_run_before_the_evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_dataset(tmp_path / "all.npz")
    run = write_teacher(tmp_path / "teacher", data)
    monkeypatch.setattr("edge_msa.workflows.evaluate.evaluate", lambda *_, **__: pytest.fail("evaluated"))
    with pytest.raises(UsageError, match="and against are for bundles"):
        evaluate(run, data=data, against="int8")


def test_a_bundle_made_from_a_part_of_the_synthetic_data_needs_this_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made_from(digest: str) -> None:
        provenance = Provenance(data=DataSource(SYNTHETIC_QUICK, digest)).to_json()
        bundle = SimpleNamespace(manifest=SimpleNamespace(provenance=provenance))
        monkeypatch.setattr("edge_msa.workflows.evaluate.open_bundle", lambda _: bundle)

    (tmp_path / MANIFEST_NAME).touch()
    dataset = open_dataset(SYNTHETIC_QUICK)
    made_from(dataset.digest)
    assert _open_data_of_bundle(tmp_path, None)[1].digest == dataset.digest
    made_from("0" * 64)
    with pytest.raises(UsageError, match="with other samples than the built-in data of this name"):
        _open_data_of_bundle(tmp_path, None)


def _data_with_moods(path: Path, *, ordered: bool = True) -> str:
    """Write data whose labels and frames have a part that belongs to the video."""
    rng = np.random.default_rng(0)
    splits = {}
    for name in SPLITS:
        moods = np.repeat(rng.normal(size=12), 6)
        labels = moods + 0.5 * rng.normal(size=72)
        frames = labels[:, None, None] + rng.normal(size=(72, 5, DIMS["audio"]))
        splits[name] = Split(
            tuple(f"{name}-{row}" for row in range(72)),
            tuple(f"{name}-video-{row // 6}" for row in range(72)),
            labels.clip(-3, 3).astype(np.float32),
            {"audio": Frames(np.ones((72, 5), np.bool_), frames.astype(np.float32))},
            (),
            tuple(float(row % 6) for row in range(72)) if ordered else (),
        )
    write_archive(Dataset(path.stem, MOSI, splits, ""), path)
    return str(path)


def _predict_badly(split: Split, _: Subset) -> FloatArray:
    return np.asarray(0.3 * split.modalities["audio"].take()[:, 0, 0], np.float32)


def test_evaluating_a_run_measures_the_memory_that_export_would_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = _data_with_moods(tmp_path / "moods.npz")
    run = write_teacher(tmp_path / "teacher", data)
    monkeypatch.setattr("edge_msa.workflows.evaluate.run_predictor", lambda _: _predict_badly)
    test, valid = (evaluate(run, data=data, split=name).context for name in ("test", "valid"))
    assert test is not None
    assert valid is not None
    assert (test.videos, test.utterances) == (12, 60)
    assert test.changes["a"]["mae"].value < 0
    assert test.changes["a"]["mae"] != valid.changes["a"]["mae"]


def test_data_without_order_say_that_there_is_no_memory(tmp_path: Path) -> None:
    data = _data_with_moods(tmp_path / "moods.npz", ordered=False)
    result = evaluate(write_teacher(tmp_path / "teacher", data), data=data)
    assert result.context is None
    said = "the test split of moods does not state the order of utterances in their videos"
    assert sum(said in note for note in result.notes) == 1


def test_data_has_the_classes_of_a_bundle_unless_it_is_synthetic(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = TaskSpec("classes", 2, ("sad", "happy"), (), None, None)
    bundle = SimpleNamespace(manifest=SimpleNamespace(task=spec))
    opened: list[tuple[str, object]] = []
    monkeypatch.setattr(evaluate_workflow, "is_bundle_or_cascade", lambda _path: True)
    monkeypatch.setattr(evaluate_workflow, "is_cascade", lambda _path: False)
    monkeypatch.setattr(evaluate_workflow, "open_bundle", lambda _path: bundle)
    monkeypatch.setattr(evaluate_workflow, "open_and_report", lambda name, task, **_: opened.append((name, task)))
    for source in ("test.csv", "synthetic-classes"):
        evaluate_workflow.open_dataset_of(Path("bundle"), source, None)
    assert opened == [("test.csv", Task("classes", ("sad", "happy"))), ("synthetic-classes", None)]
