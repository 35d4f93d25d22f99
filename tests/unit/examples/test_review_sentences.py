"""Tests of examples/review_sentences.py."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

REVIEWS = [
    ["text", "label", "source"],
    ['I liked this film a lot.<br /><br />It is "great fun to watch." Bad. Would I see it again?', "1", "imdb"],
    ["I liked this film a lot. " + "word " * 50, "0", "imdb"],
    ["a gorgeous , witty film .", "1", "rt"],
    ["too short", "0", "rt"],
]


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    path = tmp_path / "reviews.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(REVIEWS)
    return path


def texts(path: Path) -> list[str]:
    with path.open(newline="", encoding="utf-8") as file:
        return [row["text"] for row in csv.DictReader(file)]


def test_reviews_are_split_into_different_sentences_of_4_to_40_words(
    load_example: Callable[[str], ModuleType], reviews: Path, tmp_path: Path
) -> None:
    load_example("review_sentences.py").main(str(reviews), str(tmp_path / "out.csv"), 10)
    whole, *sentences = texts(tmp_path / "out.csv")
    assert whole == "a gorgeous , witty film ."
    assert sorted(sentences) == ["I liked this film a lot.", 'It is "great fun to watch.', "Would I see it again?"]


def test_the_sentences_are_the_same_in_every_run(
    load_example: Callable[[str], ModuleType], reviews: Path, tmp_path: Path
) -> None:
    example = load_example("review_sentences.py")
    example.main(str(reviews), str(tmp_path / "all.csv"), 10)
    example.main(str(reviews), str(tmp_path / "two.csv"), 2)
    assert texts(tmp_path / "two.csv") == texts(tmp_path / "all.csv")[:3]


def test_a_file_without_sources_is_refused(load_example: Callable[[str], ModuleType], tmp_path: Path) -> None:
    path = tmp_path / "reviews.csv"
    path.write_text("text\ngood film\n")
    with pytest.raises(SystemExit, match="columns text and source"):
        load_example("review_sentences.py").main(str(path), str(tmp_path / "out.csv"), 10)
    assert not (tmp_path / "out.csv").exists()
