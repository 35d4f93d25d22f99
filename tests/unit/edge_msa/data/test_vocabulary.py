from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from edge_msa.data.tokenization import TextTokenizer, build_word_tokenizer, normalize_for_encoder
from edge_msa.data.vocabulary import prune_vocabulary, restrict_vocabulary
from edge_msa.errors import DataError
from tests.tokenizers import CHINESE, bert, byte_level_bpe, tokens_of, unigram
from tests.unit.edge_msa.data.test_tokenization import wordpieces

ENGLISH = ("a good film", "a really bad film", "the best film of all time", "it is unkind and unbelievable")
GERMAN = ("ein schöner Film", "das größte Übel")
WORLD = (*ENGLISH, *CHINESE, *GERMAN, "यह फिल्म बहुत अच्छी है।", "هذا الفيلم رائع", "good 😍👍🏽")
BUILDERS: dict[str, Callable[[], str]] = {
    "uncased wordpieces": lambda: bert(WORLD * 4, lowercase=True),
    "cased wordpieces": lambda: bert(WORLD * 4, lowercase=False),
    "unigram": lambda: unigram(WORLD * 4),
    "byte-level": lambda: byte_level_bpe(WORLD * 4, 700),
}


@pytest.fixture(params=BUILDERS)
def tokenizer(request: pytest.FixtureRequest) -> str:
    return BUILDERS[request.param]()


def load(tokenizer: str) -> TextTokenizer:
    return TextTokenizer(tokenizer, 99, special=True)


@pytest.mark.parametrize("texts", [ENGLISH, CHINESE, GERMAN], ids=["English", "Chinese", "German"])
def test_the_texts_keep_their_tokens(tokenizer: str, texts: tuple[str, ...]) -> None:
    pruned = prune_vocabulary(tokenizer, texts)
    before, after = load(tokenizer), load(pruned.tokenizer)
    assert after.size == len(pruned.kept) < before.size
    assert [before.vocabulary[index] for index in pruned.kept] == after.vocabulary
    for old, new in zip(before.ids(texts), after.ids(texts), strict=True):
        np.testing.assert_array_equal(old, pruned.kept[new])
    assert {before.vocabulary[index] for index in before.special_ids} == {
        after.vocabulary[index] for index in after.special_ids
    }
    assert before.vocabulary[before.unknown] == after.vocabulary[after.unknown]


def test_other_words_of_the_language_are_split_into_smaller_pieces(tokenizer: str) -> None:
    pruned = prune_vocabulary(tokenizer, ["a good film"])
    assert len(tokens_of(pruned.tokenizer, "really")) > len(tokens_of(tokenizer, "really"))
    assert "".join(tokens_of(pruned.tokenizer, "really")).replace("##", "").strip("▁") == "really"


def test_single_letters_of_the_scripts_of_the_texts_are_kept() -> None:
    pruned = load(prune_vocabulary(bert(WORLD * 4, lowercase=False), [CHINESE[0]]).tokenizer)
    assert pruned.unknown not in pruned.ids(["很 看 g"])[0]  # not in the text
    assert pruned.unknown in pruned.ids(["यह"])[0]
    assert "##看" not in pruned.vocabulary  # a Chinese character is a word


def test_special_tokens_and_the_first_ids_keep_their_place() -> None:
    pruned = prune_vocabulary(unigram(WORLD * 4), ENGLISH, keep_below=9)
    assert pruned.kept[:9].tolist() == [*range(9)]
    value = json.loads(pruned.tokenizer)
    assert [item["content"] for item in value["added_tokens"]] == ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    assert load(pruned.tokenizer).vocabulary[-1] == "<mask>"


def test_a_table_keeps_the_pieces_of_its_texts() -> None:
    full = TextTokenizer(normalize_for_encoder(wordpieces(), [], "english"), 16, special=False)
    small = TextTokenizer(restrict_vocabulary(full.tokenizer, ["unkind movie"]).tokenizer, 16, special=False)
    assert small.size < full.size
    for text in ("unkind movie", "movie unkind unkind"):
        pieces = [full.vocabulary[token] for token in full.ids([text])[0]]
        assert [small.vocabulary[token] for token in small.ids([text])[0]] == pieces
    assert small.vocabulary[small.unknown] == "[UNK]"
    assert small.ids(["love"])[0].tolist() == [small.unknown]  # "l" is kept, but no text contains "##ve"
    assert small.ids(["z"])[0].tolist() == [small.vocabulary.index("z")]


def test_a_table_splits_words_alike_wherever_they_stand(tokenizer: str) -> None:
    table = TextTokenizer(restrict_vocabulary(tokenizer, ENGLISH).tokenizer, 99, special=False)
    for text in ENGLISH:
        one_by_one = [token for word in text.split() for token in table.ids([word])[0]]
        assert table.ids([text])[0].tolist() == one_by_one
    assert not {"<s>", "<mask>", "[CLS]"} & {*table.vocabulary}


def test_whole_words_are_no_pieces() -> None:
    with pytest.raises(DataError, match="WordLevel"):
        restrict_vocabulary(build_word_tokenizer(["unk", "a"]), ["a"])
