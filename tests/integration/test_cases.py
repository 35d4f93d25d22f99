"""Every reported defect has a test: the marker `case` names it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.locations import REPOSITORY

EXPECTED = {
    *(f"F{number}" for number in range(1, 40) if number not in {14, 17, 19, 21}),
    *(f"D{number}" for number in range(1, 6)),
    *(f"E{number}" for number in range(1, 10)),
}


def marked_cases(tree: ast.AST) -> Iterator[str]:
    """Yield the names that calls such as `pytest.mark.case("F3")` name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.case":
            for argument in node.args:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield argument.value


def cases_of(folder: Path) -> set[str]:
    """Return the cases that the tests in a folder cover."""
    return {
        case for path in folder.rglob("test_*.py") for case in marked_cases(ast.parse(path.read_text(encoding="utf-8")))
    }


def test_every_reported_defect_has_a_test() -> None:
    assert sorted(EXPECTED - cases_of(REPOSITORY / "tests")) == []


def test_markers_in_comments_and_strings_do_not_count() -> None:
    source = '# pytest.mark.case("F1")\nx = "pytest.mark.case(\'F2\')"\n@pytest.mark.case("F3")\ndef test(): ...\n'
    assert list(marked_cases(ast.parse(source))) == ["F3"]
