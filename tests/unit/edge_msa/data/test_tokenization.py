from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from edge_msa.data.tokenization import (
    TextTokenizer,
    build_word_tokenizer,
    is_english,
    normalize_for_encoder,
    train_wordpiece_tokenizer,
)
from edge_msa.errors import DataError, UsageError
from tests.tokenizers import CHINESE, bert, byte_level_bpe, tokens_of, unigram

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
    words = TextTokenizer(normalize_for_encoder(wordpieces(), [], "english"), 16, special=False)
    plain, loud, quoted = words.ids(["love its movie", "LOVE, IT'S... MOVIE!!", "“love” it\u2019s <movie>"])
    assert plain.tolist() == loud.tolist() == quoted.tolist() == [4, 6, 12]


def test_special_tokens_are_added_to_texts_with_words() -> None:
    words = TextTokenizer(normalize_for_encoder(wordpieces(), [], "english"), 16, special=True)
    said, silent, marks = words.ids(["it", "   ", "?!"])
    assert said.tolist() == [2, 5, 3]
    assert silent.size == marks.size == 0


def test_long_texts_are_truncated() -> None:
    words = TextTokenizer(normalize_for_encoder(wordpieces(), [], "english"), 5, special=True)
    assert words.ids(["it it it it it it"])[0].tolist() == [2, 5, 5, 5, 3]


@pytest.mark.case("F8")
@pytest.mark.parametrize(("special", "lost"), [(True, 3 + 1), (False, 1)])
def test_a_note_counts_the_tokens_that_are_not_used(special: bool, lost: int) -> None:
    words = TextTokenizer(normalize_for_encoder(wordpieces(), [], "english"), 5, special=special)
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
    ids = TextTokenizer(normalize_for_encoder(wordpieces(), [], "english"), 16, special=False).ids([text])[0]
    assert ids.ndim == 1
    assert len(ids) <= 16


def test_the_same_texts_give_the_same_wordpieces() -> None:
    texts = [f"{first}{second}{last}" for first in "abcdef" for second in "aeiou" for last in "klmnop"]
    assert len({train_wordpiece_tokenizer(texts, size=60) for _ in range(4)}) == 1
    assert "[UNK]" in train_wordpiece_tokenizer(texts)


HINDI, GERMAN, EMOJI = "यह फिल्म बहुत अच्छी है।", "Schön, Übergröße!", "good😍 ❤️👍🏽"


def test_an_uncased_encoder_ignores_punctuation_and_accents_in_english_texts_only() -> None:
    tokenizer = bert(["good film", "caf\u00e9 schon"], lowercase=True)
    english = normalize_for_encoder(tokenizer, ["GOOD film"])
    assert english == normalize_for_encoder(tokenizer, ["a"], "english")
    assert tokens_of(english, "Good! film") == ["good", "film"]
    assert tokens_of(normalize_for_encoder(tokenizer, [HINDI]), "GOOD! film") == ["good", "[UNK]", "film"]


@pytest.mark.parametrize("texts", [["I LOVE it, it's great"], [CHINESE[0]], [HINDI], [GERMAN], [EMOJI]])
@pytest.mark.parametrize("build", [unigram, byte_level_bpe], ids=["unigram", "byte-level"])
def test_cased_tokenizers_keep_their_own_normalization(texts: list[str], build: Callable[[list[str]], str]) -> None:
    tokenizer = build(texts * 5)
    assert tokens_of(normalize_for_encoder(tokenizer, texts), texts[0]) == tokens_of(tokenizer, texts[0])


def test_words_ignores_case_with_a_cased_tokenizer() -> None:
    tokenizer = normalize_for_encoder(unigram(["i love it", "我不喜欢 这部"] * 5), [], "words")
    assert tokens_of(tokenizer, "I LOVE, it!") == tokens_of(tokenizer, "i love it")
    assert tokens_of(tokenizer, "我不喜欢") == tokens_of(unigram(["i love it", "我不喜欢 这部"] * 5), "我不喜欢")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (CHINESE[0], [*"我不喜欢这部电影太糟糕了"]),
        ("هذا الفيلم رائع جداً", ["هذا", "الفيلم", "رائع", "جداً"]),
        (GERMAN, ["schön", "übergröße"]),
        (HINDI, ["यह", "फिल्म", "बहुत", "अच्छी", "है"]),
        (EMOJI, ["good", "😍", "❤", "👍", "🏽"]),
        ("L'été m'a plu", ["l", "été", "m", "a", "plu"]),
    ],
)
def test_new_words_keep_accents_vowel_signs_and_emoji(text: str, words: list[str]) -> None:
    other = ["ö und ä"]  # not English
    assert tokens_of(build_word_tokenizer(["[UNK]", *words], other), text) == words
    pieces = TextTokenizer(train_wordpiece_tokenizer([text] * 9 + other), 99, special=False)
    assert pieces.unknown not in pieces.ids([text])[0]


def test_thai_without_spaces_becomes_wordpieces() -> None:
    text = "ไม่ชอบหนังเรื่องนี้เลย" * 6
    pieces = TextTokenizer(train_wordpiece_tokenizer([text] * 3), 999, special=False)
    assert pieces.unknown not in pieces.ids([text])[0]


def test_english_is_recognized_by_its_letters() -> None:
    assert is_english(["I LOVE it", "Zoë is a naïve café owner " + "with a good film " * 90])
    assert not is_english(["das ist ein schöner Film"])


def test_a_new_table_has_no_tokenizer_whose_normalization_could_be_kept() -> None:
    with pytest.raises(UsageError, match="must be auto, english or words"):
        train_wordpiece_tokenizer(["a"], normalization="tokenizer")
