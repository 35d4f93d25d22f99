from __future__ import annotations

import json

import pytest

from edge_msa.data.tokenization import (
    TextTokenizer,
    build_word_tokenizer,
    ignore_case_and_punctuation,
    restrict_vocabulary,
    train_wordpiece_tokenizer,
)
from edge_msa.errors import DataError

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "love", "it", "its", "un", "##kind", "l", "##o", "z", "movie"]


def wordpieces() -> str:
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.pre_tokenizers import BertPreTokenizer
    from tokenizers.processors import BertProcessing

    tokenizer = Tokenizer(WordPiece({piece: index for index, piece in enumerate(PIECES)}, unk_token=PIECES[1]))
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    text: str = tokenizer.to_str()
    return text


def test_case_and_punctuation_are_ignored() -> None:
    words = TextTokenizer(ignore_case_and_punctuation(wordpieces()), 16, special=False)
    plain, loud, quoted = words.ids(["love its movie", "LOVE, IT'S... MOVIE!!", "“love” it\u2019s <movie>"])
    assert plain.tolist() == loud.tolist() == quoted.tolist() == [4, 6, 12]


def test_special_tokens_are_added_to_texts_with_words() -> None:
    words = TextTokenizer(ignore_case_and_punctuation(wordpieces()), 16, special=True)
    said, silent, marks = words.ids(["it", "   ", "?!"])
    assert said.tolist() == [2, 5, 3]
    assert silent.size == marks.size == 0


def test_long_texts_are_truncated() -> None:
    words = TextTokenizer(ignore_case_and_punctuation(wordpieces()), 5, special=True)
    assert words.ids(["it it it it it it"])[0].tolist() == [2, 5, 5, 5, 3]


@pytest.mark.case("F8")
@pytest.mark.parametrize(("special", "lost"), [(True, 3 + 1), (False, 1)])
def test_a_note_counts_the_tokens_that_are_not_used(special: bool, lost: int) -> None:
    words = TextTokenizer(ignore_case_and_punctuation(wordpieces()), 5, special=special)
    texts = ["it", "it it it it it it", "", "it it it it"]
    longer = 2 if special else 1
    assert words.truncation_note("the test split", texts) == (
        f"in the test split, {longer} of 4 texts {'have' if special else 'has'} more than 5 tokens; the end is not "
        f"used ({lost} of 11 tokens)"
    )
    assert words.truncation_note("the test split", texts[:1]) is None
    assert words.truncation_note("the test split", ["it " * 500]) == (
        "in the test split, 1 of 1 text has more than 5 tokens; the end is not used "
        f"({497 if special else 495} of 500 tokens)"
    )


def test_a_restricted_vocabulary_keeps_its_texts() -> None:
    full = TextTokenizer(ignore_case_and_punctuation(wordpieces()), 16, special=False)
    small = TextTokenizer(restrict_vocabulary(full.tokenizer, ["unkind movie"]), 16, special=False)
    assert small.size < full.size
    for text in ("unkind movie", "movie unkind unkind"):
        pieces = [full.vocabulary[token] for token in full.ids([text])[0]]
        assert [small.vocabulary[token] for token in small.ids([text])[0]] == pieces
    assert small.vocabulary[small.unknown] == "[UNK]"
    assert small.ids(["love"])[0].tolist() == [small.unknown]  # "l" is kept, but no text contains "##ve"
    assert small.ids(["z"])[0].tolist() == [small.vocabulary.index("z")]


def test_only_wordpiece_vocabularies_can_be_restricted() -> None:
    with pytest.raises(DataError, match="WordLevel"):
        restrict_vocabulary(build_word_tokenizer(["unk", "a"]), ["a"])


def test_unknown_words_become_the_first_entry() -> None:
    words = TextTokenizer(build_word_tokenizer(["unk", "good", "film"]), 16, special=False)
    assert words.ids(["Good bad FILM."])[0].tolist() == [1, 0, 2]
    assert words.unknown == 0


def test_trained_wordpieces_cover_their_texts() -> None:
    words = TextTokenizer(train_wordpiece_tokenizer(["a good film", "a bad film"]), 16, special=False)
    assert words.unknown not in words.ids(["good bad film"])[0]


def test_a_damaged_tokenizer_is_refused() -> None:
    with pytest.raises(DataError, match="Make its run again"):
        TextTokenizer(json.dumps({"model": {"type": "WordPiece"}}), 16, special=False).ids(["a"])


@pytest.mark.parametrize("text", ["x" * 10_000, "\U0001f600 \u4f60\u597d \u043c\u0438\u0440 love", "a\x00b", "\ud800"])
def test_unusual_texts_can_be_encoded(text: str) -> None:
    ids = TextTokenizer(ignore_case_and_punctuation(wordpieces()), 16, special=False).ids([text])[0]
    assert ids.ndim == 1
    assert len(ids) <= 16


def test_the_same_texts_give_the_same_wordpieces() -> None:
    texts = [f"{first}{second}{last}" for first in "abcdef" for second in "aeiou" for last in "klmnop"]
    assert len({train_wordpiece_tokenizer(texts, size=60) for _ in range(4)}) == 1
    assert "[UNK]" in train_wordpiece_tokenizer(texts)
