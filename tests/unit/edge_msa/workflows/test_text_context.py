"""Text models that read earlier utterances, from transcripts to a bundle."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_msa.artifacts.runs import Run
from edge_msa.data.opening import open_dataset
from edge_msa.data.tasks import MOSI
from edge_msa.errors import UsageError
from edge_msa.evaluation.evaluate import Evaluation
from edge_msa.evaluation.predictors import run_predictor
from edge_msa.training.text.encode_dataset import encode_texts_with_run
from edge_msa.training.text.train import Corpus
from edge_msa.workflows import text as text_workflow
from edge_msa.workflows.calibrate import calibrate
from edge_msa.workflows.evaluate import evaluate
from edge_msa.workflows.export import export
from edge_msa.workflows.predict import predict
from edge_msa.workflows.text import distill_text, train_text
from edge_msa_runtime import load
from edge_msa_runtime.bundle.loader import open_bundle
from edge_msa_runtime.inputs.samples import open_samples
from edge_msa_runtime.modalities import Subset

STAGE = {"epochs": 1, "learning_rate": 1e-2}
RECIPE: dict[str, Any] = {"width": 16, "hidden": 8, "max_tokens": 16, "transfer": STAGE, "final": STAGE}
TEXTS = ("i love it", "not at all", "it", "love at all", "i not it", "not love it")


def write_transcripts(path: Path, *, changed: str = "") -> Path:
    """Write six utterances of two videos by split, not in order. `changed` replaces the last text of each video."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "mode", "video_id", "clip_id", "label"])
        for split in ("train", "valid", "test"):
            for row in (2, 0, 4, 1, 3, 5):
                text = changed if changed and row >= 4 else TEXTS[row]
                # Splits share the names of videos: earlier utterances must come from the same split.
                writer.writerow([text, split, "ab"[row % 2], 10 * row, 2.0 if "love" in TEXTS[row] else -1.5])
    return path


@pytest.fixture(scope="module")
def transcripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_transcripts(tmp_path_factory.mktemp("transcripts") / "transcripts.csv")


