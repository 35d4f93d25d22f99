"""From what was said to token ids, by the tokenizers library, and the vocabularies that a device needs of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_msa.errors import DataError

UNKNOWN = "[UNK]"
CONTINUES = "##"

# Corpora differ in case and punctuation (CMU-MOSI's are upper case without any), so both go: "It's" is "its".
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
    """A tokenizer and how it is used.

    `tokenizer`: the JSON of the tokenizers library, which the device reads too. `special`: whether its own special
    tokens frame every text, as a BERT-like encoder wants. `max_tokens`: longer texts lose their end.
    """

    tokenizer: str
    max_tokens: int
    special: bool
    _loaded: list[Any] = field(default_factory=list, repr=False, compare=False)

    @property
    def size(self) -> int:
        """Entries of the vocabulary."""
        return int(self._tokenizer.get_vocab_size())

    @property
    def vocabulary(self) -> list[str]:
        """The entries, in the order of their ids."""
        found: dict[str, int] = self._tokenizer.get_vocab()
        return sorted(found, key=lambda entry: found[entry])

    @property
    def unknown(self) -> int:
        """The id of what stands for a word that is not known; the first entry where the tokenizer names none."""
        model = json.loads(self.tokenizer)["model"]
        found = self._tokenizer.token_to_id(model.get("unk_token") or UNKNOWN)
        return 0 if found is None else int(found)

    def ids(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Token ids of each text, (n,) each; of a text without a word, none."""
        # Half a surrogate pair is no text to the library; it becomes a question mark, and that goes.
        clean = [text.encode("utf-8", "replace").decode() for text in texts]
        found = self._tokenizer.encode_batch(clean, add_special_tokens=self.special)
        least = self._specials
        return [np.array(item.ids if len(item.ids) > least else [], np.int64) for item in found]

    @property
    def _specials(self) -> int:
        return int(self._tokenizer.num_special_tokens_to_add(is_pair=False)) if self.special else 0

    @property
    def _tokenizer(self) -> Any:
        if not self._loaded:
            from tokenizers import Tokenizer

            try:
                loaded = Tokenizer.from_str(self.tokenizer)
            except Exception as error:  # noqa: BLE001 - the library raises Exception itself
                raise DataError(f"the tokenizer cannot be read ({error}): make its run again") from None
            loaded.no_padding()
            loaded.enable_truncation(self.max_tokens)
            self._loaded.append(loaded)
        return self._loaded[0]


def text_input(tokenizer: str) -> str:
    """The same tokenizer without regard to case and punctuation."""
    value = json.loads(tokenizer)
    return json.dumps(value | {"normalizer": TEXT_NORMALIZER, "truncation": None, "padding": None})


def narrowed(tokenizer: str, texts: Iterable[str]) -> str:
    """The wordpiece tokenizer with those pieces alone that occur in the texts; ids are given anew.

    Single letters stay, so that any word of known letters still has pieces; of the special tokens the unknown one.

    Raises:
        DataError: it is not made of wordpieces.
    """
    value = json.loads(tokenizer)
    model = value["model"]
    if model.get("type") != "WordPiece":
        raise DataError(
            f"the tokenizer is of type {model.get('type')}; a table of pieces needs wordpieces, as BERT has"
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
    value["added_tokens"] = [_special(unknown, 0)]
    return json.dumps(value | {"model": model, "post_processor": None})


def of_words(vocabulary: Sequence[str]) -> str:
    """A tokenizer of whole words, as GloVe has them; the first entry stands for every other word."""
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
            "added_tokens": [_special(vocabulary[0], 0)],
            "normalizer": TEXT_NORMALIZER,
            "pre_tokenizer": {"type": "WhitespaceSplit"},
            "post_processor": None,
            "decoder": None,
            "model": model,
        }
    )


def learned(texts: Iterable[str], size: int = 8000) -> str:
    """A wordpiece tokenizer learned from the texts."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.pre_tokenizers import BertPreTokenizer
    from tokenizers.trainers import WordPieceTrainer

    value = json.loads(Tokenizer(WordPiece(unk_token=UNKNOWN)).to_str())
    tokenizer = Tokenizer.from_str(json.dumps(value | {"normalizer": TEXT_NORMALIZER}))
    tokenizer.pre_tokenizer = BertPreTokenizer()
    trainer = WordPieceTrainer(vocab_size=size, special_tokens=[UNKNOWN], show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    text: str = tokenizer.to_str()
    return text


def _special(token: str, index: int) -> dict[str, Any]:
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
