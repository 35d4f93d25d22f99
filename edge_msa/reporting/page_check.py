"""Check the text and the pictures of a page against the JSON in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from html.parser import HTMLParser
from itertools import zip_longest

from edge_msa.reporting.figures import SCRIPT_ID, Figures
from edge_msa.reporting.page import render_figures

_TEXT_ATTRIBUTES = frozenset({"value", "aria-label", "title", "alt", "data-tip", "data-figure"})
_LOOKS = frozenset({"x", "y", "x1", "y1", "x2", "y2", "cx", "cy", "r", "dx", "dy", "width", "height"})
_LOOKS |= frozenset({"d", "class", "style", "href"})
"""Attributes that place and color marks, bars and cells, and that say which row a mark belongs to."""


@dataclass(frozen=True)
class Difference:
    """A part of a page that does not follow from its JSON."""

    place: str
    """Where the page shows it, for people."""
    shown: str
    """What the page shows; empty if it lacks the part."""
    expected: str
    """What it must show; empty if the JSON gives no such part."""


@dataclass(frozen=True)
class _Item:
    """A text, or what determines the look of an element."""

    kind: str
    """`text`, or the name of the attribute."""
    tag: str
    text: str
    section: str
    """Id of the last element before it that has one."""

    @property
    def key(self) -> tuple[str, str, str]:
        """What is compared."""
        return self.kind, self.tag, self.text

    @property
    def place(self) -> str:
        """Where it is, for people."""
        where = f" below #{self.section}" if self.section else ""
        return f"{self.kind} of <{self.tag}>{where}"


class _Items(HTMLParser):
    """Collect the texts and the looks of a page, in their order.

    Looks in plots of Matplotlib depend on its version and on fonts, so only their texts count.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.items: list[_Item] = []
        self._tags: list[str] = []
        self._section = ""
        self._is_figures = False
        self._plot_depth = 0
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values: Mapping[str, str] = {name: value or "" for name, value in attrs}
        self._is_figures = tag == "script" and values.get("id") == SCRIPT_ID
        self._section = values.get("id", self._section) if not self._plot_depth else self._section
        if self._plot_depth or "matplotlib" in values.get("class", "").split():
            self._plot_depth += 1
        for name in sorted(values.keys() & (_TEXT_ATTRIBUTES | (frozenset() if self._plot_depth else _LOOKS))):
            self._add(name, tag, values[name])
        self._tags.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._tags:
            closed = self._tags.pop()
            self._plot_depth -= self._plot_depth > 0
            if closed == tag:
                return

    def handle_data(self, data: str) -> None:
        if not self._is_figures:
            self._add("text", self._tags[-1] if self._tags else "", data)

    def _add(self, kind: str, tag: str, value: str) -> None:
        text = " ".join(value.split())
        if text:
            self.items.append(_Item(kind, tag, text, self._section))


def page_differences(html: str, figures: Figures) -> Iterator[Difference]:
    """Yield each part of a page that does not follow from its JSON: texts, labels, hover texts, and places of marks.

    Args:
        html: The page, written by this version.
        figures: The figures in it.
    """
    shown, expected = _Items(html).items, _Items(render_figures(figures)).items
    # Most pages differ in few places or none, so the comparison that takes quadratic time gets only the middle.
    start = _count_common(shown, expected)
    shown, expected = shown[start:], expected[start:]
    end = _count_common(shown[::-1], expected[::-1])
    shown, expected = shown[: len(shown) - end], expected[: len(expected) - end]
    matcher = SequenceMatcher(None, [item.key for item in shown], [item.key for item in expected])
    for operation, low, high, first, last in matcher.get_opcodes():
        if operation == "equal":
            continue
        for item, other in zip_longest(shown[low:high], expected[first:last]):
            found = other if item is None else item
            yield Difference(found.place, "" if item is None else item.text, "" if other is None else other.text)


def _count_common(first: Sequence[_Item], second: Sequence[_Item]) -> int:
    """Return how many leading items are equal."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((index for index, (item, other) in pairs if item.key != other.key), min(len(first), len(second)))
