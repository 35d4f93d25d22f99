from __future__ import annotations

from pathlib import Path

import pytest

from edge_msa_runtime.errors import DataError, UsageError
from edge_msa_runtime.live.transcript_files import read_transcript

SRT = """\
1
00:00:01,000 --> 00:00:02,000
I <i>love</i>

2
00:01:00,500 --> 00:01:02,500
{\\an8}it, so
much
"""
VTT = """\
WEBVTT

NOTE a comment

intro
00:01.000 --> 00:03.000 align:start
I <00:00:02.000><c>love</c> &amp; hate

01:00:00.000 --> 01:00:01.000
it
"""


def read(tmp_path: Path, text: str, name: str = "words.srt") -> list[tuple[str, float, float]]:
    path = tmp_path / name
    path.write_bytes(text.encode())
    return [(word.text, word.start or 0.0, word.end or 0.0) for word in read_transcript(path)]


def test_words_share_the_time_of_a_subtitle(tmp_path: Path) -> None:
    words = read(tmp_path, SRT)
    assert [word[0] for word in words] == ["I", "love", "it,", "so", "much"]
    assert words[0][1:] == pytest.approx((1.0, 1 + 2 / 7))
    assert words[1][1:] == pytest.approx((1 + 2 / 7, 2.0))
    assert (words[2][1], words[4][2]) == pytest.approx((60.5, 62.5))


@pytest.mark.parametrize("change", [("\n", "\r\n"), ("1\n", "\ufeff1\n"), (",", ".")])
def test_variants_of_subtitles_are_the_same(tmp_path: Path, change: tuple[str, str]) -> None:
    changed = SRT.replace("it,", "it").replace(*change, 1 if change[0] == "1\n" else -1)
    assert read(tmp_path, changed) == read(tmp_path, SRT.replace("it,", "it"))


def test_times_inside_a_line_of_webvtt_are_used(tmp_path: Path) -> None:
    words = read(tmp_path, VTT, "words.vtt")
    assert [word[0] for word in words] == ["I", "love", "&", "hate", "it"]
    assert words[0][1:] == pytest.approx((1.0, 2.0))
    assert (words[1][1], words[3][2]) == pytest.approx((2.0, 3.0))
    assert words[4][1:] == pytest.approx((3600.0, 3601.0))


def test_json_lines_have_one_word_or_several(tmp_path: Path) -> None:
    text = (
        '{"record":"stream","version":1}\n{"record":"words","elapsed":1,"words":["love","it"],"times":[[1,2],[2,3]]}\n'
        '\n{"word":"i","start":0.5,"end":1}\n{"text":"so much","start":3,"end":4}\n{"record":"summary"}'
    )
    words = read(tmp_path, text, "words.jsonl")
    assert [word[0] for word in words] == ["i", "love", "it", "so", "much"]
    assert words[0][1:] == (0.5, 1.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no words with times"),
        ("hello", "has no words with times"),
        ("1\n00:00:03,000 --> 00:00:02,000\nx", "line 2: the end must not be before the start, got 3 and 2 s"),
        ("1\n0:3 --> later\nx", "line 2: a time must be 00:00:01,500 --> 00:00:03,000"),
        ('{"word": "x", "start": 1}', "line 1: a word must have word, start and end"),
        (
            '{"word": "x", "start": 1, "end": NaN}',
            "line 1: end must be a finite number of seconds, at least 0, got nan",
        ),
        ('{"word": "x", "start": -1, "end": 1}', "line 1: start must be"),
        ('{"word": 3, "start": 1, "end": 1}', "line 1: a word must be text, got 3"),
        ('{"words": ["x"], "times": []}', "line 1: words and times must be lists of the same length"),
        ('{"word": "x", "start": 1, "end": 2}\n[1', "line 2: it is not JSON"),
    ],
)
def test_a_bad_transcript_is_one_line_that_names_the_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path, text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a file"):
        read_transcript(tmp_path / "missing.srt")
    (tmp_path / "latin.srt").write_bytes(b"1\n00:00:01,000 --> 00:00:02,000\ncaf\xe9\n")
    with pytest.raises(DataError, match="is not UTF-8"):
        read_transcript(tmp_path / "latin.srt")
