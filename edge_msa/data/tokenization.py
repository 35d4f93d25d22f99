"""Tokenize text with the tokenizers library, and build tokenizers with the vocabularies that a device needs."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edge_msa.errors import DataError, UsageError
from edge_msa_runtime.text.earlier_utterances import append_utterances, ending_of
from edge_msa_runtime.wording import format_part

UNKNOWN = "[UNK]"

Normalization = Literal["auto", "english", "words", "tokenizer"]
"""How text is changed before it is split into tokens; see `normalize_for_encoder` and `build_word_tokenizer`."""

# Corpora differ in case and punctuation (CMU-MOSI is in upper case without punctuation), so both are removed:
# "It's" becomes "its". Accents and symbols are removed too, which English can do without.
ENGLISH_NORMALIZER: dict[str, Any] = {
    "type": "Sequence",
    "normalizers": [
        {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        {"type": "Replace", "pattern": {"Regex": "['\u2019\u2018`]"}, "content": ""},
        {"type": "Replace", "pattern": {"Regex": r"[^\w\s]|_"}, "content": " "},
    ],
}
_SYMBOLS = {"type": "Split", "pattern": {"Regex": r"\p{S}"}, "behavior": "Isolated", "invert": False}
"""Emoji become words, also next to letters."""
_MAX_WORD = 1000
"""Longest word in characters that is split into wordpieces. Thai has no spaces between words."""
_ENGLISH_SHARE = 0.995
"""Smallest share of a to z in the letters of English texts. In German it is .98."""


def _word_normalizers(*, split_chinese: bool) -> list[dict[str, Any]]:
    """Return normalizers that remove case and punctuation, and keep accents, vowel signs and emoji."""
    bert = {"clean_text": True, "handle_chinese_chars": split_chinese, "strip_accents": False, "lowercase": True}
    return [
        {"type": "NFKC"},
        {"type": "BertNormalizer", **bert},
        {"type": "Replace", "pattern": {"String": "\ufe0f"}, "content": ""},  # it only selects the look of an emoji
        {"type": "Replace", "pattern": {"Regex": r"\p{P}"}, "content": " "},
    ]


def is_english(texts: Iterable[str]) -> bool:
    """Return whether nearly all letters of the texts are from a to z. Texts without letters count as English."""
    letters = ascii_letters = 0
    for text in texts:
        for character in text:
            if character.isalpha():
                letters += 1
                ascii_letters += character.isascii()
    return ascii_letters >= _ENGLISH_SHARE * letters


@dataclass(frozen=True)
class TextTokenizer:
    """A tokenizer and how it is applied."""

    tokenizer: str
    """JSON of the tokenizers library, which devices use as well."""
    max_tokens: int
    """Longer texts are cut at the end."""
    special: bool
    """Whether to add the tokenizer's special tokens to each text, as BERT-like encoders require."""
    context: int = 0
    """Number of earlier utterances that an encoder reads after each text."""

    @property
    def size(self) -> int:
        """Size of the vocabulary."""
        return int(self._tokenizer.get_vocab_size())

    @property
    def vocabulary(self) -> list[str]:
        """The tokens in the order of their ids."""
        ids: dict[str, int] = self._tokenizer.get_vocab()
        return sorted(ids, key=lambda token: ids[token])

    @property
    def unknown(self) -> int:
        """Id of the token for unknown words, or of the mask token if there is none; 0 if there is neither."""
        model = json.loads(self.tokenizer)["model"]
        if model.get("unk_id") is not None:
            return int(model["unk_id"])
        names = (model.get("unk_token"), UNKNOWN, "<unk>", "[MASK]", "<mask>")
        tokens = (self._tokenizer.token_to_id(name) for name in names if name)
        return next((int(token) for token in tokens if token is not None), 0)

    @property
    def special_ids(self) -> frozenset[int]:
        """Ids of the tokens that are added to each text, e.g. [CLS] and [SEP]."""
        return frozenset(self._tokenizer.encode("", add_special_tokens=self.special).ids)

    def ids(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Return the token ids of each text, (n,) int64; empty for a text without words."""
        encodings, added = self._encode(texts)
        return [np.array(item.ids if len(item.ids) > added else [], np.int64) for item in encodings]

    def append_earlier(
        self, ids: Sequence[NDArray[np.int64]], earlier: Sequence[Sequence[str]]
    ) -> list[NDArray[np.int64]]:
        """Return token ids of texts with those of the earlier utterances after them, at most `max_tokens` each.

        Args:
            ids: The token ids of each text, see `ids`. A text without words gets no earlier utterances.
            earlier: The utterances before each text, the newest last; empty if there are none.
        """
        if not self.context or not earlier:
            return list(ids)
        newest = [texts[-self.context :] for texts in earlier]
        distinct = list(dict.fromkeys(text for texts in newest for text in texts))
        encodings = self._tokenizer.encode_batch(list(map(_replace_surrogates, distinct)), add_special_tokens=False)
        tokens = {
            text: [token for part in (item, *item.overflowing) for token in part.ids]
            for text, item in zip(distinct, encodings, strict=True)
        }
        ending = self.ending
        return [
            np.array(
                append_utterances(own.tolist(), [tokens[text] for text in texts], ending, self.max_tokens), np.int64
            )
            if len(own)
            else own
            for own, texts in zip(ids, newest, strict=True)
        ]

    @property
    def ending(self) -> list[int]:
        """The special tokens at the end of a text, e.g. [SEP], which separate utterances."""
        encoding = self._tokenizer.encode("a", add_special_tokens=self.special)
        return ending_of(encoding.ids, encoding.special_tokens_mask)

    def truncation_note(self, name: str, texts: Sequence[str]) -> str | None:
        """Return a note on the texts of more than `max_tokens` tokens, or None if there are none.

        Args:
            name: What the texts are, such as `the train split`.
            texts: The texts.
        """
        encodings, added = self._encode(texts)
        counts = [sum(len(part.ids) - added for part in (item, *item.overflowing)) for item in encodings]
        room = self.max_tokens - added
        longer = [count for count in counts if count > room]
        if not longer:
            return None
        lost = sum(longer) - room * len(longer)
        return (
            f"in {name}, {format_part(len(longer), len(texts), 'text', 'has', 'have')} more than {self.max_tokens} "
            f"tokens; the end is not used ({lost} of {sum(counts)} tokens)"
        )

    def _encode(self, texts: Sequence[str]) -> tuple[Sequence[Any], int]:
        """Return the encoding of each text, and how many of its tokens are special."""
        clean = [_replace_surrogates(text) for text in texts]
        added = int(self._tokenizer.num_special_tokens_to_add(is_pair=False)) if self.special else 0
        return self._tokenizer.encode_batch(clean, add_special_tokens=self.special), added

    @property
    def _tokenizer(self) -> Any:
        return _load_tokenizer(self.tokenizer, self.max_tokens)


def _replace_surrogates(text: str) -> str:
    """Return a text with question marks in place of unpaired surrogates, which the library rejects."""
    return text.encode("utf-8", "replace").decode()


@functools.lru_cache(maxsize=16)
def _load_tokenizer(tokenizer: str, max_tokens: int) -> Any:
    from tokenizers import Tokenizer

    try:
        loaded = Tokenizer.from_str(tokenizer)
    except Exception as error:  # noqa: BLE001 - the library raises Exception itself
        raise DataError(f"Invalid tokenizer ({error}). Make its run again.") from None
    loaded.no_padding()
    loaded.enable_truncation(max_tokens)
    return loaded


def normalize_for_encoder(tokenizer: str, texts: Sequence[str], normalization: Normalization = "auto") -> str:
    """Return the tokenizer of a pre-trained encoder with the normalization of a text model.

    Args:
        tokenizer: JSON of the tokenizers library.
        texts: Training texts.
        normalization: `english` replaces the tokenizer's own normalization by lower case without accents, punctuation
            and symbols. `words` removes case and punctuation before it. `tokenizer` keeps it as it is. `auto` is
            `english` if the tokenizer ignores case and the texts are English, else `tokenizer`.
    """
    value = json.loads(tokenizer) | {"truncation": None, "padding": None}
    own = value["normalizer"]
    if normalization == "auto":
        normalization = "english" if _ignores_case(own) and is_english(texts) else "tokenizer"
    if normalization == "english":
        value["normalizer"] = ENGLISH_NORMALIZER
    elif normalization == "words":
        normalizers = [*_word_normalizers(split_chinese=False), *([] if own is None else [own])]
        value["normalizer"] = {"type": "Sequence", "normalizers": normalizers}
    return json.dumps(value)


def ignores_case(tokenizer: str) -> bool:
    """Return whether a tokenizer converts text to lower case."""
    return _ignores_case(json.loads(tokenizer)["normalizer"])


def _ignores_case(normalizer: Mapping[str, Any] | None) -> bool:
    if normalizer is None:
        return False
    if normalizer["type"] == "Sequence":
        return any(_ignores_case(item) for item in normalizer["normalizers"])
    return normalizer["type"] == "Lowercase" or bool(normalizer.get("lowercase"))


def _normalize_words(texts: Sequence[str], normalization: Normalization) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the normalizer of a new tokenizer, and pre-tokenizers for its words.

    Raises:
        UsageError: The normalization is `tokenizer`.
    """
    if normalization == "tokenizer":
        raise UsageError(
            "text.normalization must be auto, english or words for a table without a pre-trained tokenizer, got "
            "tokenizer. Change it."
        )
    if normalization == "english" or (normalization == "auto" and is_english(texts)):
        return ENGLISH_NORMALIZER, []
    return {"type": "Sequence", "normalizers": _word_normalizers(split_chinese=True)}, [_SYMBOLS]


def build_word_tokenizer(
    vocabulary: Sequence[str], texts: Sequence[str] = (), normalization: Normalization = "auto"
) -> str:
    """Return a tokenizer of whole words, e.g. those of GloVe.

    Args:
        vocabulary: The words. The first entry stands for unknown words.
        texts: Training texts.
        normalization: `english`, `words`, or `auto`, which is `english` if the texts are English and else `words`.

    Raises:
        UsageError: The normalization is `tokenizer`.
    """
    normalizer, symbols = _normalize_words(texts, normalization)
    model = {
        "type": "WordLevel",
        "vocab": {word: index for index, word in enumerate(vocabulary)},
        "unk_token": vocabulary[0],
    }
    return json.dumps(
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [special_token(vocabulary[0], 0)],
            "normalizer": normalizer,
            "pre_tokenizer": _sequence([{"type": "WhitespaceSplit"}, *symbols]),
            "post_processor": None,
            "decoder": None,
            "model": model,
        }
    )


