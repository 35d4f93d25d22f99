from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Callable

import pytest

import edge_msa_runtime as emr
from edge_msa_runtime.bundle.loader import open_bundle
from edge_msa_runtime.bundle.manifest import TaskSpec
from edge_msa_runtime.cascade.loader import is_cascade, open_cascade
from tests.unit.runtime import fake_cascades

MakeCascade = Callable[..., Path]


@pytest.fixture
def cascade(shared_cascade: Path, tmp_path: Path) -> Path:
    """A copy of the default cascade, for tests that change it."""
    folder = tmp_path / "cascade"
    shutil.copytree(shared_cascade, folder)
    return folder


def _refusal(folder: Path) -> str:
    with pytest.raises(emr.BundleError) as caught:
        emr.load(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_cascade_is_opened_with_its_members(shared_cascade: Path) -> None:
    folder = open_cascade(shared_cascade)
    assert is_cascade(shared_cascade)
    assert repr(folder) == "<CascadeFolder fake-cascade: small, large>"
    assert [bundle.path.name for bundle in folder.members] == ["small", "large"]


def test_a_cascade_is_not_taken_for_a_bundle(shared_cascade: Path) -> None:
    with pytest.raises(emr.UsageError, match="It is a cascade"):
        open_bundle(shared_cascade)
    with pytest.raises(emr.UsageError, match="is not a cascade"):
        open_cascade(shared_cascade / "members" / "small")


def test_a_changed_description_is_refused(cascade: Path) -> None:
    path = cascade / "cascade.json"
    path.write_text(path.read_text("utf-8").replace("0.5", "0.4"), "utf-8")
    refusal = _refusal(cascade)
    assert "cascade.json has changed" in refusal
    assert refusal.endswith("Copy the cascade again.")
    path.unlink()
    assert _refusal(cascade) == "cascade.json is missing from the cascade. Copy the cascade again."


def test_a_member_that_was_exchanged_is_refused(cascade: Path) -> None:
    shutil.rmtree(cascade / "members/large")
    shutil.copytree(cascade / "members/small", cascade / "members/large")
    assert "members/large is not the bundle that the cascade was made with" in _refusal(cascade)


def test_a_damaged_member_is_named(cascade: Path) -> None:
    (cascade / "members/small/golden.npz").write_bytes(b"")
    refusal = _refusal(cascade)
    assert refusal.startswith("small: golden.npz has changed")
    assert refusal.endswith("Copy the cascade again.")


@pytest.mark.parametrize("name", ["members", "members/small"])
def test_a_linked_member_is_refused(cascade: Path, tmp_path: Path, name: str) -> None:
    shutil.move(cascade / name, tmp_path / "elsewhere")
    (cascade / name).symlink_to(tmp_path / "elsewhere")
    assert "must be a folder of the cascade" in _refusal(cascade)


def test_a_missing_member_is_refused(cascade: Path) -> None:
    shutil.rmtree(cascade / "members/large")
    assert "members/large is missing" in _refusal(cascade)


def test_unlisted_files_are_noted_and_code_is_refused(cascade: Path) -> None:
    (cascade / "notes.txt").write_text("mine", "utf-8")
    assert open_cascade(cascade).notes == ("Ignored, because the manifest does not list them: notes.txt",)
    (cascade / "members/numpy.py").write_text("", "utf-8")
    refusal = _refusal(cascade)
    assert "cascade.json does not list 'members/numpy.py', which is code" in refusal
    assert refusal.endswith("or copy the cascade again.")


def _change_stage(**fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda value: value["routes"]["l"]["stages"][-1].update(fields)


def _change_member(**fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda value: value["members"][0].update(fields)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda value: value.update(schema=2), "schema must be 1, got 2"),
        (lambda value: value.update(more=1), "more is not a known field"),
        (lambda value: value.update(members=value["members"][:1]), "members must be 2 to 4 bundles, got 1"),
        (lambda value: value.update(members=value["members"][:1] * 2), "members must have different names"),
        (_change_member(name="../small"), "members[0].name must be letters"),
        (_change_member(name="C:small"), "members[0].name must be letters"),
        (_change_member(sha256="0"), "members[0].sha256 must be 64 hexadecimal digits"),
        (lambda value: value["routes"].update(x=value["routes"]["l"]), "routes.x must be the name of a subset"),
        (lambda value: value["routes"].update(v=value["routes"]["l"]), "routes.v needs vision, which the members lack"),
        (lambda value: value["routes"]["l"]["stages"].pop(), "routes.l.stages must have one item per member, 2, got 1"),
        (lambda value: value["routes"]["l"].update(costs=[0, 1]), "routes.l.costs must be positive, got 0"),
        (_change_stage(threshold=1.0), "routes.l.stages[1].threshold must be null"),
        (_change_stage(threshold=float("nan")), "routes.l.stages[1].threshold must be a finite number"),
        (_change_stage(share=0), "routes.l.stages[1].share must be above 0 and at most 1, got 0"),
        (_change_stage(half_widths=[0.5, 0.4]), "routes.l.stages[1].half_widths[1] must be ascending"),
        (_change_stage(half_widths=[1e999]), "routes.l.stages[1].half_widths[0] must be finite"),
        (_change_stage(half_widths=[0.5]), "routes.l.stages[1].half_widths must have 2 numbers, got 1"),
        (_change_stage(spread={"bias": 1, "weights": [1], "minimum": 1}), "spread.weights must have 3 numbers, got 1"),
        (
            _change_stage(spread={"bias": 1, "weights": [1, 1, 1], "minimum": 0}),
            "spread.minimum must be positive, got 0",
        ),
        (lambda value: value.update(coverages=[0.9, 0.5]), "coverages must ascend between 0 and 1"),
        (lambda value: value.update(typical_frames={"language": 0}), "typical_frames.language must be a positive"),
        (lambda value: value.update(typical_frames={"smell": 1}), "typical_frames.smell must be one of"),
    ],
)
def test_an_invalid_description_is_refused(
    cascade: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    value = json.loads((cascade / "cascade.json").read_text("utf-8"))
    change(value)
    fake_cascades.seal(cascade, value)
    assert message in _refusal(cascade)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": TaskSpec("sims", 1)}, "The task of all members must be the same, got mosi"),
        ({"names": ("language", "vision")}, "The modalities of all members must be the same, got language, audio"),
        ({}, "The text input of all members must be the same, got yes of small and no of other"),
    ],
)
def test_members_must_take_the_same_and_predict_the_same(
    make_bundle: Callable[..., Path],
    make_text_bundle: Callable[[str], Path],
    tmp_path: Path,
    options: dict[str, Any],
    message: str,
) -> None:
    other = make_bundle(**{"names": ("language", "audio"), **options})
    fake_cascades.write_cascade(tmp_path / "cascade", {"small": make_text_bundle("table"), "other": other})
    assert message in _refusal(tmp_path / "cascade")


@pytest.mark.parametrize("kind", ["classes", "emotions"])
def test_a_task_with_probabilities_has_neither_intervals_nor_blends(
    make_bundle: Callable[..., Path], tmp_path: Path, kind: str
) -> None:
    bundle = make_bundle(names=("audio",), task=TaskSpec(kind, 2, ("happy", "sad")))
    members = {"small": bundle, "large": bundle}
    fake_cascades.write_cascade(tmp_path / "one", members, subsets=("a",))
    assert "coverages must be empty" in _refusal(tmp_path / "one")
    fake_cascades.write_cascade(tmp_path / "two", members, subsets=("a",), coverages=())
    assert "routes.a must have shares of 1" in _refusal(tmp_path / "two")
    fake_cascades.write_cascade(tmp_path / "three", members, subsets=("a",), coverages=(), share=1.0)
    with emr.load(tmp_path / "three") as session:
        prediction = session.predict(audio=[[0.1, 0.2]])
        assert (prediction.member, prediction.interval) == ("large", None)
        assert set(prediction.probabilities) == {"happy", "sad"}
