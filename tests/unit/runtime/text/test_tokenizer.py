from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Callable

import pytest

from edge_msa_runtime import BackendUnavailableError, UsageError, load
from tests.tolerances import assert_close_to_scale
from tests.unit.runtime import toy_text

MakeTextBundle = Callable[[str], Path]


@pytest.mark.parametrize("text_encoder", ["table", "encoder"])
def test_a_longer_text_is_cut_off_at_the_end(make_text_bundle: MakeTextBundle, text_encoder: str) -> None:
    with load(make_text_bundle(text_encoder)) as session:
        text = "i love it " * 6
        cut = " ".join(text.split()[: toy_text.MAX_TOKENS - (2 if text_encoder == "encoder" else 0)])
        assert session.predict(text=text).outputs == session.predict(text=cut).outputs
        assert session.predict(text=text).outputs != session.predict(text="i love it").outputs


@pytest.mark.parametrize("text_encoder", ["table", "encoder"])
@pytest.mark.parametrize(
    "text",
    ["a" * 10_000, "\U0001f600\U0001f3fd!", "любовь 愛 love حب", "i\x00love\x07it", "\u202elove\u0301", "!" * 500],
)
def test_unusual_text_gives_the_same_prediction_in_a_stream(
    make_text_bundle: MakeTextBundle, text_encoder: str, text: str
) -> None:
    with load(make_text_bundle(text_encoder)) as session:
        whole = session.predict(text=text)
        stream = session.create_stream()
        stream.push_text(text)
        assert_close_to_scale(stream.predict().score, whole.score)


@pytest.mark.parametrize("text_encoder", ["table", "encoder"])
def test_a_lone_surrogate_is_refused_and_not_stored(make_text_bundle: MakeTextBundle, text_encoder: str) -> None:
    with load(make_text_bundle(text_encoder)) as session:
        with pytest.raises(UsageError, match=r"character 5 is the lone surrogate '\\ud83d'. Decode the text as UTF-8"):
            session.predict(text="love \ud83d")
        stream = session.create_stream()
        with pytest.raises(UsageError, match="lone surrogate"):
            stream.push_text("love \ud83d")
        assert (stream.words, stream.subset) == ((), "")


def test_only_text_needs_the_tokenizers_library(
    make_text_bundle: MakeTextBundle, frames: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_text_bundle("table")
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with load(path) as session:
        assert session.predict(language=frames("language", 3)).subset == "l"
        with pytest.raises(BackendUnavailableError, match=r"Run: pip install 'edge-msa-runtime\[text\]'"):
            session.predict(text="love")
