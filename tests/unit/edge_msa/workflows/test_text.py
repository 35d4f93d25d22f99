"""Text models, from transcripts to a bundle that takes text."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_msa.artifacts.runs import Run, load_run
from edge_msa.cli import run as run_cli
from edge_msa.data import contextual_features
from edge_msa.data.formats.archive import write_archive
from edge_msa.data.opening import open_dataset
from edge_msa.data.tasks import SIMS
from edge_msa.errors import DataError, UnstatedTaskError, UsageError
from edge_msa.models.encoder_widths import EncoderWidths
from edge_msa.models.pretrained import load_encoder
from edge_msa.models.text_encoders import EmbeddingTableEncoder
from edge_msa.reporting.text_sweep import RECORD_NAME, TextSweep
from edge_msa.training.text.encode_dataset import encode_texts_with_run
from edge_msa.training.text.load import load_text_input, load_text_model
from edge_msa.training.text.train import Corpus, predict_texts
from edge_msa.workflows import text as text_workflow
from edge_msa.workflows.bench_models import bench_models
from edge_msa.workflows.calibrate import calibrate
from edge_msa.workflows.distill import distill
from edge_msa.workflows.evaluate import evaluate
from edge_msa.workflows.explain import explain
from edge_msa.workflows.export import export
from edge_msa.workflows.predict import predict
from edge_msa.workflows.reproduce import reproduce
from edge_msa.workflows.sensitivity import sensitivity
from edge_msa.workflows.text import distill_text, train_text
from edge_msa.workflows.text_sweep import PAGE, _named_encoders, _SweepConfig, _Validation, sweep_text
from edge_msa.workflows.train import train
from edge_msa_runtime import load
from edge_msa_runtime.bundle.loader import open_bundle
from tests.tolerances import assert_close_to_scale
from tests.unit.edge_msa.training.text.toy_text import encoder_of, make_teacher_input

QUICK = {
    "text": {
        "dim": 8,
        "width": 16,
        "hidden": 8,
        "max_tokens": 16,
        "transfer": {"epochs": 1},
        "final": {"epochs": 1},
    }
}
GOOD, BAD = ("i love it", "love at all", "it i love"), ("not at all", "i not it", "not love it")


def write_transcripts(path: Path, *, scored: bool = True) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "mode", *(["label"] if scored else [])])
        for split in ("train", "valid", "test"):
            for score, texts in ((2.0, GOOD), (-1.5, BAD)):
                writer.writerows([text.upper() + "!", split, *([score] if scored else [])] for text in texts)
    return path


@pytest.fixture(scope="module")
def transcripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_transcripts(tmp_path_factory.mktemp("transcripts") / "transcripts.csv")


@pytest.fixture(scope="module")
def teacher(toy_encoder: Path, transcripts: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    place = tmp_path_factory.mktemp("teacher") / "teacher"
    return train_text([str(transcripts)], output_dir=place, encoder=str(toy_encoder), recipe=QUICK)


@pytest.fixture(scope="module")
def table(teacher: Run, transcripts: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    place = tmp_path_factory.mktemp("table") / "table"
    return distill_text([teacher.path], transcripts=[str(transcripts)], output_dir=place, recipe=QUICK)


@pytest.fixture(scope="module")
def calibrated(table: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return calibrate(table.path, output_dir=tmp_path_factory.mktemp("calibrated") / "calibrated")


@pytest.fixture(scope="module")
def bundle(calibrated: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(
        calibrated.path,
        target="laptop-x86",
        output_dir=tmp_path_factory.mktemp("bundle") / "bundle",
        allow_worse_than_constant=True,
    ).path


def test_run_records_its_text_input(table: Run) -> None:
    text_input = table.spec.text_input
    assert text_input is not None
    assert (text_input.text_encoder, text_input.max_tokens) == ("table", 16)


def test_run_names_its_text_encoder_and_digest(table: Run, teacher: Run, toy_encoder: Path) -> None:
    for run, kind in ((teacher, "encoder"), (table, "table")):
        source = run.spec.features["language"]
        assert source.extractor == f"edge-msa text {kind} from {toy_encoder.name}"
        assert run.spec.text_input is not None
        assert source.version == f"sha256 {run.spec.text_input.digest[:12]}"


@pytest.mark.usefixtures("printing")
def test_run_that_is_up_to_date_is_skipped(
    teacher: Run, toy_encoder: Path, transcripts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train_text([str(transcripts)], output_dir=teacher.path, encoder=str(toy_encoder), recipe=QUICK)
    assert "is up to date" in capsys.readouterr().out


@pytest.mark.slow
def test_bundle_predicts_like_the_run(bundle: Path, table: Run, transcripts: Path) -> None:
    actual = evaluate(bundle, data=str(transcripts), precision="fp32", backend="onnxruntime")
    expected = evaluate(table.path, data=str(transcripts))
    assert actual.by_subset["l"]["mae"] == pytest.approx(
        expected.by_subset["l"]["mae"], rel=0.02
    )  # the rows of the table are int8
    with load(bundle, backend="onnxruntime", precision="fp32") as session:
        loud = session.predict(text="I LOVE IT!!!").outputs
        plain = session.predict(text="i love it").outputs
    assert loud == plain
    manifest = open_bundle(bundle).manifest
    assert manifest.modalities["language"].features == table.spec.features["language"]


@pytest.mark.slow
def test_encoder_with_fewer_layers_predicts_like_the_run(teacher: Run, transcripts: Path, tmp_path: Path) -> None:
    run = distill_text(
        [teacher.path],
        transcripts=[str(transcripts)],
        output_dir=tmp_path / "one",
        text_encoder="encoder",
        layers=1,
        recipe=QUICK,
    )
    calibrate(run.path, output_dir=tmp_path / "calibrated")
    export(tmp_path / "calibrated", target="laptop-x86", output_dir=tmp_path / "bundle", allow_worse_than_constant=True)
    actual = evaluate(tmp_path / "bundle", data=str(transcripts), precision="fp32", backend="onnxruntime")
    expected = evaluate(run.path, data=str(transcripts))
    assert actual.by_subset["l"]["mae"] == pytest.approx(expected.by_subset["l"]["mae"], rel=1e-4)


@pytest.mark.slow
def test_mixed_precision_plan_covers_the_text_encoder(teacher: Run, tmp_path: Path) -> None:
    calibrated, planned = tmp_path / "calibrated", tmp_path / "planned"
    calibrate(teacher.path, output_dir=calibrated)
    fixed = "text_encoder.encoder.encoder.layer.0.output.dense.weight"
    chosen = {scheme: {fixed: "chosen by hand"} for scheme in ("openvino-x86", "ort-x86-vnni")}
    (calibrated / "fp32_weights.json").write_text(json.dumps(chosen))
    sensitivity(calibrated, target="laptop-x86", output_dir=planned, max_drop=100, max_distance=1e-4, budget=600)
    for scheme in ("openvino-x86", "ort-x86-vnni"):
        scores = json.loads((planned / f"plan-scores-{scheme}.json").read_text())["scores"]
        layers = max((set(row["fp32_weights"]) for row in scores), key=len)
        assert (
            len([name for name in layers if name.startswith("text_encoder.")]) == 11
        )  # two layers with six weights each, one of them in float32
        assert fixed not in layers
        assert len({row["distance"] for row in scores}) > 2
    path = export(
        planned, target="laptop-x86", output_dir=tmp_path / "bundle", precision="fp32", allow_worse_than_constant=True
    )
    for rows in open_bundle(path).manifest.provenance["plan"].values():
        assert len([row for row in rows if "(text_encoder." in row["node"]]) == 12
        assert [row["reason"] for row in rows if fixed in row["node"]] == ["chosen by hand"]


def test_teacher_uses_the_text_encoder_of_a_text_model(table: Run, mosi_like: Path, tmp_path: Path) -> None:
    recipe = {"hrlf": {"d": 8, "heads": 2}}
    run = train(str(mosi_like), output_dir=tmp_path / "teacher", recipe=recipe, epochs=1, text_model=table.path)
    spec = run.spec
    assert spec.dims == {"language": 8, "audio": 3}
    assert spec.features == table.spec.features
    assert not spec.normalization.mean["language"].any()
    evaluate(run.path, data=str(mosi_like))


@pytest.fixture
def mosi_like(tmp_path: Path) -> Path:
    """A file in the layout of MOSI's language and audio."""
    texts = np.array(GOOD + BAD + GOOD + BAD + GOOD + BAD)
    count = len(texts)
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "mosi_like.npz",
        id=np.array([f"v{row}_0" for row in range(count)]),
        raw_text=texts,
        label=np.where(np.isin(texts, GOOD), 2.0, -1.5),
        split=np.array(["train"] * 6 + ["valid"] * 6 + ["test"] * 6),
        word_ids=np.ones((count, 3), np.int64),
        glove=np.zeros((2, 4), np.float32),
        lengths=np.full(count, 3),
        vocab=np.array(["unk", "it"]),
        audio=rng.normal(size=(count, 3)).astype(np.float32),
    )
    return tmp_path / "mosi_like.npz"


