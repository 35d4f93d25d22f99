"""Predict while a person speaks, from the words and times of a speech recognizer that corrects itself.

What you need: a bundle that accepts text. These commands train one on 317 sentences, in less than a minute:

    edge-msa text train --transcripts examples/data/sentences.csv --encoder wordpieces \
        --recipe examples/data/sentences.toml --output-dir words
    edge-msa calibrate words --output-dir words-calibrated
    edge-msa export words-calibrated --target laptop --output-dir bundle-words

How to run it: python examples/recognizer_words.py bundle-words [examples/data/recognizer.jsonl]
What it prints: a line per result of the recognizer, with the score of the words so far:

     1.7 s  +1.94  i love the musical
     1.7 s  +2.12  i love the music          corrected
     2.1 s  +2.12  i love the music          end of the utterance
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import edge_msa_runtime as emr

RECORDING = Path(__file__).parent / "data" / "recognizer.jsonl"
Words = list[tuple[str, float, float]]  # a word, its start and its end in seconds


def results(file: Path) -> Iterator[dict[str, Any]]:
    """Yield the results of a recognizer. Replace this by yours.

    A partial result replaces the previous one of the same utterance: it has all words so far, and may correct them. The
    final result ends the utterance. With Vosk, for example, they come from `PartialResult()` and `Result()`.
    """
    for line in file.read_text(encoding="utf-8").splitlines():
        yield json.loads(line)


def update(stream: emr.Stream, pushed: Words, words: Words) -> bool:
    """Bring the words of a stream from `pushed` to `words`, and return whether the recognizer corrected itself."""
    corrected = words[: len(pushed)] != pushed
    if corrected:
        stream.forget("language")  # a stream cannot change a word; frames of audio and vision stay
    new = words if corrected else words[len(pushed) :]
    if new:
        stream.push_text([word for word, _, _ in new], times=[times for _, *times in new])
    return corrected


def main(bundle: str, recording: Path = RECORDING) -> None:
    """Print a prediction for each result of the recognizer."""
    pushed: Words = []
    with emr.load(bundle) as session:
        stream = session.create_stream()
        for result in results(recording):
            words = [(word["word"], word["start"], word["end"]) for word in result["words"]]
            note = "corrected" if update(stream, pushed, words) else ""
            pushed = words
            if stream.subset:  # a prediction needs a word that the bundle can tokenize
                text = " ".join(word for word, _, _ in words)
                note = "end of the utterance" if result["final"] else note
                print(f"{result['time']:5.1f} s  {stream.predict().score:+.2f}  {text:32} {note}".rstrip())
            if result["final"]:
                stream.end_utterance()  # otherwise the next utterance would continue this one
                pushed = []


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("recording", nargs="?", type=Path, default=RECORDING)
    main(**vars(parser.parse_args()))
