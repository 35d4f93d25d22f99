"""Tokenize text with the tokenizers library, and build tokenizers with the vocabularies that a device needs."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_msa.errors import DataError
from edge_msa_runtime.wording import format_part

UNKNOWN = "[UNK]"

# Corpora differ in case and punctuation (CMU-MOSI is in upper case without punctuation), so both are removed:
# "It's" becomes "its".
TEXT_NORMALIZER: dict[str, Any] = {
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


@dataclass(frozen=True)
class TextTokenizer:
    """A tokenizer and how it is applied."""

    tokenizer: str
    """JSON of the tokenizers library, which devices use as well."""
    max_tokens: int
    """Longer texts are cut at the end."""
    special: bool
    """Whether to add the tokenizer's special tokens to each text, as BERT-like encoders require."""

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
        # The library rejects an unpaired surrogate. It becomes a question mark, which the normalizer removes.
        clean = [text.encode("utf-8", "replace").decode() for text in texts]
        added = int(self._tokenizer.num_special_tokens_to_add(is_pair=False)) if self.special else 0
        return self._tokenizer.encode_batch(clean, add_special_tokens=self.special), added

    @property
    def _tokenizer(self) -> Any:
        return _load_tokenizer(self.tokenizer, self.max_tokens)


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


def ignore_case_and_punctuation(tokenizer: str) -> str:
    """Return the tokenizer with a normalizer that removes case and punctuation, without truncation and padding."""
    value = json.loads(tokenizer)
    return json.dumps(value | {"normalizer": TEXT_NORMALIZER, "truncation": None, "padding": None})


def restrict_vocabulary(tokenizer: str, texts: Iterable[str]) -> str:
    """Return a WordPiece tokenizer with only the pieces that occur in the texts, and with new ids.

    Single letters are kept, so that every word of known letters can be split into pieces. The only special token that
    is kept is the one for unknown words.

    Raises:
        DataError: The tokenizer is not a WordPiece tokenizer.
    """
    value = json.loads(tokenizer)
    model = value["model"]
    if model.get("type") != "WordPiece":
        raise DataError(
            f"The tokenizer must be of type WordPiece, as in BERT, for a table of pieces, got {model.get('type')}."
        )
    full = TextTokenizer(tokenizer, 1 << 20, special=False)
    old = full.vocabulary
    used = {int(token) for ids in full.ids(list(texts)) for token in ids}
    unknown = model["unk_token"]
    prefix = model["continuing_subword_prefix"]
    kept = [unknown]
    for index, piece in enumerate(old):
        if piece != unknown and (index in used or (len(piece.removeprefix(prefix)) == 1 and _is_letter(piece[-1]))):
            kept.append(piece)
    model["vocab"] = {piece: index for index, piece in enumerate(kept)}
    value["added_tokens"] = [_special_token(unknown, 0)]
    return json.dumps(value | {"model": model, "post_processor": None})


def build_word_tokenizer(vocabulary: Sequence[str]) -> str:
    """Return a tokenizer of whole words, e.g. those of GloVe. The first entry stands for unknown words."""
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
            "added_tokens": [_special_token(vocabulary[0], 0)],
            "normalizer": TEXT_NORMALIZER,
            "pre_tokenizer": {"type": "WhitespaceSplit"},
            "post_processor": None,
            "decoder": None,
            "model": model,
        }
    )


def train_wordpiece_tokenizer(texts: Iterable[str], size: int = 8000) -> str:
    """Return a WordPiece tokenizer trained on the texts, with at most `size` pieces.

    The trainer numbers the continuations of words, such as `##a`, in a random order, and breaks ties by these numbers.
    They are therefore given in order, so that the same texts give the same tokenizer in every process.
    """
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.pre_tokenizers import BertPreTokenizer
    from tokenizers.trainers import WordPieceTrainer

    value = json.loads(Tokenizer(WordPiece(unk_token=UNKNOWN)).to_str())
    tokenizer = Tokenizer.from_str(json.dumps(value | {"normalizer": TEXT_NORMALIZER}))
    tokenizer.pre_tokenizer = BertPreTokenizer()
    normalized = [tokenizer.normalizer.normalize_str(text) for text in texts]
    words = {word for text in normalized for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)}
    continuations = sorted({f"##{character}" for word in words for character in word[1:]})
    trainer = WordPieceTrainer(vocab_size=size, special_tokens=[UNKNOWN, *continuations], show_progress=False)
    tokenizer.train_from_iterator(normalized, trainer)
    trained = json.loads(tokenizer.to_str())
    trained["added_tokens"] = [token for token in trained["added_tokens"] if token["content"] == UNKNOWN]
    return json.dumps(trained)


def _special_token(token: str, index: int) -> dict[str, Any]:
    return {
        "id": index,
        "content": token,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": True,
    }


def _is_letter(character: str) -> bool:
    return character.isascii() and character.isalnum()
