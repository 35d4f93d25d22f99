"""Tokenize text with the tokenizers library, which is imported when the first text arrives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_msa_runtime.errors import BackendUnavailableError, BundleError, UsageError, first_line

if TYPE_CHECKING:
    from pathlib import Path


class Tokenizer:
    """A tokenizer loaded from a file.

    Args:
        path: the file, in the format of the tokenizers library.
        max_tokens: a longer text is cut off at the end.
        special: whether to add the special tokens of the file's post-processor ([CLS] ... [SEP]). They count towards
            `max_tokens` and are kept when a text is cut off.

    Raises:
        BackendUnavailableError: the tokenizers library is not installed.
        BundleError: the file is not a tokenizer.
    """

    def __init__(self, path: Path, max_tokens: int, *, special: bool) -> None:
        self.max_tokens = max_tokens
        self._special = special
        self._vendor = _load(path)
        self._vendor.no_padding()
        self._vendor.no_truncation()
        if special:
            self._vendor.enable_truncation(max_tokens)

    def ids(self, text: str) -> list[int]:
        """Return at most `max_tokens` token ids; none if the text has no tokens.

        Raises:
            UsageError: the text is not valid Unicode.
        """
        return self._cut_ids(self._encode(text))

    def ids_and_end(self, text: str) -> tuple[list[int], int]:
        """Return the ids, and the number of characters that they cover: all of them unless the text is cut off.

        Raises:
            UsageError: the text is not valid Unicode.
        """
        encoding = self._encode(text)
        ids = self._cut_ids(encoding)
        if len(ids) < self.max_tokens:
            return ids, len(text)
        return ids, max((end for _, end in encoding.offsets[: len(ids)]), default=0)

    def _cut_ids(self, encoding: Any) -> list[int]:
        ids: list[int] = encoding.ids
        if self._special and all(encoding.special_tokens_mask):
            return []  # only [CLS] and [SEP]
        return ids[: self.max_tokens]

    def _encode(self, text: str) -> Any:
        try:
            return self._vendor.encode(text, add_special_tokens=self._special)
        except Exception as error:  # the library has no base exception, and raises TypeError for a lone surrogate
            raise UsageError(f"text must be valid Unicode: {_reason(text, error)}.") from error


def _load(path: Path) -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise BackendUnavailableError(
            f"Text input needs the tokenizers package ({error}). Run: pip install 'edge-msa-runtime[text]'"
        ) from error
    try:
        return tokenizers.Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # the library raises bare Exceptions
        raise BundleError(f"{path.name} is not a tokenizer ({first_line(error)}). Export the bundle again.") from error


def _reason(text: str, error: Exception) -> str:
    position = next((index for index, letter in enumerate(text) if 0xD800 <= ord(letter) <= 0xDFFF), None)
    if position is not None:
        return f"character {position} is the lone surrogate {text[position]!r}. Decode the text as UTF-8"
    return first_line(error)
