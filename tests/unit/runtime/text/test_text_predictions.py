"""TextTokenizer read whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

import pytest

from edge_msa_runtime import UsageError, load

if TYPE_CHECKING:
    from tests.unit.runtime.text.conftest import Toy

    Make = Callable[[str], Path]


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_words_read_as_the_rows_of_their_tokens(
    make: Make, toy: Toy, expected: Callable[..., Any], backend: str
) -> None:
    pytest.importorskip(backend)
    with load(make("table"), backend) as session:
        for text in ("I love it!", "hate", "not the films", "unattended-of"):
            wanted = expected({"language": toy.floats[toy.ids(text)]})[0]
            assert session.predict(language=text).score == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_words_read_as_the_encoder_s_frames_with_special_tokens(
    make: Make, toy: Toy, expected: Callable[..., Any], backend: str
) -> None:
    pytest.importorskip(backend)
    with load(make("graph"), backend) as session:
        for text in ("i love it", "not the films at all !", "it"):  # the second takes the longer graph
            wanted = expected({"language": toy.encoded(toy.ids(text, special=True))})[0]
            assert session.predict(language=text).score == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("text_encoder", ["table", "graph"])
def test_a_longer_text_loses_its_end(make: Make, toy: Toy, text_encoder: str) -> None:
    with load(make(text_encoder)) as session:
        text = "i love it " * 6
        kept = " ".join(text.split()[: toy.max_tokens - (2 if text_encoder == "graph" else 0)])
        assert session.predict(language=text).outputs == session.predict(language=kept).outputs
        assert session.predict(language=text).outputs != session.predict(language="i love it").outputs


@pytest.mark.parametrize("text_encoder", ["table", "graph"])
def test_frames_and_other_modalities_are_read_beside_words(
    make: Make, toy: Toy, frames: Callable[..., Any], expected: Callable[..., Any], text_encoder: str
) -> None:
    with load(make(text_encoder)) as session:
        given = {"language": frames("language", 5), "audio": frames("audio", 6)}
        assert session.predict(**given).score == pytest.approx(expected(given)[0], abs=1e-5)
        ids = toy.ids("i love it", special=text_encoder == "graph")
        rows = toy.floats[ids] if text_encoder == "table" else toy.encoded(ids)
        prediction = session.predict(language="i love it", audio=given["audio"])
        assert prediction.score == pytest.approx(expected({**given, "language": rows})[0], abs=1e-5)
        assert prediction.subset == "la"


@pytest.mark.parametrize("text_encoder", ["table", "graph"])
@pytest.mark.parametrize("text", ["", "   ", "\t\n", "\x00\x01"])
def test_text_without_a_token_is_an_absent_modality(
    make: Make, frames: Callable[..., Any], text_encoder: str, text: str
) -> None:
    with load(make(text_encoder)) as session:
        audio = frames("audio", 6)
        assert session.predict(language=text, audio=audio).subset == "a"
        with pytest.raises(UsageError, match="there is no word in"):
            session.predict(language=text)


@pytest.mark.parametrize("text_encoder", ["table", "graph"])
@pytest.mark.parametrize(
    "text",
    ["a" * 10_000, "\U0001f600\U0001f3fd!", "любовь 愛 love حب", "i\x00love\x07it", "\u202elove\u0301", "!" * 500],
)
def test_odd_text_is_read(make: Make, text_encoder: str, text: str) -> None:
    with load(make(text_encoder)) as session:
        whole = session.predict(language=text)
        stream = session.create_stream()
        stream.push(language=text)
        assert stream.predict().score == pytest.approx(whole.score, abs=1e-5)


@pytest.mark.parametrize("text_encoder", ["table", "graph"])
def test_half_of_a_surrogate_pair_is_refused_and_nothing_is_taken(
    make: Make, frames: Callable[..., Any], text_encoder: str
) -> None:
    with load(make(text_encoder)) as session:
        with pytest.raises(UsageError, match=r"character 5 is '\\ud83d', half of a pair"):
            session.predict(language="love \ud83d")
        stream = session.create_stream()
        with pytest.raises(UsageError, match="half of a pair"):
            stream.push(language="love \ud83d", audio=frames("audio", 3))
        assert (stream.words, stream.subset) == ((), "")
