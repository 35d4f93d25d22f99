from __future__ import annotations

import dataclasses
import json
import math
import pickle
import re
from pathlib import Path
from typing import Any, Callable, Iterator

import numpy as np
import pytest

import edge_msa_runtime as emr
from edge_msa_runtime.bundle.loader import open_bundle
from edge_msa_runtime.conversation import MAX_DEVIATION, ContextHead, Conversation, SubsetContext
from edge_msa_runtime.errors import BundleError, UsageError
from tests.unit.runtime.fake_bundles import random_frames

L = SubsetContext(mean=0.2, spread=0.8, weight=1.0, evidence=1.0, shift=0.5, shrink=0.1)
A = SubsetContext(mean=0.1, spread=0.2, weight=0.25, evidence=0.5, shift=1.2, shrink=0.0)
HEAD = ContextHead(decay=0.9, prior=2.0, subsets={"l": L, "a": A}, utterances=229, videos=10)
MAX_STATE_BYTES = 1024

RANDOM = pytest.mark.parametrize("seed", range(40))


def _utterances(rng: np.random.Generator) -> list[tuple[float, str]]:
    return [(rng.uniform(-3.0, 3.0), str(rng.choice(["l", "a", "v"]))) for _ in range(rng.integers(1, 13))]


def _play(utterances: list[tuple[float, str]]) -> list[float]:
    """Return the adjusted score of each utterance."""
    conversation, scores = Conversation(HEAD), []
    for score, subset in utterances:
        scores.append(conversation.adjust((score,), subset)[0])
        conversation.add((score,), subset)
    return scores


def test_the_first_utterance_is_not_adjusted() -> None:
    conversation = Conversation(HEAD)
    assert not conversation.adjusts("l")
    assert conversation.adjust((1.5,), "l") == (1.5,)


def test_an_earlier_utterance_moves_the_score_as_stated() -> None:
    conversation = Conversation(HEAD)
    conversation.add((1.0,), "l")
    conversation.add((0.3,), "a")
    weight, evidence = 0.9 * 1.0 + 0.25, 0.9 * (1.0 - 0.2) / 0.8 + 0.5 * (0.3 - 0.1) / 0.2
    expected = -0.6 + (0.5 * evidence - 0.1 * weight * (-0.6 - 0.2) / 0.8) / (2.0 + weight)
    assert conversation.adjusts("l")
    assert conversation.adjust((-0.6,), "l")[0] == pytest.approx(expected)


def test_adjusting_does_not_change_the_memory() -> None:
    conversation = Conversation(HEAD)
    conversation.add((1.0,), "l")
    first = conversation.adjust((0.5,), "l")
    conversation.adjust((-3.0,), "l")
    assert conversation.adjust((0.5,), "l") == first


@RANDOM
def test_a_later_utterance_never_changes_an_earlier_score(seed: int) -> None:
    rng = np.random.default_rng(seed)
    utterances = _utterances(rng)
    kept = int(rng.integers(0, len(utterances) + 1))
    changed = utterances[:kept] + _utterances(rng)
    assert _play(utterances)[:kept] == _play(changed)[:kept]


@RANDOM
def test_after_reset_a_conversation_is_a_new_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    conversation = Conversation(HEAD)
    for score, subset in _utterances(rng):
        conversation.add((score,), subset)
    conversation.reset()
    assert conversation.count == 0
    assert conversation.adjust((0.7,), "l") == (0.7,)


@RANDOM
def test_any_outputs_move_a_score_by_a_bounded_amount(seed: int) -> None:
    rng = np.random.default_rng(seed)
    conversation, score = Conversation(HEAD), rng.uniform(-3.0, 3.0)
    for _ in range(30):
        conversation.add((float(rng.choice([-1, 1]) * 10.0 ** rng.uniform(-300, 300)),), "l")
    assert abs(conversation.adjust((score,), "l")[0] - score) <= MAX_DEVIATION * (L.shift + L.shrink)


def test_100000_utterances_stay_finite_and_small() -> None:
    conversation, empty = Conversation(HEAD), len(pickle.dumps(Conversation(HEAD)))
    for number in range(100_000):
        conversation.add((3.0 * math.sin(number),), "l")
    adjusted = conversation.adjust((1.0,), "l")[0]
    assert math.isfinite(adjusted)
    assert abs(adjusted - 1.0) <= MAX_DEVIATION * (L.shift + L.shrink)
    assert conversation.count == 100_000
    assert len(pickle.dumps(conversation)) - empty < MAX_STATE_BYTES


def test_a_subset_that_the_head_lacks_is_neither_used_nor_adjusted() -> None:
    conversation = Conversation(HEAD)
    conversation.add((2.0,), "v")
    assert conversation.adjust((0.5,), "l") == (0.5,)
    conversation.add((2.0,), "l")
    assert not conversation.adjusts("v")
    assert conversation.adjust((0.5,), "v") == (0.5,)


def test_without_a_head_nothing_is_adjusted() -> None:
    conversation = Conversation(None)
    conversation.add((2.0,), "l")
    assert conversation.adjust((0.5,), "l") == (0.5,)
    assert repr(conversation) == "<Conversation with 1 utterance, no context head>"


