"""Restrict the vocabulary of a tokenizer to the pieces that texts of one language need.

The tokens of the texts stay the same. A piece that is dropped is split into smaller ones, as the tokenizer splits
any unknown word.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.tokenization import TextTokenizer, is_english, special_token
from edge_msa.errors import DataError

_SCRIPT_SHARE = 0.001
"""Smallest share of a script in the letters of the texts for which all of its single letters are kept."""
_SPACE = "\u2581"
"""Stands for a space in the pieces of SentencePiece."""
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_UNLIMITED = 1 << 30


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer with fewer pieces than another one."""

    tokenizer: str
    """JSON of the tokenizers library."""
    kept: NDArray[np.int64]
    """Ids of its pieces in the other tokenizer, (V,), by their new id."""


def prune_vocabulary(tokenizer: str, texts: Sequence[str], *, keep_below: int = 0) -> Vocabulary:
    """Return the tokenizer of an encoder without the pieces that a language does not need.

    It keeps the pieces of the texts, special tokens, and single characters: all that are no letters, and the letters of
    each script that the texts are written in. Words that the texts do not contain are split into these.

    Args:
        tokenizer: JSON of the tokenizers library.
        texts: Texts whose tokens must stay the same.
        keep_below: Ids below this number stay as they are.

    Raises:
        DataError: The tokens of a text would not stay the same.
    """
    source = _Source(tokenizer)
    used = source.used(texts)
    scripts = _scripts(texts)

    def belongs(character: str) -> bool:
        script = _script(character)
        return script is None or script in scripts

    kept = used | source.characters(belongs) | source.special | set(range(keep_below))
    pruned = source.restrict(sorted(source.needed(kept)))
    _check_same_tokens(source, pruned, texts)
    return pruned


def restrict_vocabulary(tokenizer: str, texts: Sequence[str]) -> Vocabulary:
    """Return the tokenizer of an embedding table with the pieces that occur in the texts, and with new ids.

    Letters and digits of ASCII are kept, and the characters of texts that are not English, so that every word of known
    characters can be split into pieces. The only special token that is kept is the one for unknown words. Words are
    split alike at the beginning of a text and after others, because they can arrive one by one.

    Args:
        tokenizer: JSON of a tokenizer with pieces of words.
        texts: Training texts.

    Raises:
        DataError: The tokenizer has whole words, or the tokens of a text would not stay the same.
    """
    value = json.loads(tokenizer)
    if value["model"].get("type") == "WordLevel":
        raise DataError("The tokenizer must have pieces of words, as in BERT, for a table of pieces, got WordLevel.")
    value |= {"pre_tokenizer": _split_every_word_alike(value["pre_tokenizer"]), "post_processor": None}
    source = _Source(json.dumps(value))
    characters = set() if is_english(texts) else set().union(*map(source.normalize, texts))

    def occurs(character: str) -> bool:
        return character in characters or (character.isascii() and character.isalnum())

    needed = source.needed(source.used(texts) | source.characters(occurs))
    unknown = source.unknown
    restricted = source.restrict(
        [*([] if unknown is None else [unknown]), *sorted(needed - {unknown} - source.special)]
    )
    _check_same_tokens(source, restricted, texts)
    return restricted


