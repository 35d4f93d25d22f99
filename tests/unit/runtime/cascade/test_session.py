from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Iterator

import pytest

import edge_msa_runtime as emr
from edge_msa_runtime.cascade.manifest import Estimate
from edge_msa_runtime.verification import verify_bundle

MakeCascade = Callable[..., Path]
SURE, UNSURE = "the", "i love it"
"""Texts whose score the table finds near 0, and far from it."""


@pytest.fixture(scope="module")
def session(shared_cascade: Path) -> Iterator[emr.Session]:
    with emr.load(shared_cascade) as opened:
        yield opened


@pytest.fixture(scope="module")
def members(make_text_bundle: Callable[[str], Path]) -> Iterator[tuple[emr.Session, emr.Session]]:
    with emr.load(make_text_bundle("table")) as small, emr.load(make_text_bundle("encoder")) as large:
        yield small, large


def test_the_small_member_answers_if_it_is_sure(session: emr.Session, members: tuple[emr.Session, ...]) -> None:
    prediction = session.predict(text=SURE)
    assert prediction.member == "small"
    assert prediction.score == pytest.approx(members[0].predict(text=SURE).score)


def test_a_larger_member_is_asked_and_blended_with_the_answer_before(
    session: emr.Session, members: tuple[emr.Session, ...]
) -> None:
    small, large = (member.predict(text=UNSURE).score for member in members)
    prediction = session.predict(text=UNSURE)
    assert prediction.member == "large"
    assert small is not None
    assert large is not None
    assert prediction.score == pytest.approx(0.25 * small + 0.75 * large)


def test_a_subset_without_a_route_is_answered_by_the_last_member(
    session: emr.Session, frames: Callable[..., Any]
) -> None:
    assert session.predict(audio=frames("audio", 6)).member == "large"


def test_a_member_that_finds_nothing_in_a_text_is_passed_over(
    session: emr.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Any:
        raise emr.NothingToPredictError("no tokens")

    monkeypatch.setattr(session.members[1], "_predict", refuse)
    assert session.predict(text=UNSURE).member == "small"


def test_an_interval_is_as_wide_as_the_spread(make_cascade: MakeCascade) -> None:
    path = make_cascade(spread=Estimate(0.3, (0.0, 0.0, 0.0), 0.01), threshold=1.0)
    for coverage, half_width in ((0.5, 0.15), (0.8, 0.3), (0.95, None)):
        with emr.load(path, coverage=coverage) as session:
            prediction = session.predict(text=UNSURE)
            assert prediction.score is not None
            expected = None if half_width is None else (prediction.score - half_width, prediction.score + half_width)
            assert prediction.interval == (None if expected is None else pytest.approx(expected))


def test_an_interval_with_both_signs_abstains(make_cascade: MakeCascade) -> None:
    path = make_cascade(spread=Estimate(50.0, (0.0, 0.0, 0.0), 0.01))
    with emr.load(path, abstain=True) as session:
        assert session.predict(text=UNSURE).label == "uncertain"
    with pytest.raises(emr.UsageError, match="abstain needs classes, or intervals"):
        emr.load(make_cascade(coverages=()), abstain=True)


def test_a_cascade_knows_whether_it_has_intervals(session: emr.Session, make_cascade: MakeCascade) -> None:
    assert session.has_intervals
    with emr.load(make_cascade(coverages=())) as other:
        assert not other.has_intervals
        assert other.predict(text=UNSURE).interval is None


def test_language_frames_are_refused_because_members_differ(session: emr.Session, frames: Callable[..., Any]) -> None:
    with pytest.raises(emr.UsageError, match="takes text, not language frames"):
        session.predict(language=frames("language", 4))
    with pytest.raises(emr.UsageError, match="takes text, not language frames"):
        session.create_stream().push("language", frames("language", 4))


def test_options_of_load_apply_to_every_member(shared_cascade: Path) -> None:
    pytest.importorskip("openvino")
    with emr.load(shared_cascade, "openvino", precision="fp32", threads=2) as session:
        assert [(member.backend, member.threads) for member in session.members] == [("openvino", 2)] * 2
    with pytest.raises(emr.UsageError, match="no int8 graphs"):
        emr.load(shared_cascade, precision="int8")


def test_closing_a_cascade_closes_its_members(shared_cascade: Path) -> None:
    with emr.load(shared_cascade) as session:
        assert repr(session) == "<CascadeSession fake-cascade: small, then large>"
    assert repr(session).endswith(", closed>")
    for opened in (session, *session.members):
        with pytest.raises(emr.UsageError, match="closed"):
            opened.predict(text=SURE)


def test_prepare_loads_the_graphs_of_all_members(shared_cascade: Path) -> None:
    with emr.load(shared_cascade) as session:
        before = [member.load_ms for member in session.members]
        session.prepare("l")
        after = [member.load_ms for member in session.members]
        assert all(late > early for late, early in zip(after, before))
        assert session.load_ms == sum(after)


def test_golden_vectors_are_verified_by_member(session: emr.Session) -> None:
    assert all(verify_bundle(member).passed for member in session.members)
    with pytest.raises(emr.UsageError, match="one bundle, got a cascade"):
        verify_bundle(session)