@pytest.fixture(scope="module")
def run(toy_encoder: Path, transcripts: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    place = tmp_path_factory.mktemp("run") / "run"
    return train_text(transcripts, encoder=toy_encoder, context=2, recipe={"text": RECIPE}, output_dir=place)


def scores(run: Run, path: Path, rows: list[int] | None = None) -> dict[str, float]:
    """Return the score of each sample of the test split, by id."""
    dataset = encode_texts_with_run(run, open_dataset(str(path), task=MOSI))
    split = dataset.split("test")
    if rows is not None:
        split = split.select(np.array(rows))
    return dict(zip(split.ids, run_predictor(run)(split, Subset.L).tolist(), strict=True))


def test_the_run_states_how_many_utterances_it_reads(run: Run) -> None:
    assert run.spec.text_input is not None
    assert run.spec.text_input.context == 2
    assert run.info.recipe["context"] == 2


def test_scores_depend_on_earlier_utterances_of_the_split_only(run: Run, transcripts: Path, tmp_path: Path) -> None:
    before = scores(run, transcripts)
    after = scores(run, write_transcripts(tmp_path / "changed.csv", changed="at all"))
    for sample, score in before.items():
        is_last = sample in {"a[40]", "b[50]"}
        assert (score != pytest.approx(after[sample], abs=1e-6)) == is_last, sample


def test_samples_that_are_left_out_are_still_context(run: Run, transcripts: Path) -> None:
    every, some = scores(run, transcripts), scores(run, transcripts, [0, 2])
    assert some == pytest.approx({sample: every[sample] for sample in some}, abs=1e-6)


def test_evaluation_compares_with_no_earlier_utterances(run: Run, transcripts: Path) -> None:
    result = evaluate(run, data=transcripts, task="mosi")
    assert result.earlier is not None
    assert (result.earlier.read, result.earlier.utterances, result.earlier.videos) == (2, 4, 2)
    dataset = encode_texts_with_run(run, open_dataset(str(transcripts), task=MOSI))
    split = dataset.split("test").without_earlier()
    error = np.abs(run_predictor(run)(split, Subset.L) - split.labels).mean()
    assert result.earlier.without["l"]["mae"] == pytest.approx(error)
    assert "Without the earlier utterances, of which the text encoder reads up to 2" in str(result)
    assert Evaluation.from_json(result.to_json()).earlier == result.earlier
    kinds = [row["kind"] for row in result.rows]
    assert "model without earlier utterances" in kinds


def test_a_table_learns_from_a_teacher_with_context(run: Run, transcripts: Path, tmp_path: Path) -> None:
    table = distill_text(run, transcripts=transcripts, recipe={"text": RECIPE}, output_dir=tmp_path / "table")
    assert table.spec.text_input is not None
    assert table.spec.text_input.context == 0
    assert evaluate(table, data=transcripts, task="mosi").earlier is None


def test_intermediate_targets_need_the_same_context(run: Run, transcripts: Path, tmp_path: Path) -> None:
    recipe = {"text": {**RECIPE, "intermediate": {"hidden": 1.0}}}
    with pytest.raises(UsageError, match="needs a student with the context of its first teacher, 2, got 0"):
        distill_text(
            run, transcripts=transcripts, text_encoder="encoder", recipe=recipe, output_dir=tmp_path / "student"
        )


@pytest.mark.slow
def test_a_bundle_reads_earlier_utterances_like_the_run(run: Run, transcripts: Path, tmp_path: Path) -> None:
    calibrate(run, output_dir=tmp_path / "calibrated")
    path = export(
        tmp_path / "calibrated", target="laptop-x86", output_dir=tmp_path / "bundle", allow_worse_than_constant=True
    ).path
    language = open_bundle(path).manifest.language
    assert language is not None
    assert language.context == 2
    expected = {sample: min(max(score, -3.0), 3.0) for sample, score in scores(run, transcripts).items()}
    predicted = predict(path, data=transcripts, split="test", precision="fp32", backend="onnxruntime")
    actual = {item.id: item.score for item in predicted}
    assert actual == pytest.approx(expected, abs=1e-4)
    result = evaluate(path, data=transcripts, precision="fp32", backend="onnxruntime", task="mosi")
    own = evaluate(run, data=transcripts, task="mosi")
    assert result.earlier is not None
    assert own.earlier is not None
    assert result.by_subset["l"]["mae"] == pytest.approx(own.by_subset["l"]["mae"], rel=1e-4)
    assert result.earlier.without["l"]["mae"] == pytest.approx(own.earlier.without["l"]["mae"], rel=1e-4)
    with load(path, backend="onnxruntime", precision="fp32") as session:
        for sample in open_samples(transcripts, split="test").read():
            assert sample.text is not None
            score = session.predict(text=sample.text, context=sample.earlier).score
            assert score == pytest.approx(expected[sample.id], abs=1e-4)


def test_a_file_of_other_labels_gives_its_texts_only(
    run: Run, transcripts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "train_sent_emo.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["Utterance", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID"])
        writer.writerows([["i love it", "joy", "positive", 0, 0], ["not at all", "anger", "negative", 0, 1]])
    caught: list[dict[str, Corpus]] = []

    def capture(_input: object, corpora: dict[str, Corpus], *_others: object, **_options: object) -> None:
        caught.append(corpora)
        raise KeyboardInterrupt

    monkeypatch.setattr(text_workflow, "fit_text_model", capture)
    meld = tmp_path / "train_sent_emo.csv"
    with pytest.raises(KeyboardInterrupt):
        distill_text(run, transcripts=transcripts, texts=meld, output_dir=tmp_path / "student")
    transfer, final = (caught[0][name] for name in ("transfer", "final"))
    assert transfer.texts == ("i love it", "not at all", *final.texts)
    assert transfer.earlier[:2] == ((), ("i love it",))
    assert np.isnan(transfer.labels[:2]).all()
    assert transfer.predictions is not None
    assert np.isfinite(transfer.predictions).all()
