"""Exit codes and error lines of the command line."""

from __future__ import annotations

import contextlib
import json
import signal
from pathlib import Path
from typing import NoReturn

import pytest

from edge_msa.cli import INTERRUPTED, run
from edge_msa.console import is_verbose, print_json
from edge_msa.errors import BackendUnavailableError, UsageError


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UsageError("--x must be 1, got 2."), 2, "--x must be 1, got 2."),
        (BackendUnavailableError("No GPU."), 4, "No GPU."),
        (PermissionError(13, "Permission denied", "/place"), 1, "/place"),
        (OSError(28, "No space left on device"), 1, "No space left"),
        (KeyboardInterrupt(), INTERRUPTED, "interrupted"),
    ],
)
def test_expected_errors_are_one_line(
    error: BaseException,
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*, json: bool) -> NoReturn:
        del json
        raise error

    monkeypatch.setattr("edge_msa.workflows.inspect.list_devices", fail)
    assert run(["devices"]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("edge-msa: ")
    assert message.lower() in line.lower()


def test_a_wrong_option_names_the_help_of_its_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "students", "--thread", "2"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--thread" in line
    assert line.endswith("edge-msa bench students --help")


def test_bench_without_a_sub_command_measures_bundles(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measured: list[tuple[str, ...]] = []

    def bench(bundles: list[object], **_: object) -> None:
        measured.append(tuple(map(str, bundles)))

    monkeypatch.setattr("edge_msa.workflows.bench.bench", bench)
    for arguments in (["a", "b"], ["bundle", "a", "b"], ["--threads", "2", "a", "b"], ["./almt"]):
        assert run(["bench", *arguments]) == 0
    assert measured == [("a", "b"), ("a", "b"), ("a", "b"), ("almt",)]
    assert run(["bench"]) == 2
    assert "edge-msa bench bundle --help" in capsys.readouterr().err


def test_a_bundle_named_bundle_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measured: list[tuple[str, ...]] = []
    monkeypatch.setattr(
        "edge_msa.workflows.bench.bench", lambda bundles, **_: measured.append(tuple(map(str, bundles)))
    )
    monkeypatch.chdir(tmp_path)
    for name in ("bundle", "other"):
        (tmp_path / name).mkdir()
    for arguments in (["bundle"], ["bundle", "bundle"], ["bundle", "other"], ["bundle", "--threads", "2"]):
        assert run(["bench", *arguments]) == 0
    assert measured == [("bundle",), ("bundle",), ("other",), ("bundle",)]
    capsys.readouterr()


@pytest.mark.case("F29")
@pytest.mark.parametrize("suffix", ["html", "csv"])
def test_a_file_of_another_command_is_replaced_on_request_only(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / f"page.{suffix}"

    def write(paths: list[Path], output: Path) -> None:
        output.write_text(str(paths))

    monkeypatch.setattr("edge_msa.workflows.report.write_report", write)
    assert run(["report", "a", "--output", str(page)]) == 0
    assert run(["report", "b", "--output", str(page)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "page" in line
    assert "edge-msa report paths=b`. Pass --overwrite" in line
    assert ("was written by `edge-msa report paths=a`" in line) == (suffix == "html")
    assert "'a'" in page.read_text()
    assert run(["report", "b", "--output", str(page), "--overwrite"]) == 0
    assert "'b'" in page.read_text()
    assert run(["report", "b", "--output", str(page)]) == (0 if suffix == "html" else 2)


@pytest.mark.case("F38")
@pytest.mark.parametrize("arguments", [["-v", "devices"], ["devices", "--verbose"], ["devices"]])
def test_verbose_can_be_passed_before_and_after_the_command(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr("edge_msa.workflows.inspect.list_devices", lambda **_: seen.append(is_verbose()))
    assert run(arguments) == 0
    assert seen == [len(arguments) > 1]


@pytest.mark.case("D9")
def test_a_library_error_after_a_signal_is_an_interrupt(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_: object) -> NoReturn:
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        raise RuntimeError("torch failed")

    monkeypatch.setattr("edge_msa.workflows.inspect.list_devices", fail)
    assert run(["devices"]) == 143
    assert capsys.readouterr().err.splitlines() == [
        "edge-msa: Interrupted. Nothing was written. Run the same command to start again."
    ]


@pytest.mark.case("F18")
def test_json_output_is_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"name": "\u6a21"})
    assert json.loads(capsys.readouterr().out.encode("ascii")) == {"name": "\u6a21"}
