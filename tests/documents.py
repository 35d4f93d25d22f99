"""The pages of the documentation and their code blocks."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.locations import REPOSITORY

_FENCE = re.compile(
    r"(?:^ *<!-- (?P<marker>(?:not run|test): [^\n]*?) -->\n)?"
    r"^(?P<indent> *)```(?P<language>[a-z]*)(?P<options>[^\n`]*)\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
_CONTINUED = re.compile(r"\\\n\s*")
_SEPARATORS = {"&&", "||", "|", ";", "&"}


class Block(NamedTuple):
    """A code block."""

    page: str
    """Path of the page in the repository."""
    line: int
    """Line of its fence, from 1."""
    language: str
    """Language after the fence, empty if there is none."""
    title: str
    """File name that the page gives it, or an empty string."""
    marker: str
    """`not run: REASON` or `test: NAME` of a comment in the line above, or an empty string."""
    text: str
    """Its content."""

    @property
    def place(self) -> str:
        """Page and line, for messages and names of tests."""
        return f"{self.page}:{self.line}"


def list_pages() -> list[Path]:
    """Return all pages: README and others in the repository's root, `docs/` and `examples/`."""
    return sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md"), *REPOSITORY.glob("examples/**/*.md")])


def read_blocks(page: Path) -> list[Block]:
    """Return the code blocks of a page."""
    text = page.read_text(encoding="utf-8")
    blocks = []
    for match in _FENCE.finditer(text):
        title = re.search(r'title="([^"]*)"', match["options"])
        indent = match["indent"]
        content = "\n".join(line[len(indent) :] for line in match["text"].split("\n"))
        line = text.count("\n", 0, match.start("indent")) + 1
        blocks.append(
            Block(
                page.relative_to(REPOSITORY).as_posix(),
                line,
                match["language"],
                title[1] if title else "",
                match["marker"] or "",
                content,
            )
        )
    return blocks


def all_blocks() -> list[Block]:
    """Return the code blocks of all pages."""
    return [block for page in list_pages() for block in read_blocks(page)]


def list_commands(block: Block) -> Iterator[list[str]]:
    """Yield the words of each command in a block of shell commands, without comments and prompts."""
    for line in _CONTINUED.sub(" ", block.text).splitlines():
        words: list[str] = []
        for word in [*shlex.split(line.removeprefix("$ "), comments=True), ";"]:
            if word not in _SEPARATORS:
                words.append(word)
            elif words:
                yield words[: words.index(">")] if ">" in words else words
                words = []