class _Source:
    """A tokenizer whose vocabulary is to be restricted."""

    def __init__(self, tokenizer: str) -> None:
        from tokenizers import Tokenizer

        self._tokens = TextTokenizer(tokenizer, _UNLIMITED, special=False)
        self._loaded = Tokenizer.from_str(tokenizer)
        self._value = json.loads(self._loaded.to_str())  # older files omit some fields
        self._model: dict[str, Any] = self._value["model"]
        self._type: str = self._model["type"]
        self._ids: dict[str, int] = self._loaded.get_vocab(with_added_tokens=True)
        self.special = {int(item["id"]) for item in self._value["added_tokens"] if item["special"]}

    @property
    def unknown(self) -> int | None:
        """Id of the token for unknown words, if there is one."""
        if self._type == "Unigram":
            index = self._model["unk_id"]
            return None if index is None else int(index)
        return self._ids.get(self._model.get("unk_token") or "")

    def ids(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Return the token ids of each text."""
        return self._tokens.ids(texts)

    def used(self, texts: Sequence[str]) -> set[int]:
        """Return the ids that occur in the texts."""
        return {int(token) for ids in self.ids(texts) for token in ids}

    def normalize(self, text: str) -> str:
        """Return the normalized text."""
        normalizer = self._loaded.normalizer
        return text if normalizer is None else str(normalizer.normalize_str(text))

    def characters(self, belongs: Callable[[str], bool]) -> set[int]:
        """Return the ids of the pieces of a single character that `belongs`, unless no text has such a token."""
        return {
            index
            for piece, index in self._ids.items()
            if len(character := self._content(piece)) == 1 and belongs(character) and self._can_occur(piece, character)
        }

    def needed(self, kept: Iterable[int]) -> set[int]:
        """Return the ids with those that the tokenizer needs to split texts into them as before."""
        result = set(kept)
        if self.unknown is not None:
            result.add(self.unknown)
        if self._type == "Unigram":
            # The score of an unknown character depends on the lowest score.
            scores = [score for _, score in self._model["vocab"]]
            result.add(int(np.argmin(scores)))
        if self._model.get("byte_fallback"):
            result |= {index for piece, index in self._ids.items() if _BYTE.fullmatch(piece)}
        if self._type == "BPE":
            result |= {index for piece, index in self._ids.items() if len(piece) == 1 and self._is_byte_level}
            self._add_parts(result)
        return result

    def restrict(self, kept: Sequence[int]) -> Vocabulary:
        """Return the tokenizer with the kept ids, in their order."""
        new = {old: index for index, old in enumerate(kept)}
        pieces = {index: piece for piece, index in self._ids.items()}
        added = {int(item["id"]) for item in self._value["added_tokens"]}
        model = dict(self._model)
        if self._type == "Unigram":
            model["vocab"] = [self._model["vocab"][old] for old in kept if old < len(self._model["vocab"])]
            model["unk_id"] = None if self.unknown is None else new[self.unknown]
        else:
            own = self._model["vocab"]
            model["vocab"] = {pieces[old]: new[old] for old in kept if pieces[old] in own or old not in added}
        if self._type == "BPE":
            model["merges"] = [pair for pair in self._model["merges"] if self._merges(pair, new)]
        tokens = [item | {"id": new[item["id"]]} for item in self._value["added_tokens"] if item["id"] in new]
        if self.unknown is not None and not any(item["id"] == new[self.unknown] for item in tokens):
            tokens.insert(0, special_token(pieces[self.unknown], new[self.unknown]))
        value = self._value | {
            "model": model,
            "added_tokens": tokens,
            "post_processor": _renumber(self._value["post_processor"], new),
            "truncation": None,
            "padding": None,
        }
        return Vocabulary(json.dumps(value), np.array(kept, np.int64))

    def _content(self, piece: str) -> str:
        """Return the characters of a piece without the marks for the beginning, inside and end of a word."""
        if self._is_byte_level:
            text = _decode_bytes(piece)
            return text if len(text) == 1 else text.removeprefix(" ")
        if self._type == "WordPiece":
            return piece.removeprefix(self._model["continuing_subword_prefix"])
        for mark in (self._model.get("continuing_subword_prefix"), _SPACE):
            piece = piece.removeprefix(mark) if mark and piece != mark else piece
        suffix = self._model.get("end_of_word_suffix")
        return piece.removesuffix(suffix) if suffix else piece

    def _can_occur(self, piece: str, character: str) -> bool:
        """Return whether a text can have a piece. It cannot have `##` and a Chinese character, which is a word."""
        if self._type != "WordPiece":
            return True
        word = character if piece == character else f"a{character}"
        splitter = self._loaded.pre_tokenizer
        normalized = self.normalize(word)
        words = [normalized] if splitter is None else [item for item, _ in splitter.pre_tokenize_str(normalized)]
        return word in words

    @property
    def _is_byte_level(self) -> bool:
        return '"ByteLevel"' in json.dumps([self._value["pre_tokenizer"], self._value["decoder"]])

    def _add_parts(self, kept: set[int]) -> None:
        """Add the pieces that kept ones are merged from."""
        parts: dict[str, list[str]] = {}
        for first, second in map(_pair, self._model["merges"]):
            parts.setdefault(self._merged(first, second), []).extend((first, second))
        pieces = {index: piece for piece, index in self._ids.items()}
        pending = [pieces[index] for index in kept]
        while pending:
            for part in parts.get(pending.pop(), ()):
                if self._ids[part] not in kept:
                    kept.add(self._ids[part])
                    pending.append(part)

    def _merges(self, pair: Any, new: Mapping[int, int]) -> bool:
        first, second = _pair(pair)
        return all(self._ids[item] in new for item in (first, second, self._merged(first, second)))

    def _merged(self, first: str, second: str) -> str:
        return first + second.removeprefix(self._model.get("continuing_subword_prefix") or "")


def _check_same_tokens(source: _Source, pruned: Vocabulary, texts: Sequence[str]) -> None:
    """Check that the tokens of the texts are still the same."""
    tokens = TextTokenizer(pruned.tokenizer, _UNLIMITED, special=False)
    for text, before, after in zip(texts, source.ids(texts), tokens.ids(texts), strict=True):
        if not np.array_equal(before, pruned.kept[after]):
            raise DataError(
                f"The tokenizer cannot be restricted, because {text[:40]!r} would have other tokens. Pass an encoder "
                "with another tokenizer."
            )


def _scripts(texts: Iterable[str]) -> frozenset[str]:
    """Return the scripts of the texts, and Latin."""
    characters = Counter[str]()
    for text in texts:
        characters.update(text)
    counts = Counter[str]()
    for character, count in characters.items():
        if (script := _script(character)) is not None:
            counts[script] += count
    least = _SCRIPT_SHARE * counts.total()
    return frozenset({"LATIN"} | {script for script, count in counts.items() if count >= least})


def _script(character: str) -> str | None:
    """Return the script of a letter or of a mark on letters; None for other characters.

    It is the first word of the name: LATIN SMALL LETTER A, DEVANAGARI SIGN VIRAMA, CJK UNIFIED IDEOGRAPH-4E00.
    """
    if unicodedata.category(character)[0] not in "LM":
        return None
    script = unicodedata.name(character, "").partition(" ")[0]
    return None if script in {"COMBINING", "VARIATION", "MODIFIER"} else script


def _split_every_word_alike(pre_tokenizer: Any) -> Any:
    """Return a pre-tokenizer that also marks the first word of a text as the beginning of a word."""
    if pre_tokenizer is None:
        return None
    if pre_tokenizer["type"] == "Sequence":
        return pre_tokenizer | {"pretokenizers": [_split_every_word_alike(i) for i in pre_tokenizer["pretokenizers"]]}
    if pre_tokenizer["type"] == "ByteLevel":
        return pre_tokenizer | {"add_prefix_space": True}
    if pre_tokenizer["type"] == "Metaspace":
        return pre_tokenizer | {"prepend_scheme": "always"}
    return pre_tokenizer


def _renumber(post_processor: Any, new: Mapping[int, int]) -> Any:
    """Return a post-processor with new ids of the special tokens that it adds."""
    if post_processor is None:
        return None
    kind = post_processor["type"]
    if kind == "Sequence":
        return post_processor | {"processors": [_renumber(item, new) for item in post_processor["processors"]]}
    if kind == "TemplateProcessing":
        tokens = post_processor["special_tokens"]
        return post_processor | {
            "special_tokens": {
                name: item | {"ids": [new[index] for index in item["ids"]]} for name, item in tokens.items()
            }
        }
    if kind in {"BertProcessing", "RobertaProcessing"}:
        ends = {name: [post_processor[name][0], new[post_processor[name][1]]] for name in ("sep", "cls")}
        return post_processor | ends
    return post_processor


def _pair(merge: str | Sequence[str]) -> tuple[str, str]:
    """Return the two pieces of a merge, which older files store as one string."""
    first, second = merge.split(" ") if isinstance(merge, str) else merge
    return first, second


def _decode_bytes(piece: str) -> str:
    """Return the text of a byte-level piece; empty if its bytes are no complete characters."""
    try:
        return bytes(_BYTES[character] for character in piece).decode()
    except (KeyError, UnicodeDecodeError):
        return ""


def _byte_alphabet() -> dict[str, int]:
    """Return the byte of each character of byte-level pieces: printable bytes are themselves, others follow 255."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return {chr(byte): byte for byte in printable} | {chr(256 + index): byte for index, byte in enumerate(others)}


_BYTES = _byte_alphabet()
