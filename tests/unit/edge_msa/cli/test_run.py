"""Exit codes and error lines of the command line."""

from __future__ import annotations

from typing import NoReturn

import pytest

from edge_msa.cli import INTERRUPTED, run
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