def test_outputs_that_are_not_finite_leave_the_memory_unchanged() -> None:
    conversation = Conversation(HEAD)
    conversation.add((1.0,), "l")
    before = conversation.adjust((0.5,), "l")
    with pytest.raises(UsageError, match="Outputs of an utterance must be finite"):
        conversation.add((math.nan,), "l")
    assert conversation.adjust((0.5,), "l") == before
    assert conversation.count == 1


def test_a_bundle_states_its_context_head(make_bundle: Callable[..., Path]) -> None:
    manifest = open_bundle(make_bundle(context=HEAD)).manifest
    assert manifest.context == HEAD
    assert json.loads(json.dumps(manifest.to_json()))["context"]["subsets"]["a"]["shift"] == A.shift


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decay": 1}, "context.decay must be at least 0 and less than 1, got 1."),
        ({"prior": 0.0}, "context.prior must be positive, got 0.0."),
        ({"subsets": {"x": {}}}, "context.subsets.x must be the name of a subset, such as la."),
        ({"subsets": {"l": {}}}, "context.subsets.l.mean is missing."),
        ({"subsets": {"l": {**dataclasses.asdict(L), "spread": 0}}}, "context.subsets.l.spread must be positive"),
        (
            {"subsets": {"l": {**dataclasses.asdict(L), "weight": 2}}},
            "context.subsets.l.weight must be between 0 and 1",
        ),
    ],
)
def test_an_invalid_head_is_refused_by_field(
    changes: dict[str, Any], message: str, bundle_path: Path, seal: Callable[..., None]
) -> None:
    seal(bundle_path, {"context": {**dataclasses.asdict(HEAD), **changes}})
    with pytest.raises(BundleError, match=re.escape(message)):
        open_bundle(bundle_path)


@pytest.fixture(scope="module")
def session(make_bundle: Callable[..., Path]) -> Iterator[emr.Session]:
    with emr.load(make_bundle(context=HEAD), "onnxruntime") as opened:
        yield opened


def _utterance(seed: int) -> Any:
    return random_frames("language", 6, seed)


def test_a_stream_adjusts_an_utterance_by_the_earlier_ones(session: emr.Session) -> None:
    stream, conversation = session.create_stream(), Conversation(HEAD)
    for seed in range(3):
        stream.push("language", _utterance(seed))
        alone = session.predict(language=_utterance(seed)).outputs
        expected = conversation.adjust(alone, "l")
        assert stream.predict().outputs == pytest.approx(expected, abs=1e-5)
        final = stream.end_utterance()
        assert final is not None
        assert final.outputs == pytest.approx(expected, abs=1e-5)
        conversation.add(alone, "l")
    assert expected != alone


def test_predictions_inside_an_utterance_do_not_enter_the_memory(session: emr.Session) -> None:
    often, once = session.create_stream(), session.create_stream()
    for stream, count in ((often, 5), (once, 0)):
        stream.push("language", _utterance(0))
        for _ in range(count):
            stream.predict()
        stream.end_utterance()
        stream.push("language", _utterance(1))
    assert often.predict().outputs == once.predict().outputs


@pytest.mark.parametrize("how", ["reset", "without context"])
def test_a_stream_without_memory_predicts_as_the_session(session: emr.Session, how: str) -> None:
    stream = session.create_stream(context=how == "reset")
    stream.push("language", _utterance(0))
    stream.end_utterance()
    if how == "reset":
        stream.reset()
    stream.push("language", _utterance(1))
    assert stream.predict().outputs == pytest.approx(session.predict(language=_utterance(1)).outputs, abs=1e-5)


def test_forgetting_a_modality_keeps_the_conversation(session: emr.Session) -> None:
    stream = session.create_stream()
    stream.push("language", _utterance(0))
    stream.end_utterance()
    stream.push("audio", random_frames("audio", 4))
    stream.forget("audio")
    stream.push("language", _utterance(1))
    alone = session.predict(language=_utterance(1)).outputs
    assert stream.predict().outputs != pytest.approx(alone, abs=1e-3)


@pytest.mark.parametrize(
    ("outputs", "subset", "message"),
    [
        ({}, "l", r"outputs must be the outputs of a prediction, such as \(0\.5,\), got \{\}"),
        ("x", "l", "outputs must be .* got 'x'"),
        (0.5, "l", "outputs must be .* got 0.5"),
        ((), "l", r"outputs must be .* got \(\)"),
        ((0.5,), "foo", "subset must be one of l, a, v, la, lv, av, lav, got 'foo'"),
        ((0.5,), ["l"], r"subset must be one of .* got \['l'\]"),
    ],
)
def test_what_is_no_prediction_is_refused(outputs: Any, subset: Any, message: str) -> None:
    conversation = emr.Conversation(None)
    for use in (conversation.adjust, conversation.add):
        with pytest.raises(emr.UsageError, match=message):
            use(outputs, subset)
    assert conversation.count == 0