@pytest.mark.slow
def test_qat_uses_the_text_encoder_of_the_calibrated_run(table: Run, mosi_like: Path, tmp_path: Path) -> None:
    data, small = str(mosi_like), {"student": {"width": 16, "blocks": 1, "hidden": 8, "epochs": 1}}
    teacher = train(data, output_dir=tmp_path / "teacher", recipe={"hrlf": {"d": 8, "heads": 2}}, epochs=1)
    student = distill([teacher.path], data=data, output_dir=tmp_path / "student", text_model=table.path, recipe=small)
    calibrated = calibrate(student.path, data=data, output_dir=tmp_path / "calibrated")
    trained = distill(
        [teacher.path], data=data, output_dir=tmp_path / "qat", qat=calibrated.path, recipe=small, epochs=1
    )
    assert trained.spec.to_json() == student.spec.to_json()
    evaluate(trained.path, data=data)


@pytest.mark.case("E3")
@pytest.mark.usefixtures("printing")
def test_reproduction_with_an_encoder_hides_words_before_encoding(
    teacher: Run,
    mosi_like: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(contextual_features, "_MIN_COMPARED", 1)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("[hrlf]\nd = 8\nheads = 2\n")
    options: dict[str, Any] = {"seeds": 1, "recipe": recipe, "epochs": 1, "device": "cpu"}
    result = reproduce("hrlf", data=str(mosi_like), output_dir=tmp_path / "text", text_model=teacher.path, **options)
    assert "l dropped 0.9" in result.record.full.conditions
    assert "overstated" not in capsys.readouterr().err
    encoded = tmp_path / "encoded.npz"
    source = open_dataset(mosi_like)
    write_archive(encode_texts_with_run(teacher, source), encoded)
    stored = reproduce("hrlf", data=str(encoded), output_dir=tmp_path / "stored", **options)
    (note,) = (note for note in stored.record.notes if "robustness to missing words is overstated" in note)
    assert note.endswith("with --text-model, words are dropped before encoding")
    assert note in str(stored)


def test_text_model_is_explained_on_data_with_other_modalities(table: Run, mosi_like: Path, tmp_path: Path) -> None:
    explain(table.path, data=str(mosi_like), output=tmp_path / "page.html")
    assert "language" in (tmp_path / "page.html").read_text()


def test_word_vectors_become_an_embedding_table(mosi_like: Path, tmp_path: Path) -> None:
    run = train_text([str(mosi_like)], output_dir=tmp_path / "run", encoder=str(mosi_like), recipe=QUICK)
    assert run.spec.dims == {"language": 4}


def test_embedding_table_is_trained_from_transcripts(transcripts: Path, tmp_path: Path) -> None:
    run = train_text([str(transcripts)], output_dir=tmp_path / "run", encoder="wordpieces", recipe=QUICK)
    assert run.spec.dims == {"language": 8}


def test_texts_without_scores_need_teachers(teacher: Run, transcripts: Path, tmp_path: Path) -> None:
    unscored = write_transcripts(tmp_path / "unscored.csv", scored=False)
    distill_text(
        [teacher.path], transcripts=[str(unscored), str(transcripts)], output_dir=tmp_path / "run", recipe=QUICK
    )
    with pytest.raises(DataError, match="has no labels"):
        train_text([str(unscored), str(transcripts)], output_dir=tmp_path / "other", encoder="wordpieces", recipe=QUICK)


class Captured(Exception):  # noqa: N818 - not an error of the code
    """Carries the corpora of a training instead of training."""


@pytest.fixture
def capture_corpora(monkeypatch: pytest.MonkeyPatch) -> None:
    def capture(_input: object, corpora: dict[str, Corpus], *_others: object, **_options: object) -> None:
        raise Captured(corpora)

    monkeypatch.setattr(text_workflow, "fit_text_model", capture)


@pytest.mark.usefixtures("capture_corpora")
def test_distillation_adds_changed_copies_with_predictions(teacher: Run, transcripts: Path, tmp_path: Path) -> None:
    recipe = {"text": {**QUICK["text"], "transfer_copies": 3}}
    with pytest.raises(Captured) as caught:
        distill_text([teacher.path], transcripts=[str(transcripts)], output_dir=tmp_path / "run", recipe=recipe)
    transfer, final = (caught.value.args[0][name] for name in ("transfer", "final"))
    count = len(final.texts)
    copies = transfer.texts[count:]
    assert transfer.texts[:count] == final.texts
    assert len(copies) > count
    assert not set(copies) & set(final.texts)
    assert np.isnan(transfer.labels[count:]).all()
    expected = predict_texts(*load_text_model(teacher), copies)
    np.testing.assert_allclose(transfer.predictions[count:], expected, atol=1e-5)


@pytest.mark.usefixtures("capture_corpora")
def test_students_of_every_seed_share_the_changed_copies(teacher: Run, transcripts: Path, tmp_path: Path) -> None:
    recipe = {"text": {**QUICK["text"], "transfer_copies": 1}}
    copies = []
    for seed in (0, 1):
        with pytest.raises(Captured) as caught:
            distill_text(
                [teacher.path], transcripts=[str(transcripts)], output_dir=tmp_path / "run", recipe=recipe, seed=seed
            )
        copies.append(caught.value.args[0]["transfer"].texts)
    assert copies[0] == copies[1]
    assert len(list((tmp_path / "predictions").iterdir())) == 2  # of the texts, and of their copies


@pytest.mark.usefixtures("capture_corpora")
def test_transfer_contains_the_target_corpus_several_times(teacher: Run, transcripts: Path, tmp_path: Path) -> None:
    files = [str(transcripts), str(transcripts)]
    recipe = {"text": {**QUICK["text"], "mix": 2}}
    with pytest.raises(Captured) as caught:
        train_text(files, encoder="wordpieces", output_dir=tmp_path / "run", recipe=recipe)
    stages = caught.value.args[0]
    assert stages["transfer"].texts == 3 * stages["final"].texts
    with pytest.raises(Captured) as caught:
        distill_text([teacher.path], transcripts=files, output_dir=tmp_path / "run", recipe=recipe)
    stages = caught.value.args[0]
    assert stages["transfer"].texts == 4 * stages["final"].texts
    assert np.array_equal(stages["transfer"].predictions, np.tile(stages["final"].predictions, (4, 1)))


def test_unusable_teachers_and_transcripts_raise_an_error(transcripts: Path, table: Run, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Pass text_encoder='table'"):
        distill_text(
            [table.path],
            transcripts=[str(transcripts)],
            output_dir=tmp_path / "run",
            text_encoder="encoder",
            recipe=QUICK,
        )
    with pytest.raises(UsageError, match="No transcripts were passed"):
        distill_text([table.path], transcripts=[], output_dir=tmp_path / "run")


def test_teacher_of_another_task_is_rejected(table: Run, mosi_like: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(table.path, other)
    info = json.loads((other / "run.json").read_text())
    info["spec"]["task"] = dataclasses.asdict(SIMS)
    (other / "run.json").write_text(json.dumps(info))
    with pytest.raises(
        UsageError, match=r"must have the task of the transcripts, mosi \(-3 to 3\), got sims \(-1 to 1\)"
    ):
        distill_text([other], transcripts=[str(mosi_like)], output_dir=tmp_path / "run", recipe=QUICK)


def test_recipe_without_epochs_for_one_file_is_rejected(transcripts: Path, tmp_path: Path) -> None:
    recipe = {"text": {**QUICK["text"], "final": {"epochs": 0}}}
    with pytest.raises(UsageError, match=r"text\.final\.epochs must be at least 1 with one transcript file, got 0"):
        train_text([str(transcripts)], output_dir=tmp_path / "run", encoder="wordpieces", recipe=recipe)
    assert not list(tmp_path.iterdir())


def test_distilled_encoder_has_the_token_limit_of_the_recipe(teacher: Run, transcripts: Path, tmp_path: Path) -> None:
    recipe = {"text": {**QUICK["text"], "max_tokens": 4}}
    run = distill_text(
        [teacher.path],
        transcripts=[str(transcripts)],
        output_dir=tmp_path / "run",
        text_encoder="encoder",
        recipe=recipe,
    )
    assert run.spec.text_input is not None
    assert run.spec.text_input.max_tokens == 4


@pytest.fixture(scope="module")
def other_encoder(toy_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder with the tokens of the toy encoder, another width and three layers."""
    folder = tmp_path_factory.mktemp("other") / "other-encoder"
    shutil.copytree(toy_encoder, folder)
    encoder_of(make_teacher_input(toy_encoder)).encoder.save_pretrained(folder)
    return folder


def test_a_student_starts_from_chosen_layers_of_another_encoder(
    teacher: Run, other_encoder: Path, transcripts: Path, tmp_path: Path
) -> None:
    recipe = {"text": {**QUICK["text"], "transfer": {"epochs": 1, "learning_rate": 1e-9}, "final": {"epochs": 0}}}
    options: dict[str, Any] = {"transcripts": [str(transcripts)], "text_encoder": "encoder", "recipe": recipe}
    run = distill_text([teacher], output_dir=tmp_path / "run", encoder=other_encoder, layers="0,2", **options)
    whole = load_encoder(str(other_encoder)).model.encoder.layer
    kept = encoder_of(load_text_input(run)).encoder.encoder.layer
    for layer, index in zip(kept, (0, 2), strict=True):
        assert_close_to_scale(layer.output.dense.weight, whole[index].output.dense.weight)
    assert run.spec.dims == {"language": 24}
    assert run.spec.features["language"].extractor == "edge-msa text encoder from other-encoder"
    assert run.info.recipe["layers"] == [0, 2]
    again = distill_text([teacher], output_dir=tmp_path / "again", encoder=run, **options)
    assert again.spec.features["language"].extractor == "edge-msa text encoder from other-encoder"
    assert again.spec.dims == {"language": 24}


def test_a_student_starts_from_a_pruned_teacher(teacher: Run, transcripts: Path, tmp_path: Path) -> None:
    recipe = {"text": {**QUICK["text"], "prune": {"heads": 0.5, "neurons": 0.5}}}
    options: dict[str, Any] = {"transcripts": [str(transcripts)], "text_encoder": "encoder", "recipe": recipe}
    run = distill_text([teacher], output_dir=tmp_path / "run", layers=1, **options)
    encoder = encoder_of(load_text_input(run))
    assert (encoder.layers, encoder.widths) == (1, EncoderWidths((1,), (16,)))
    again = distill_text([teacher], output_dir=tmp_path / "again", encoder=run, **options)
    assert encoder_of(load_text_input(again)).widths == EncoderWidths((1,), (16,))


def test_pruning_needs_a_trained_encoder(teacher: Run, toy_encoder: Path, transcripts: Path, tmp_path: Path) -> None:
    recipe = {"text": {**QUICK["text"], "prune": {"heads": 0.5}}}
    options: dict[str, Any] = {"output_dir": tmp_path / "run", "recipe": recipe}
    with pytest.raises(UsageError, match=r"text\.prune needs a trained encoder, and .* is no run of edge-msa text"):
        distill_text([teacher], transcripts=transcripts, text_encoder="encoder", encoder=toy_encoder, **options)
    with pytest.raises(UsageError, match=r"text\.prune needs an encoder, but the student has a table"):
        distill_text([teacher], transcripts=transcripts, **options)
    with pytest.raises(UsageError, match=r"text\.prune needs a teacher"):
        train_text(transcripts, encoder=toy_encoder, **options)


def test_a_student_imitates_the_states_of_its_first_teacher(
    teacher: Run, table: Run, other_encoder: Path, transcripts: Path, tmp_path: Path
) -> None:
    terms = {"intermediate": {"hidden": 1.0, "relations": 1.0, "relation_heads": 2}}
    options: dict[str, Any] = {"transcripts": [str(transcripts)], "text_encoder": "encoder", "encoder": other_encoder}
    recipe = {"text": {**QUICK["text"], **terms}}
    run = distill_text([teacher], output_dir=tmp_path / "run", recipe=recipe, **options)
    log = [json.loads(line) for line in (run.path / "log.jsonl").read_text().splitlines()]
    assert [sorted({"hidden", "relations"} & set(row)) for row in log] == [["hidden", "relations"], []]
    assert not any("projection" in name for name in run.weights)
    with pytest.raises(UsageError, match=r"needs a first teacher with an encoder, but .*table has an embedding table"):
        distill_text([table], output_dir=tmp_path / "other", recipe=recipe, **options)
    recipe["text"]["transfer"] = {"epochs": 0}
    with pytest.raises(UsageError, match=r"text\.transfer\.epochs must be at least 1 with text\.intermediate"):
        distill_text([teacher], output_dir=tmp_path / "other", recipe=recipe, **options)


def test_rows_of_a_table_come_from_a_chosen_place(
    teacher: Run, other_encoder: Path, mosi_like: Path, tmp_path: Path
) -> None:
    still = {"transfer": {"epochs": 1, "learning_rate": 1e-9}, "final": {"epochs": 0}}

    def rows(name: str, **options: Any) -> NDArray[np.float32]:
        recipe = {"text": {**QUICK["text"], **still, "initial_rows": options.pop("initial_rows", "mean_frames")}}
        run = distill_text([teacher], transcripts=str(mosi_like), output_dir=tmp_path / name, recipe=recipe, **options)
        encoder = load_text_input(run).text_encoder
        assert isinstance(encoder, EmbeddingTableEncoder)
        return np.asarray(encoder.table.weight.detach().numpy(), np.float32)

    tables = [
        rows("teacher"),
        rows("embeddings", initial_rows="embeddings"),
        rows("frames", encoder=other_encoder),
        rows("first", encoder=other_encoder, layers=1),
        rows("other", encoder=other_encoder, initial_rows="embeddings"),
        rows("pieces", encoder="wordpieces"),
    ]
    for index, first in enumerate(tables):
        assert all(first.shape != second.shape or not np.allclose(first, second) for second in tables[:index])
    assert rows("vectors", encoder=str(mosi_like)).shape == (2, 4)


def test_bases_and_layers_that_do_not_fit_raise_an_error(
    teacher: Run, table: Run, toy_encoder: Path, transcripts: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"transcripts": [str(transcripts)], "output_dir": tmp_path / "run", "recipe": QUICK}
    with pytest.raises(
        UsageError, match=r"wordpieces is an embedding table and no encoder\. Pass text_encoder='table'"
    ):
        distill_text([teacher], text_encoder="encoder", encoder="wordpieces", **options)
    with pytest.raises(UsageError, match="layers can be used with an embedding table only if"):
        distill_text([teacher], layers=1, **options)
    with pytest.raises(UsageError, match="has an embedding table and no encoder"):
        distill_text([teacher], text_encoder="encoder", encoder=table, **options)
    with pytest.raises(UsageError, match=r"layers must be from 1 to 2 .*, got 3"):
        distill_text([teacher], text_encoder="encoder", encoder=toy_encoder, layers="3", **options)
    with pytest.raises(UsageError, match="layers must be the number of first layers"):
        train_text([str(transcripts)], encoder=toy_encoder, output_dir=tmp_path / "run", layers="first")


def test_sweep_under_torchrun_is_rejected(transcripts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="text sweep trains several models in one process"):
        sweep_text([str(transcripts)], encoder="encoder", output_dir=tmp_path / "sweep")


def test_a_sweep_of_classes_is_refused_before_training(tmp_path: Path) -> None:
    table = tmp_path / "classes.csv"
    table.write_text("text,label,split\ngood,joy,train\nbad,anger,train\nfine,joy,valid\n")
    with pytest.raises(UsageError, match=r"but the task of .*classes.csv is classes. Use edge-msa text train"):
        sweep_text(table, encoder="encoder", output_dir=tmp_path / "sweep")


def test_qat_with_another_text_model_is_rejected(
    calibrated: Run, teacher: Run, transcripts: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"calibrated must use its own text encoder, got that of .* Omit text_model"):
        distill(
            [teacher.path],
            data=str(transcripts),
            output_dir=tmp_path / "qat",
            qat=calibrated.path,
            text_model=teacher.path,
        )


@pytest.mark.slow
def test_second_sweep_reuses_all_results(
    toy_encoder: Path, transcripts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "quick.toml"
    recipe.write_text(
        "[text]\ndim = 8\nwidth = 16\nhidden = 8\nmax_tokens = 16\ntransfer = {epochs = 1}\nfinal = {epochs = 1}\n"
    )
    place = tmp_path / "sweep"
    sweep = sweep_text(
        [str(transcripts)], encoder=str(toy_encoder), output_dir=place, seeds=2, layers=[1], recipe=recipe
    ).sweep
    assert {point.variant for point in sweep.points} == {"layers-2", "layers-1", "table"}
    assert all(len(point.metrics["mae"].values) == 2 for point in sweep.points)
    first, *others = (point.mae_difference for point in sweep.points)
    assert first is None
    assert all(item is not None and item.covers_seeds for item in others)
    assert TextSweep.from_json(json.loads((place / RECORD_NAME).read_text())) == sweep
    assert "<svg" in (place / PAGE).read_text()
    capsys.readouterr()
    again = sweep_text(
        [str(transcripts)],
        encoder=str(toy_encoder),
        output_dir=place,
        seeds=2,
        layers=[1],
        recipe=recipe,
        verbose=True,
    )
    printed = capsys.readouterr().out
    assert printed.count("is up to date") == 2 + 4 + 6 + 6  # teachers, students, calibrations, bundles
    assert [point.metrics for point in again.sweep.points] == [point.metrics for point in sweep.points]


@pytest.mark.slow
def test_sweep_over_bases_distills_the_best_teachers_into_another_base(
    toy_encoder: Path, other_encoder: Path, transcripts: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"output_dir": tmp_path / "sweep", "seeds": 1, "recipe": QUICK}
    (more := tmp_path / "more.csv").write_text("text\na film about nothing\n")
    options |= {"student_encoder": other_encoder, "layers": ["0,2"], "texts": more}
    sweep = sweep_text(transcripts, encoder=[toy_encoder, other_encoder], **options).sweep
    names = [f"teacher-{toy_encoder.name}", "teacher-other-encoder", "layers-0-2", "table"]
    assert list(dict.fromkeys(point.variant for point in sweep.points)) == names
    assert sweep.student_base == "other-encoder"
    assert set(sweep.teacher_bases) <= {toy_encoder.name, "other-encoder"}
    student = load_run(tmp_path / "sweep" / "layers-0-2-0")
    assert "texts 0" in student.info.inputs
    assert student.spec.dims == {"language": 24}
    assert encoder_of(load_text_input(student)).layers == 2


def test_teachers_are_chosen_by_the_error_of_their_mean_prediction(
    teacher: Run, table: Run, transcripts: Path, tmp_path: Path
) -> None:
    config = _SweepConfig((str(transcripts),), {"": "base"}, None, tmp_path, (0,), "laptop-x86", None, "cpu", "32")
    shutil.copytree(teacher.path, config.teacher("", 0))
    candidates = {"encoder": [teacher.path], "table": [table.path], "both": [teacher.path, table.path]}
    valid = open_dataset(transcripts).split("valid")
    means = {
        name: np.mean([predict_texts(*load_text_model(load_run(path)), valid.texts)[:, 0] for path in paths], axis=0)
        for name, paths in candidates.items()
    }
    errors = {name: float(np.abs(mean - valid.labels).mean()) for name, mean in means.items()}
    assert len(set(errors.values())) == 3
    assert _Validation(config).choose("chosen", candidates) == min(errors, key=lambda name: errors[name])


def test_bases_of_a_sweep_have_different_names() -> None:
    assert _named_encoders("bert-base") == {"": "bert-base"}
    assert _named_encoders(["models/bge small", "org/mini"]) == {"bge-small": "models/bge small", "mini": "org/mini"}
    with pytest.raises(UsageError, match=r"--encoder must differ, got a/bge, b/bge"):
        _named_encoders(["a/bge", "b/bge"])
    with pytest.raises(UsageError, match="got an empty list"):
        _named_encoders([])


@pytest.mark.case("F23")
def test_the_task_of_scores_is_an_option(transcripts: Path, tmp_path: Path) -> None:
    scores = transcripts.read_text().replace(",2.0", ",0.4").replace(",-1.5", ",-0.4")
    (tmp_path / "sims.csv").write_text(scores)
    line = ["text", "train", "--transcripts", str(tmp_path / "sims.csv"), "--encoder", "wordpieces"]
    with pytest.raises(UnstatedTaskError, match=r"-0\.4 to 0\.4 fits the task mosi, sims or regression\. Pass task"):
        train_text([str(tmp_path / "sims.csv")], output_dir=tmp_path / "run", encoder="wordpieces", recipe=QUICK)
    run = train_text(
        [str(tmp_path / "sims.csv")], output_dir=tmp_path / "run", encoder="wordpieces", recipe=QUICK, task="sims"
    )
    assert run.spec.task == SIMS
    assert evaluate(run.path, data=str(tmp_path / "sims.csv")).task == "sims"
    assert run_cli([*line, "--task", "mosy", "--output-dir", str(tmp_path / "other")]) == 2
    with pytest.raises(DataError, match=r"must be within -1.0 to 1.0 for the task 'sims'"):
        train_text([str(transcripts)], output_dir=tmp_path / "other", encoder="wordpieces", recipe=QUICK, task="sims")


@pytest.mark.case("F7")
def test_texts_without_scores_are_predicted(table: Run, tmp_path: Path) -> None:
    predicted = predict(table.path, data=str(write_transcripts(tmp_path / "unscored.csv", scored=False)))
    assert len(predicted) == 18
    assert {item.subset for item in predicted} == {"l"}


@pytest.mark.slow
@pytest.mark.case("F7")
def test_texts_without_scores_are_predicted_by_a_bundle_as_by_its_run(bundle: Path, table: Run, tmp_path: Path) -> None:
    unscored = write_transcripts(tmp_path / "unscored.csv", scored=False)
    predicted = predict(table.path, data=str(unscored))
    on_bundle = predict(bundle, data=str(unscored), backend="onnxruntime", precision="fp32")
    assert [item.id for item in on_bundle] == [item.id for item in predicted]
    scores = [np.array([item.score for item in items], np.float64) for items in (predicted, on_bundle)]
    np.testing.assert_allclose(scores[1], scores[0], atol=0.02)  # the rows of the table are int8


@pytest.mark.slow
def test_models_are_compared_on_the_same_samples(
    bundle: Path, table: Run, teacher: Run, transcripts: Path, tmp_path: Path
) -> None:
    models = [bundle, table.path, teacher.path]
    result = bench_models(models, data=transcripts, repeats=5, output=tmp_path / "o.json", page=tmp_path / "p.md")
    names = ["bundle", "table", "teacher", "median", "best constant"]
    assert [item.name for item in result.accuracies] == [item.name for item in result.costs] == names
    expected = evaluate(table.path, data=transcripts).by_subset["l"]
    assert result.accuracies[1].metrics["mae"] == pytest.approx(expected["mae"], rel=1e-5)
    assert not result.accuracies[0].differences
    difference = result.accuracies[2].differences["mae"]
    assert difference.value == pytest.approx(
        result.accuracies[2].metrics["mae"] - result.accuracies[0].metrics["mae"], abs=1e-6
    )
    assert "p50" in result.costs[0].latency_ms  # five predictions are too few for higher percentiles
    assert not result.costs[1].latency_ms
    assert result.costs[0].size_bytes
    assert json.loads((tmp_path / "o.json").read_text())["record"] == "models"
    assert (tmp_path / "p.md").read_text().count("| teacher |") == 1


def test_models_with_the_same_name_are_refused(table: Run, transcripts: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="names of the models must differ"):
        bench_models([table.path, table.path], data=transcripts)
    with pytest.raises(UsageError, match=r"must end in \.html or \.md"):
        bench_models(table.path, data=transcripts, page=tmp_path / "page.txt")
    with pytest.raises(UsageError, match="names of the data must differ"):
        bench_models(table.path, data=[transcripts, transcripts])
