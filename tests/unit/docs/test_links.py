"""Links between the files of the repository. `make docs` checks those within the site once more, with anchors."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from tests.documents import list_pages
from tests.locations import REPOSITORY

LINK = re.compile(r"(?<!\\)\[[^\]\n]*(?:\n[^\]\n]*)?\]\(([^)\s]+)\)")
CODE = re.compile(r"^( *)```.*?^\1```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
OTHER_PROJECTS = ("docs/operators.md", "docs/Changelog.md", "docs/OperatorKernels.md")
"""Pages of onnx-tensorrt and ONNX Runtime that comments cite."""
OUTSIDE = ("https://", "http://", "mailto:")


@cache
def without_code(page: Path) -> str:
    return CODE.sub("", page.read_text(encoding="utf-8"))


@cache
def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and MkDocs make them."""
    text = re.sub(r"^( *)```.*?^\1```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).lower() for title in titles]
    return {re.sub(r"[^\w\- ]", "", title).strip().replace(" ", "-") for title in plain}


def is_dead(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.exists():
        return True
    has_markers = target.suffix == ".md" and "<!-- generated: " in target.read_text(encoding="utf-8")
    return bool(anchor) and not has_markers and anchor not in anchors(target)


def test_no_link_to_a_file_or_heading_is_dead() -> None:
    links = [(page, link) for page in list_pages() for link in LINK.findall(without_code(page))]
    inside = [(page, link) for page, link in links if not link.startswith(OUTSIDE)]
    assert len(inside) > 60
    assert [f"{page.relative_to(REPOSITORY)}: {link}" for page, link in inside if is_dead(page, link)] == []


def test_pages_of_the_site_link_only_within_the_site() -> None:
    docs = REPOSITORY / "docs"
    pages = [page for page in list_pages() if docs in page.parents]
    links = [(page, link.partition("#")[0]) for page in pages for link in LINK.findall(without_code(page))]
    outside = [
        f"{page.relative_to(REPOSITORY)}: {link}"
        for page, link in links
        if link and not link.startswith(OUTSIDE) and docs not in (page.parent / link).resolve().parents
    ]
    assert outside == []


def test_files_that_code_and_pages_name_exist() -> None:
    """A path such as `docs/reference/terms.md` in a docstring or sentence must be a file of the repository."""
    sources = [
        path
        for folder in ("edge_msa", "export", "calibrate", "runtime", "docs", "examples", "tests/lint")
        for path in (REPOSITORY / folder).rglob("*")
        if path.suffix in {".py", ".md", ".j2"}
    ]
    name = re.compile(
        r"(?<![\w/-])((?:docs|examples|devices|tests|edge_msa|export|calibrate|runtime)/[\w./-]+\.(?:md|py|toml))"
    )
    missing = [
        f"{path.relative_to(REPOSITORY)}: {found}"
        for path in [*sources, *REPOSITORY.glob("*.md")]
        if path.name != "CHANGELOG.md"  # names files of earlier versions too
        for found in name.findall(path.read_text(encoding="utf-8"))
        if not (REPOSITORY / found).exists() and not found.endswith(OTHER_PROJECTS)
    ]
    assert missing == []
