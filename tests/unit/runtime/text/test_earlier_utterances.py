from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import pytest

from edge_msa_runtime import BundleError, Session, UsageError, load
from edge_msa_runtime.bundle.loader import open_bundle
from edge_msa_runtime.inputs.samples import Sample
from edge_msa_runtime.prediction_files import predict_samples
from edge_msa_runtime.text.earlier_utterances import append_utterances, ending_of
from tests.tolerances import assert_close_to_scale
from tests.unit.runtime import toy_text

CLS, SEP = 1, 2


@pytest.fixture(scope="module")
def folder(make_text_bundle: Callable[..., Path]) -> Path:
    """A bundle whose encoder reads two earlier utterances, within ten tokens."""
    return make_text_bundle("encoder", 2)


def _score(expected: Callable[..., Any], text: str, earlier: tuple[str, ...] = ()) -> float:
    return float(expected({"language": toy_text.encode_text(text, "encoder", earlier)})[0])


def test_the_newest_utterance_follows_the_current_one() -> None:
    assert append_utterances([CLS, 5, SEP], [[8], [6, 7]], [SEP], 20) == [CLS, 5, SEP, 6, 7, SEP, 8, SEP]


@pytest.mark.parametrize(
    ("room", "added"), [(6, [6, 7, SEP, 8, 9, SEP]), (5, [6, 7, SEP, 9, SEP]), (4, [6, 7, SEP]), (2, [7, SEP]), (1, [])]
)
def test_the_beginning_of_the_oldest_utterance_is_cut_first(room: int, added: list[int]) -> None:
    own = [CLS, 5, SEP]
    assert append_utterances(own, [[8, 9], [6, 7]], [SEP], len(own) + room) == own + added


def test_the_ending_is_the_special_tokens_after_the_text() -> None:
    assert ending_of([CLS, 5, 6, SEP], [1, 0, 0, 1]) == [SEP]
    assert ending_of([CLS, 5], [1, 0]) == []


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_session_reads_the_newest_utterances(folder: Path, expected: Callable[..., Any], backend: str) -> None:
    pytest.importorskip(backend)
    with load(folder, backend) as session:
        assert_close_to_scale(session.predict(text="i love it").score, _score(expected, "i love it"))
        context = ["the", "not the", "!"]
        score = session.predict(text="i love it", context=context).score
        assert_close_to_scale(score, _score(expected, "i love it", ("not the", "!")))


def test_a_long_text_leaves_no_room_for_earlier_utterances(folder: Path, expected: Callable[..., Any]) -> None:
    with load(folder) as session:
        text = "i love it not the films !"  # nine tokens with the special ones, so one is free
        assert session.predict(text=text, context=["hate"]).score == session.predict(text=text).score
        shorter = "i love it not the film"
        assert_close_to_scale(
            session.predict(text=shorter, context=["not hate"]).score, _score(expected, shorter, ("hate",))
        )
        long = "i love it " * 5
        parts = session.predict(text=long, context=["hate"], truncate="window").score
        assert parts == session.predict(text=long, truncate="window").score


def _stream_scores(session: Session, utterances: list[str], **options: Any) -> list[float | None]:
    scores = []
    with session.create_stream(**options) as stream:
        for utterance in utterances:
            for word in utterance.split():
                stream.push_text(word)
                stream.predict()
            prediction = stream.end_utterance()
            assert prediction is not None
            scores.append(prediction.score)
    return scores


def test_a_stream_reads_its_own_earlier_utterances(folder: Path) -> None:
    utterances = ["i love it", "hate", "not the", "film"]
    with load(folder) as session:
        whole = [session.predict(text=text, context=utterances[:row]).score for row, text in enumerate(utterances)]
        assert _stream_scores(session, utterances) == whole
        alone = [session.predict(text=text).score for text in utterances]
        assert _stream_scores(session, utterances, context=False) == alone


def test_a_window_stream_reads_the_utterances_that_were_ended(folder: Path) -> None:
    with load(folder) as session, session.create_stream(window=10.0) as stream:
        stream.push_text("hate", timestamp=1.0)
        stream.end_utterance(at=1.0)
        stream.push_text("film", timestamp=20.0)
        assert stream.predict().score == session.predict(text="film", context=["hate"]).score


def test_reset_forgets_the_earlier_utterances(folder: Path) -> None:
    with load(folder) as session, session.create_stream() as stream:
        stream.push_text("hate")
        stream.end_utterance()
        stream.reset()
        stream.push_text("film")
        assert stream.predict().score == session.predict(text="film").score


def test_an_utterance_that_is_not_predicted_goes_on(folder: Path) -> None:
    """It becomes context only when it has ended."""
    with load(folder) as session, session.create_stream() as stream:
        stream.push_text("i")
        stream.predict()
        stream.push_text("love it")
        assert stream.predict().score == session.predict(text="i love it").score


def test_several_streams_keep_their_own_context(folder: Path) -> None:
    with load(folder) as session:
        streams = [session.create_stream() for _ in range(8)]
        for number, stream in enumerate(streams):
            stream.push_text("hate" if number % 2 else "love")
            stream.end_utterance()
            stream.push_text("film")
        scores = [prediction.score for prediction in session.predict_many(streams)]  # type: ignore[union-attr]
        for number, score in enumerate(scores):
            expected_score = session.predict(text="film", context=["hate" if number % 2 else "love"]).score
            assert_close_to_scale(score, expected_score)


def test_samples_of_a_file_get_the_texts_of_their_video(folder: Path) -> None:
    samples = [Sample("a", "", {}, text="film", earlier=("love", "hate")), Sample("b", "", {}, text="film")]
    with load(folder) as session:
        first, second = predict_samples(session, samples, ["text"])
        assert first.score == session.predict(text="film", context=["love", "hate"]).score
        assert second.score == session.predict(text="film").score != first.score


def test_context_that_does_not_fit_is_refused(folder: Path, make_text_bundle: Callable[..., Path]) -> None:
    with load(folder) as session:
        with pytest.raises(UsageError, match="context must be a list of texts, the newest last, got 'hate'"):
            session.predict(text="film", context="hate")
        with pytest.raises(UsageError, match="text must be a string or a list of words, got 3"):
            session.predict(text="film", context=[3])  # type: ignore[list-item]
        with pytest.raises(UsageError, match="context needs the text of the current utterance"):
            session.predict(audio=[[0.0] * 2], context=["hate"])
    with load(make_text_bundle("table")) as session, pytest.raises(
        UsageError, match="does not read earlier utterances"
    ):
        session.predict(text="film", context=["hate"])


def test_a_table_with_context_is_refused(make_text_bundle: Callable[..., Path]) -> None:
    with pytest.raises(BundleError, match=r"language\.context must be 0 for a table, got 2"):
        open_bundle(make_text_bundle("table", 2))
