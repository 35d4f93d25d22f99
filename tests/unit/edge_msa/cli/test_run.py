"""Exit codes and error lines of the command line."""

from __future__ import annotations

import contextlib
import json
import signal
from pathlib import Path
from typing import NoReturn
from unittest.mock import MagicMock

import pytest

from edge_msa.cli import INTERRUPTED, run
from edge_msa.console import is_verbose, print_json, print_note, print_result
from edge_msa.errors import BackendUnavailableError, UsageError
from edge_msa.workflows.bench import Benchmark


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
    def fail() -> NoReturn:
        raise error

    monkeypatch.setattr("edge_msa.workflows.inspect.devices", fail)
    assert run(["devices"]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("edge-msa: ")
    assert message.lower() in line.lower()


def test_a_wrong_option_names_the_help_of_its_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "students", "--thread", "2"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--thread" in line
    assert line.endswith("Did you mean '--threads'? See edge-msa bench students --help")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("trian", "No such command 'trian'. Did you mean 'train'? See edge-msa --help"),
        ("devices shw", "No such command 'shw'. Did you mean 'show'? See edge-msa devices --help"),
        ("train --output-dirr x", "No such option: --output-dirr. Did you mean '--output-dir'?"),
        ("train", "Missing option '--output-dir'. Example: edge-msa train --data synthetic"),
        ("calibrate --output-dir x", "Missing argument 'RUN'. Example: edge-msa calibrate runs/student --output-dir"),
        ("calibrate --model x", "No such option: --model. Example: edge-msa calibrate runs/student --output-dir"),
        ("train --epochs 0 --output-dir x", "--epochs must be at least 1, got '0'."),
        ("train --seed=-1 --output-dir x", "--seed must be at least 0, got '-1'."),
        ("train --epochs x --output-dir x", "--epochs must be an integer, got 'x'."),
        ("export x --target y --max-drop z", "--max-drop must be a number, got 'z'."),
        ("train --model hrfl --output-dir x", "--model must be one of hrlf, almt, got 'hrfl'. Did you mean 'hrlf'?"),
        ("pipeline x.toml", "Unexpected argument 'x.toml'. Did you mean --recipe x.toml? See edge-msa pipeline --help"),
        ("train a.pkl --output-dir x", "Unexpected argument 'a.pkl'. Did you mean --data a.pkl?"),
        ("devices show a b", "Unexpected argument 'b'. Example: edge-msa devices show"),
        ("train --out x", "No such option: --out. Did you mean '--output-dir'?"),
    ],
)
def test_a_usage_error_names_the_nearest_option_or_an_example(
    arguments: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments.split()) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"edge-msa: {message}")
    assert line.endswith("--help")


def test_bench_without_a_sub_command_measures_bundles(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measured: list[tuple[str, ...]] = []

    def bench(bundles: list[object], **_: object) -> Benchmark:
        measured.append(tuple(map(str, bundles)))
        return Benchmark(())

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

    def bench(bundles: list[object], **_: object) -> Benchmark:
        measured.append(tuple(map(str, bundles)))
        return Benchmark(())

    monkeypatch.setattr("edge_msa.workflows.bench.bench", bench)
    monkeypatch.chdir(tmp_path)
    for name in ("bundle", "other"):
        (tmp_path / name).mkdir()
    for arguments in (["bundle"], ["bundle", "bundle"], ["./bundle", "other"], ["bundle", "--threads", "2"]):
        assert run(["bench", *arguments]) == 0
    assert measured == [("bundle",), ("bundle",), ("bundle", "other"), ("bundle",)]
    capsys.readouterr()
    assert run(["bench", "bundle", "other"]) == 2
    assert "bundle is both a sub-command and a folder here" in capsys.readouterr().err


@pytest.mark.case("F29")
@pytest.mark.parametrize(
    ("command", "function", "name", "replaceable"),
    [
        (("report", "x"), "report.report", "page.html", True),
        (("report", "x"), "report.report", "notes.txt", False),
        (("predict", "x", "--data", "y"), "predict.predict", "out.csv", False),
    ],
)
def test_an_existing_file_is_replaced_on_request_only(
    command: tuple[str, ...],
    function: str,
    name: str,
    replaceable: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    started: list[object] = []

    def start(*_: object, **__: object) -> MagicMock:
        started.append(name)
        return MagicMock(summary="12 samples predicted")

    monkeypatch.setattr(f"edge_msa.workflows.{function}", start)
    monkeypatch.chdir(tmp_path)
    arguments = [*command, "--output", name]
    assert run(arguments) == 0
    Path(name).touch()
    assert run(arguments) == (0 if replaceable else 2)
    if not replaceable:
        message = f"edge-msa: {name} exists. Pass --overwrite to replace it, or choose another path.\n"
        assert capsys.readouterr().err == message
    assert run([*arguments, "--overwrite"]) == 0
    assert len(started) == 2 + replaceable


@pytest.mark.case("F20")
def test_the_data_of_a_prediction_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "x.csv"
    data.write_text("text\nlove it\n")
    assert run(["predict", str(tmp_path), "--data", str(data), "--output", str(data), "--overwrite"]) == 2
    assert "x.csv" in capsys.readouterr().err
    assert data.read_text() == "text\nlove it\n"


def test_a_value_that_looks_like_a_flag_remains_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[object, ...]] = []

    def predict(_: object, *, data: object, **__: object) -> MagicMock:
        seen.append((data, is_verbose()))
        return MagicMock()

    monkeypatch.setattr("edge_msa.workflows.predict.predict", predict)
    assert run(["predict", "x", "--data", "-v"]) == 0
    assert run(["predict", "x", "--data", "--overwrite", "-v"]) == 0
    assert seen == [("-v", False), ("--overwrite", True)]


def test_verbose_can_precede_a_sub_command_of_bench(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, bool]] = []

    def measure(name: str) -> MagicMock:
        seen.append((name, is_verbose()))
        return MagicMock()

    for name in ("bench", "bench_students"):
        monkeypatch.setattr(f"edge_msa.workflows.bench.{name}", lambda *_, name=name, **__: measure(name))
    assert run(["bench", "-v", "students"]) == 0
    assert run(["bench", "-v", "a"]) == 0
    assert run(["bench", "-v", "--help"]) == 0
    assert seen == [("bench_students", True), ("bench", True)]


