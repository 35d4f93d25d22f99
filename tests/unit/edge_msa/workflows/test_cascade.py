from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edge_msa as em
import edge_msa_runtime as emr
from edge_msa.evaluation.cascades.member_scores import Costs, measure_costs
from edge_msa.workflows import cascade as workflow
from edge_msa_runtime.cascade.loader import open_cascade
from tests.unit.runtime import fake_bundles, toy_text


@pytest.fixture(scope="module", autouse=True)
def costs() -> Iterator[None]:
    """Replace the measured mean times of the members: on a busy machine, the first one may take longer."""

    def replace_means(*arguments: Any) -> Costs:
        return dataclasses.replace(measure_costs(*arguments), means=(0.4, 1.0))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workflow, "measure_costs", replace_means)
        yield


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A bundle with a table, and one with an encoder."""
    folder = tmp_path_factory.mktemp("members")
    for text_encoder in ("table", "encoder"):
        path = folder / text_encoder
        fake_bundles.write_bundle(path, names=("language", "audio"), backends=("onnxruntime",))
        toy_text.add_text_encoder(path, text_encoder)
    return folder / "table", folder / "encoder"


@pytest.fixture(scope="module")
def data(bundles: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts whose labels are what the larger bundle predicts."""
    rng = np.random.default_rng(0)
    words = [word for word in toy_text.VOCABULARY if word.isalpha()]
    path = tmp_path_factory.mktemp("data") / "texts.csv"
    with emr.load(bundles[1]) as session, path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label", "mode", "video_id", "clip_id"])
        for index in range(60):
            text = " ".join(rng.choice(words, rng.integers(1, 7)))
            score = session.predict(text=text).score
            assert score is not None
            mode = "valid" if index < 40 else "test"
            writer.writerow([text, np.clip(score, -3, 3), mode, f"{mode}{index % 8}", index])
    return path


@pytest.fixture(scope="module")
def made(bundles: tuple[Path, Path], data: Path, tmp_path_factory: pytest.TempPathFactory) -> em.FittedCascade:
    output = tmp_path_factory.mktemp("made") / "cascade"
    return em.cascade(bundles, data=data, output_dir=output, mean_cost=1, task="mosi")


def test_a_cascade_has_its_members_and_states_how_it_was_made(made: em.FittedCascade) -> None:
    folder = open_cascade(made)
    assert [member.name for member in folder.manifest.members] == ["table", "encoder"]
    assert folder.manifest.routes["l"].mean_cost <= 1
    provenance = folder.manifest.provenance
    assert (provenance["mean_cost"], provenance["validation"]) == (1, {"samples": 40, "videos": 8})
    assert repr(made) == f"<FittedCascade of table, encoder: {made.path}/>"
    assert json.loads(json.dumps(made.to_json()))["members"] == ["table", "encoder"]
    assert {"available", "budget", "mean_cost", "mae", "answered_by_table"} <= set(made.rows[0])
    assert "l, validation: mae over mean time (1 is that of encoder)" in str(made)


def test_a_cascade_can_be_evaluated_and_loaded(made: em.FittedCascade, data: Path) -> None:
    table = em.evaluate(made, data=data, task="mosi")
    with emr.load(made) as session:
        assert session.predict(text="i love it").member in {"table", "encoder"}
    assert "cascade (bundle" in str(table)
    with pytest.raises(em.UsageError, match="is a cascade"):
        em.evaluate(made)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bundles": 1}, "A cascade needs 2 to 4 bundles, smallest first, got 1"),
        ({"mean_cost": 0}, "mean_cost must be a number above 0 and at most 1, got 0"),
        ({"mean_cost": float("nan")}, "mean_cost must be a number above 0 and at most 1, got nan"),
        ({"data": None}, "data must be a feature file or 'synthetic', got None"),
    ],
)
def test_an_invalid_argument_is_refused(
    bundles: tuple[Path, Path], data: Path, tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    given = {"data": data, "output_dir": tmp_path / "cascade", **arguments}
    members = bundles[: given.pop("bundles", 2)]
    with pytest.raises(em.UsageError, match=message):
        em.cascade(members, **given)


def test_bundles_that_do_not_fit_together_are_refused(bundles: tuple[Path, Path], data: Path, tmp_path: Path) -> None:
    fake_bundles.write_bundle(tmp_path / "audio", names=("audio",))
    with pytest.raises(em.UsageError, match="The modalities of all members must be the same"):
        em.cascade([tmp_path / "audio", bundles[1]], data=data, output_dir=tmp_path / "cascade")


def test_other_folders_and_older_cascades_are_not_replaced(
    made: em.FittedCascade, bundles: tuple[Path, Path], data: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine", "utf-8")
    call: Callable[..., Any] = em.cascade
    for output in (tmp_path / "mine", made.path):
        with pytest.raises(em.EdgeMsaError):
            call(bundles, data=data, output_dir=output)


def test_the_mean_cost_must_be_more_than_that_of_the_first_member(
    bundles: tuple[Path, Path], data: Path, tmp_path: Path
) -> None:
    with pytest.raises(em.DataError, match=r"mean cost must be at least 0\.40, .* got 0\.01"):
        em.cascade(bundles, data=data, output_dir=tmp_path / "cascade", mean_cost=0.01, task="mosi")


def test_data_without_validation_labels_is_refused(bundles: tuple[Path, Path], tmp_path: Path) -> None:
    path = tmp_path / "texts.csv"
    path.write_text("text,label,mode,video_id,clip_id\ni love it,1.0,test,a,1\n", "utf-8")
    with pytest.raises(em.DataError, match="no labeled validation split"):
        em.cascade(bundles, data=path, output_dir=tmp_path / "cascade", task="mosi")


def test_predictions_of_a_cascade_name_the_member(made: em.FittedCascade, data: Path, tmp_path: Path) -> None:
    em.predict(made, data=data, output=tmp_path / "predictions.csv")
    with (tmp_path / "predictions.csv").open(encoding="utf-8") as file:
        assert {row["member"] for row in csv.DictReader(file)} <= {"table", "encoder"}
