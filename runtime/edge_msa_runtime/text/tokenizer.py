"""Text to token ids, by the tokenizers library, which is imported when the first words come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_msa_runtime.errors import BackendUnavailableError, BundleError, UsageError

if TYPE_CHECKING:
    from pathlib import Path


class Tokenizer:
    """A tokenizer file, ready.

    With `special`, text has the tokens around it that the file's own post-processor adds ([CLS] ... [SEP]), and a cut
    keeps them. Texts longer than `max_tokens` lose their end.
    """

    def __init__(self, path: Path, max_tokens: int, *, special: bool) -> None:
        """Read the file.

        Raises:
            BackendUnavailableError: the tokenizers library is not installed; the message has the command.
            BundleError: the file is no tokenizer.
        """
        self.max_tokens = max_tokens
        self._special = special
        self._vendor = _read(path)
        self._vendor.no_padding()
        self._vendor.no_truncation()
        if special:
            self._vendor.enable_truncation(max_tokens)

    def ids(self, text: str) -> list[int]:
        """The ids of a text, at most `max_tokens`; none where nothing of it is a token.

        Raises:
            UsageError: it is no Unicode text.
        """
        return self._kept(self._encode(text))

    def ids_and_reach(self, text: str) -> tuple[list[int], int]:
        """The ids, and how many characters of the text they reach to: all of them where nothing was cut off.

        Raises:
            UsageError: it is no Unicode text.
        """
        encoding = self._encode(text)
        ids = self._kept(encoding)
        cut = len(ids) >= self.max_tokens
        return ids, max((end for _, end in encoding.offsets[: len(ids)]), default=0) if cut else len(text)

    def _kept(self, encoding: Any) -> list[int]:
        ids: list[int] = encoding.ids
        if self._special and all(encoding.special_tokens_mask):
            return []  # [CLS] and [SEP] around nothing
        return ids[: self.max_tokens]

    def _encode(self, text: str) -> Any:
        try:
            return self._vendor.encode(text, add_special_tokens=self._special)
        except Exception as error:  # the library tells a lone surrogate as a TypeError, and has no root of its own
            raise UsageError(f"language cannot be read as words: {_why(text, error)}") from error


def _read(path: Path) -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise BackendUnavailableError(
            f"prediction words needs the tokenizers package ({error}); run: pip install 'edge-msa-runtime[text]'"
        ) from error
    try:
        return tokenizers.Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # the library raises bare Exceptions
        raise BundleError(f"{path.name} is no tokenizer ({_first(error)}); export the bundle again") from error


def _why(text: str, error: Exception) -> str:
    position = next((index for index, letter in enumerate(text) if 0xD800 <= ord(letter) <= 0xDFFF), None)
    if position is not None:
        return f"character {position} is {text[position]!r}, half of a pair; decode the text as UTF-8"
    return _first(error)


def _first(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