@pytest.mark.case("F38")
@pytest.mark.parametrize("arguments", [["-v", "devices"], ["devices", "--verbose"], ["devices"]])
def test_verbose_can_be_passed_before_and_after_the_command(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def devices() -> dict[str, object]:
        seen.append(is_verbose())
        return {}

    monkeypatch.setattr("edge_msa.workflows.inspect.devices", devices)
    assert run(arguments) == 0
    assert seen == [len(arguments) > 1]


@pytest.mark.parametrize("arguments", [["-q", "devices"], ["devices", "--quiet"], ["devices"], ["devices", "--json"]])
def test_quiet_can_be_passed_before_and_after_the_command(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def devices() -> dict[str, object]:
        print_result("result")
        print_note("note")
        return {}

    monkeypatch.setattr("edge_msa.workflows.inspect.devices", devices)
    assert run(arguments) == 0
    out, err = capsys.readouterr()
    printed = (out.splitlines()[0], err.replace("next: edge-msa devices show laptop-x86\n", ""))
    expected = {"devices": ("result", "note: note\n"), "--json": ("{}", "result\nnote: note\n")}
    assert printed == expected.get(arguments[-1] if arguments[0] != "-q" else "", ("result", ""))


@pytest.mark.parametrize("arguments", [["-q", "devices", "-v"], ["devices", "-v", "-q"]])
def test_quiet_and_verbose_are_a_usage_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    assert capsys.readouterr().err == "edge-msa: --quiet and --verbose exclude each other. Pass one of them.\n"


@pytest.mark.case("D9")
def test_a_library_error_after_a_signal_is_an_interrupt(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> NoReturn:
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        raise RuntimeError("torch failed")

    monkeypatch.setattr("edge_msa.workflows.inspect.devices", fail)
    assert run(["devices"]) == 143
    assert capsys.readouterr().err.splitlines() == [
        "edge-msa: Interrupted. Nothing was written. Run the same command to start again."
    ]


@pytest.mark.usefixtures("printing")
@pytest.mark.case("F18")
def test_json_output_is_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"name": "\u6a21"})
    assert json.loads(capsys.readouterr().out.encode("ascii")) == {"name": "\u6a21"}


def test_a_report_draws_records_or_a_stream(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "stream.jsonl"
    log.write_text('{"record": "stream", "version": 1}\n')
    page = tmp_path / "page.html"
    for arguments in ([], [str(tmp_path), "--stream", str(log)]):
        assert run(["report", *arguments, "--output", str(page)]) == 2
        assert "Pass either FOLDERS with records, or --stream FILE" in capsys.readouterr().err
    assert run(["report", "--stream", str(log), "--output", str(page)]) == 0
    assert "0 predictions" in capsys.readouterr().out
    assert page.is_file()


def test_a_demo_is_quick_or_has_real_lengths(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["demo", "--quick", "--real-lengths", "--output-dir", str(tmp_path / "demo")]) == 2
    assert "--quick and --real-lengths exclude each other" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