def train_wordpiece_tokenizer(texts: Sequence[str], size: int = 8000, normalization: Normalization = "auto") -> str:
    """Return a WordPiece tokenizer trained on the texts, with at most `size` pieces.

    The trainer numbers the continuations of words, such as `##a`, in a random order, and breaks ties by these numbers.
    They are therefore given in order, so that the same texts give the same tokenizer in every process.

    Args:
        texts: Training texts.
        size: Maximum number of pieces.
        normalization: As in `build_word_tokenizer`.

    Raises:
        UsageError: The normalization is `tokenizer`.
    """
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.trainers import WordPieceTrainer

    normalizer, symbols = _normalize_words(texts, normalization)
    value = json.loads(Tokenizer(WordPiece(unk_token=UNKNOWN)).to_str())
    value |= {"normalizer": normalizer, "pre_tokenizer": _sequence([{"type": "BertPreTokenizer"}, *symbols])}
    if symbols:
        value["model"]["max_input_chars_per_word"] = _MAX_WORD
    tokenizer = Tokenizer.from_str(json.dumps(value))
    normalized = [tokenizer.normalizer.normalize_str(text) for text in texts]
    words = {word for text in normalized for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)}
    continuations = sorted({f"##{character}" for word in words for character in word[1:]})
    trainer = WordPieceTrainer(vocab_size=size, special_tokens=[UNKNOWN, *continuations], show_progress=False)
    tokenizer.train_from_iterator(normalized, trainer)
    trained = json.loads(tokenizer.to_str())
    trained["added_tokens"] = [token for token in trained["added_tokens"] if token["content"] == UNKNOWN]
    return json.dumps(trained)


def special_token(token: str, index: int) -> dict[str, Any]:
    """Return the entry of a special token in `added_tokens`."""
    return {
        "id": index,
        "content": token,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": True,
    }


def _sequence(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return items[0] if len(items) == 1 else {"type": "Sequence", "pretokenizers": items}
