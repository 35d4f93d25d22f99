"""Find retired terms in the repository: `python tests/lint/retired_terms.py`.

The table "Renamed terms" in CHANGELOG.md is the only place that spells them. Its first column lists terms, its last
column phrases in which a term is still allowed (`np.floor`, "Pareto front"). A term matches as a word and as a part of
an identifier: `old name` matches `old_name`, `OldName` and `OLD_NAMES`.
"""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
CHANGELOG = "CHANGELOG.md"
_SKIPPED = {CHANGELOG, "LICENSE", "runtime/LICENSE", "pretrained/LICENSE", "constraints.txt"}
_SUFFIXES = {".py", ".md", ".toml", ".j2", ".css", ".sh", ".ipynb", ".yml", ".yaml", ""}
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SEPARATORS = re.compile(r"[_\-\s]+")


@dataclass(frozen=True)
class Term:
    """A row of the table: what is retired, what replaces it, and the phrases that may still contain it."""

    retired: str
    replacement: str
    allowed: tuple[str, ...]

    @property
    def pattern(self) -> re.Pattern[str]:
        """Match the term and its plural in text that `words` has split."""
        return re.compile(rf"\b{re.escape(self.retired)}s?\b")


def read_terms(changelog: str) -> list[Term]:
    """Return the rows of the table "Renamed terms".

    Raises:
        ValueError: the table is missing.
    """
    section = changelog.partition("### Renamed terms")[2].partition("\n#")[0]
    terms = []
    for row in re.findall(r"^\|(.+)\|$", section, flags=re.MULTILINE)[2:]:
        retired, replacement, allowed = (cell.strip() for cell in row.split("|"))
        phrases = tuple(re.findall(r"`([^`]+)`", allowed))
        terms += [Term(term, replacement, phrases) for term in re.findall(r"`([^`]+)`", retired)]
    if not terms:
        raise ValueError(f'{CHANGELOG} must have a table "Renamed terms" with three columns.')
    return terms


def words(line: str) -> str:
    """Split identifiers into lower-case words: `OldName.old_names` becomes `old name.old names`."""
    return _SEPARATORS.sub(" ", _CAMEL.sub(" ", line)).lower()


@functools.cache
def _any_term(terms: tuple[Term, ...]) -> re.Pattern[str]:
    """Match text that contains any of the terms, so that most lines need a single search."""
    return re.compile(rf"\b(?:{'|'.join(re.escape(term.retired) for term in terms)})s?\b")


def find_terms(line: str, terms: list[Term]) -> Iterator[Term]:
    """Yield each term that the line contains outside of its allowed phrases."""
    if not _any_term(tuple(terms)).search(words(line)):
        return
    for term in terms:
        rest = line
        for phrase in term.allowed:
            rest = re.sub(re.escape(phrase), " ", rest, flags=re.IGNORECASE)
        if term.pattern.search(words(rest)):
            yield term


def tracked_files() -> Iterator[Path]:
    """Yield the text files under version control, relative to the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],  # noqa: S607 - git of the developer
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        path = Path(name)
        if name not in _SKIPPED and path.suffix in _SUFFIXES and (REPOSITORY / path).is_file():
            yield path


def main() -> int:
    """Print each hit as `file:line: term -> replacement`; return 1 if there is one."""
    terms = read_terms((REPOSITORY / CHANGELOG).read_text(encoding="utf-8"))
    chosen = sys.argv[1:]
    hits = 0
    for path in tracked_files():
        if chosen and not str(path).startswith(tuple(chosen)):
            continue
        lines = [str(path), *(REPOSITORY / path).read_text(encoding="utf-8").splitlines()]
        for number, line in enumerate(lines):
            for term in find_terms(line, terms):
                hits += 1
                print(f"{path}:{number}: {term.retired!r} is retired, write {term.replacement!r}: {line.strip()[:100]}")
    print(f"{hits} retired terms" if hits else "No retired terms.")
    return 1 if hits else 0


if __name__ == "__main__":
    sys.exit(main())
