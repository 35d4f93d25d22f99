"""Errors, exit codes and help of all commands."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest

from edge_msa_runtime.cli.main import create_parser, main, parse

COMMANDS = ("info", "verify", "predict", "stream", "bench", "build", "doctor")
BENCH = ["bench", "--repeats", "2", "--warmup", "0", "--processes", "2"]


def help_text(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as caught:
        main([*command.split(), "--help"])
    assert caught.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_is_complete_within_80_columns(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = help_text(command, capsys)
    assert max(map(len, text.splitlines())) <= 80
    assert "..." not in text
    assert not re.findall(r"<\w|\b(?:TEXT|INT|FLOAT|None|PATH)\b|==|%\(", text)
    assert f"Usage: edge-msa-run {command}".strip() in text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_a_help_text_with_its_default(command: str) -> None:
    parser = parse([command, "BUNDLE"]).parser
    assert {row.names.split()[0] for rows in parser.rows.values() for row in rows} >= {"--json", "-h,"}
    for action in parser._actions:
        if action.nargs != 0:
            assert re.search(r"(Default: .+|Required)\.$", action.help), action


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_example_is_a_valid_command_line(command: str) -> None:
    parser = create_parser()
    example = parser.example if not command else parse([command, "BUNDLE"]).parser.example
    words = shlex.split(example)
    assert words[0] == "edge-msa-run"
    assert parse(words[1:]).command == (command or "predict")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("prdict", "Unknown command 'prdict'. Did you mean 'predict'? See edge-msa-run --help"),
        ("predict x --txt y", "No such option: --txt. Did you mean '--text'? See edge-msa-run predict --help"),
        ("info x --zzzz=1", "No such option: --zzzz. Example: edge-msa-run info bundle-laptop."),
        ("info a b", "Unexpected argument 'b'. Example: edge-msa-run info bundle-laptop."),
        ("verify", "required: BUNDLE. Example: edge-msa-run verify bundle-laptop --all. See edge-msa-run verify"),
    ],
)
def test_a_usage_error_names_the_nearest_option_or_an_example(
    arguments: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments.split()) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["verify", "nowhere"], 2, "nowhere"),
        (["verify", "BUNDLE", "--backend", "onnx"], 2, "Unknown backend 'onnx'. Did you mean 'onnxruntime'?"),
        (["verify", "BUNDLE", "--precision", "int4"], 2, "int4"),
        (["verify", "BUNDLE", "--thread", "x"], 2, "invalid int value"),
        (["frobnicate"], 2, "Unknown command 'frobnicate'."),
        ([], 2, "COMMAND"),
        (["predict", "BUNDLE"], 2, "No input"),
        (["predict", "nowhere"], 2, "No folder at 'nowhere'"),
        (["predict", "BUNDLE", "--data", "STACKED"], 2, "audio of"),
        (["predict", "BUNDLE", "absent.npz"], 2, "absent.npz"),
        (["info", "FOLDER"], 2, "manifest.json"),
        (["predict", "BUNDLE", "TEXT"], 2, "must be a .npy or .npz file"),
        (["predict", "BUNDLE", "PNG"], 2, "must be a .npy or .npz file"),
        (["predict", "BUNDLE", "--audio", "EMPTY"], 2, "must be a .npy or .npz file"),
        (["predict", "BUNDLE", "--audio", "PICKLE"], 2, "objects"),
        (["predict", "BUNDLE", "--language", "HUGE"], 2, "1e+38"),
        (["predict", "BUNDLE", "STRANGE"], 2, "'sound'"),
        (["predict", "BUNDLE", "TRUNCATED"], 2, "truncated.npy"),
        (["predict", "BUNDLE", "ONE"], 2, "one.npy"),
        (["predict", "BUNDLE", "--audio", "STRANGE"], 2, "strange.npy"),
        (["predict", "BUNDLE", "--audio", "ONE"], 2, "(3, 4)"),
        (["bench", "BUNDLE", "--repeats", "0"], 2, "repeats must be at least 1, got 0"),
    ],
)
def test_an_error_is_one_line_with_an_exit_code(
    shared_bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    names = ("TEXT", "PNG", "EMPTY", "PICKLE", "HUGE", "STRANGE", "TRUNCATED", "ONE")
    files = {name: tmp_path / f"{name.lower()}.npy" for name in names}
    for name, content in (("TEXT", b"hello"), ("PNG", b"\x89PNG\r\n\x1a\n"), ("EMPTY", b"")):
        files[name].write_bytes(content)
    for name, value in (("PICKLE", np.array([None])), ("HUGE", np.full((2, 4), 1e38)), ("ONE", np.zeros((3, 4)))):
        with files[name].open("wb") as file:
            np.save(file, value)
    for name in ("STRANGE", "TRUNCATED"):
        with files[name].open("wb") as file:
            np.savez(file, sound=np.zeros(3))
    files["TRUNCATED"].write_bytes(files["TRUNCATED"].read_bytes()[:-30])
    np.savez(tmp_path / "stacked.npz", audio=np.zeros((5, 3, 4)))
    paths = {
        "STACKED": str(tmp_path / "stacked.npz"),
        "BUNDLE": str(shared_bundle),
        "FOLDER": str(tmp_path),
        **{name: str(path) for name, path in files.items()},
    }
    assert main([paths.get(argument, argument) for argument in arguments]) == code
    captured = capsys.readouterr()
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1


def test_an_expected_error_shows_its_traceback_on_request(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_MSA_TRACEBACK", "1")
    assert main(["info", "nowhere"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("Traceback")
    assert "UsageError: No folder at 'nowhere'" in error


@pytest.mark.parametrize("command", ["info", "verify", "bench"])
def test_a_changed_byte_exits_with_1(bundle_path: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    with (bundle_path / "graphs/fuse.onnx").open("ab") as file:
        file.write(b"x")
    assert main([command, str(bundle_path)]) == 1
    assert "graphs/fuse.onnx has changed" in capsys.readouterr().err


def test_ctrl_c_exits_with_130(
    shared_bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("edge_msa_runtime.loading.open_bundle", interrupt)
    assert main(["verify", str(shared_bundle)]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_the_package_runs_as_a_module(shared_bundle: Path) -> None:
    command = [sys.executable, "-m", "edge_msa_runtime", "info", str(shared_bundle)]
    assert "fake for laptop-x86" in subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_skipped_backend_is_reported(
    make_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    path = str(make_bundle(backends=("tensorrt", "onnxruntime"), names=("language",)))
    assert main(["verify", path]) == 0
    assert capsys.readouterr().err.count("using onnxruntime instead of tensorrt: Cannot import tensorrt") == 1
    assert main(["bench", path, "--repeats", "2", "--warmup", "0", "--processes", "1"]) == 0
    assert capsys.readouterr().err.startswith("note: using onnxruntime instead of tensorrt: Cannot import tensorrt")
    assert main(["verify", path, "--strict"]) == 4
    assert "pip install 'tensorrt>=" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["verify"], ["verify", "--all"], BENCH])
def test_a_note_is_printed_once(
    make_bundle: Callable[..., Path], stand_in: Any, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    stand_in.configure(no_capture=True)
    path = str(make_bundle(backends=("tensorrt",), names=("language",), windows=False))
    assert main([command[0], path, *command[1:], "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err.count("note: TensorRT runs without a CUDA graph") == 1
    result = json.loads(captured.out.splitlines()[-1])
    (note,) = (result[0] if isinstance(result, list) else result)["notes"]
    assert "cudaStreamEndCapture failed with 900" in note
