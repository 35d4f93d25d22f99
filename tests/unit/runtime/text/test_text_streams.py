"""TextTokenizer that come one after the other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

import numpy as np
import pytest

from edge_msa_runtime import UsageError, load
from edge_msa_runtime.text.words import Word

if TYPE_CHECKING:
    from tests.unit.runtime.text.conftest import Toy

    Make = Callable[[str], Path]


@pytest.mark.parametrize("text_encoder", ["table", "graph"])
def test_any_chunking_between_words_reads_as_the_whole_text(make: Make, text_encoder: str) -> None:
    text = "i love the films ! not it"
    with load(make(text_encoder)) as session:
        whole = session.predict(language=text).score
        for cuts in ([text], text.split(), ["i love", "", "the films !", "not it"]):
            stream = session.create_stream()
            for part in cuts:
                stream.push(language=part)
                if text_encoder == "graph" and part:
                    stream.predict()  # a prediction between pushes leaves no trace in those after it
            assert stream.predict().score == pytest.approx(whole, abs=1e-5)
            assert [word.text for word in stream.words] == text.split()


@pytest.mark.parametrize("text_encoder", ["table", "graph"])
def test_a_stream_tells_the_words_it_has_read_with_their_times(make: Make, toy: Toy, text_encoder: str) -> None:
    with load(make(text_encoder)) as session:
        stream = session.create_stream()
        stream.push(language=["i", "love"], times=[(0.1, 0.3), (0.3, 0.6)])
        stream.push(language="it")
        stream.push(language="! " * 12, times=[(second, second + 1.0) for second in range(1, 13)])
        stream.predict()
        room = toy.max_tokens - (2 if text_encoder == "graph" else 0)
        assert stream.words[:4] == (Word("i", 0.1, 0.3), Word("love", 0.3, 0.6), Word("it"), Word("!", 1.0, 2.0))
        assert len(stream.words) == room
        stream.push(language="love")
        assert stream.predict().score == pytest.approx(
            session.predict(language=" ".join(word.text for word in stream.words)).score, abs=1e-5
        )
        assert len(stream.words) == room
        stream.reset()
        assert stream.words == ()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"language": "i love", "times": [(0, 1)]}, "there are 1 times for 2 words"),
        ({"language": ["i"], "times": [(1.0, 0.5)]}, r"the time of 'i' is \(1, 0.5\)"),
        ({"language": ["i"], "times": [(float("nan"), 1)]}, "give finite seconds"),
        ({"language": ["i"], "times": [(0.1, 0.2)]}, "after a word at 0.5"),
        ({"language": ["i"], "times": 3}, "times are no pairs of seconds"),
        ({"language": ["i"], "times": [("a", "b")]}, "times are no pairs of seconds"),
        ({"times": [(0, 1)]}, "times were given without words"),
        ({"language": np.zeros((2, 4), "f4")}, "language came as words before"),
        ({"language": "i", "valid": {"language": np.ones(1, bool)}}, "mask for 'language'"),
    ],
)
def test_words_that_do_not_fit_are_refused(make: Make, given: dict[str, Any], said: str) -> None:
    stream = load(make("table")).create_stream()
    stream.push(language=["love"], times=[(0.5, 0.6)])
    before = stream.predict().outputs
    with pytest.raises(UsageError, match=said):
        stream.push(**given)
    assert (stream.predict().outputs, len(stream.words)) == (before, 1)


def test_words_after_frames_are_refused(make: Make, frames: Callable[..., Any]) -> None:
    session = load(make("table"))
    stream = session.create_stream()
    stream.push(language=frames("language", 2))
    with pytest.raises(UsageError, match="language came as frames before"):
        stream.push(language="love")
    with pytest.raises(UsageError, match="words with a mask"):
        session.predict(language="love", valid={"language": np.ones(1, bool)})
