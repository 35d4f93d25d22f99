"""On a terminal of 80 columns, no table is wrapped, and `edge-msa demo` and dry runs say what they do."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.conftest import CommandResult, PipelineRun

    Command = Callable[..., CommandResult]

WIDTH = 80


def table_lines(text: str) -> list[str]:
    """Return the lines of all tables: the lines above a rule, as far as they are not empty, the rule and its rows."""
    lines = text.splitlines()
    found = []
    for index, line in enumerate(lines):
        if set(line) == {"-", " "} or (line and set(line) == {"-"}):
            end = next((at for at in range(index, len(lines)) if not lines[at].strip()), len(lines))
            # Notes follow some tables without an empty line. They are sentences, which a terminal may wrap.
            found += [
                row
                for row in lines[max(index - 1, 0) : end]
                if not row.endswith(".") and ": /" not in row and not row.startswith("next: ")
            ]
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        "evaluate {out}/bundle-laptop --data {data}",
        "evaluate {out}/teacher --data {data}",
        "evaluate {out}/bundle-laptop --data {data} --against int8",
        "bench {out}/bundle-laptop {out}/bundle-jetson --repeats 3 --processes 1 --backend onnxruntime",
        "bench runtime {out}/bundle-laptop --repeats 3",
        "data inspect {data}",
        "devices",
        "config list",
        "inspect {out}/bundle-jetson --target jetson-xavier-nx --dla",
        "report {out} --output {tmp}/report.html",
        "explain {out}/student --data {data} --output {tmp}/explain.html",
        "pipeline --recipe {recipe} --data {data} --output-dir {out} --dry-run",
    ],
)
def test_tables_fit_a_terminal(
    command: str, pipeline_run: PipelineRun, edge_msa: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_msa.text_tables.table_width", lambda: WIDTH)
    values = {"out": pipeline_run.folder, "data": pipeline_run.data, "recipe": pipeline_run.recipe, "tmp": tmp_path}
    result = edge_msa(*(word.format(**values) for word in command.split()))
    assert result.code == 0, result.err
    lines = table_lines(result.out)
    assert lines
    assert [line for line in lines if len(line) > WIDTH] == []


def test_a_dry_run_finds_what_is_up_to_date_and_writes_nothing(
    pipeline_run: PipelineRun, edge_msa: Command, tmp_path: Path
) -> None:
    def digests() -> dict[Path, str]:
        files = [path for path in pipeline_run.folder.rglob("*") if path.is_file()]
        return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    before = digests()
    result = edge_msa(*pipeline_run.command, "--dry-run")
    assert result.code == 0, result.err
    assert result.out.count("up to date        -") == 6
    assert "Dry run: nothing was written." in result.out
    new = edge_msa(*pipeline_run.command[:-1], tmp_path / "new", "--dry-run")
    assert new.code == 0, new.err
    assert new.out.count("will run") == 7
    assert "up to date" not in new.out
    assert digests() == before
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_quick_demo_makes_a_report_that_says_what_it_is(edge_msa: Command, tmp_path: Path) -> None:
    result = edge_msa("demo", "--quick", "--output-dir", tmp_path / "demo")
    assert result.code == 0, result.err
    assert "Quick demo: small data and few epochs" in result.out
    lines = result.out.splitlines()
    assert lines[-3] == f"next: edge-msa evaluate {tmp_path / 'demo' / 'bundle-laptop'}"
    page = (tmp_path / "demo" / "report.html").read_text(encoding="utf-8")
    assert "Quick demo of edge-msa: small synthetic data, few epochs." in page
    readme = (tmp_path / "demo" / "bundle-laptop" / "README.md").read_text(encoding="utf-8")
    assert "This is a demo model, trained on synthetic data" in readme
