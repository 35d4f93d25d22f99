from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable
from urllib.request import urlopen

import pytest

from edge_msa_runtime.cli.main import main

for package in ("starlette", "uvicorn", "websockets"):
    pytest.importorskip(package, reason="the extra serve is not installed")


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Return a function that runs the command until it has answered one request: `ask(path, *arguments)`."""
    from edge_msa_runtime.serve.server import Server

    def run(path: str, *arguments: str) -> tuple[Any, str, str]:
        answers: list[Any] = []
        printed: list[str] = []

        def end(_: Server) -> None:
            out, err = capfd.readouterr()
            printed.extend((out, err))
            address = re.search(r"is at (http://\S+)/ ", out + err)
            assert address is not None
            with urlopen(address[1] + path) as response:  # noqa: S310 - the address of our server
                answers.append(json.load(response))
            raise KeyboardInterrupt

        monkeypatch.setattr(Server, "wait", end)
        assert main(["serve", *arguments, "--port", "0"]) == 130
        out, err = capfd.readouterr()
        assert err == "interrupted\n"
        if "--json" in arguments:
            assert json.loads(out)["requests"] == 1
        else:
            assert out == "1 request, 0 refused\n"
        return answers[0], printed[0], printed[1]

    return run


def test_a_bundle_of_frames_is_served(ask: Callable[..., Any], shared_bundle: Path) -> None:
    answer, out, err = ask("/bundle", str(shared_bundle), "--no-media", "--coverage", "0.8")
    assert re.fullmatch(r"fake is at http://127\.0\.0\.1:\d+/  Ctrl-C ends it\.\n", out)
    assert err == ""
    assert answer["needs"] == {"microphone": False, "camera": False, "words": []}
    assert answer["coverage"] == 0.8


def test_a_bundle_with_text_is_served(ask: Callable[..., Any], make_text_bundle: Callable[[str], Path]) -> None:
    answer, out, err = ask("/bundle", str(make_text_bundle("table")), "--no-media", "--json")
    assert answer["needs"]["words"] == ["typed"]
    assert out == ""
    assert "is at" in err


def test_a_server_of_the_network_warns(ask: Callable[..., Any], shared_bundle: Path) -> None:
    _, _, err = ask("/health", str(shared_bundle), "--no-media", "--host", "0.0.0.0")  # noqa: S104 - for a moment
    assert err.startswith("warning: others on the network can use this server at 0.0.0.0.")
    assert "localhost or over HTTPS" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--port", "70000"], "--port must be from 0 to 65535, got 70000."),
        (["--port", "-1"], "--port must be from 0 to 65535, got -1."),
        (["--max-streams", "0"], "--max-streams must be from 1 to 64, got 0."),
        (["--max-upload", "0"], "--max-upload must be from 1 to 10000, got 0."),
        (["--workers", "0"], "--workers must be from 1 to 256, got 0."),
        (["--every", "0"], "--every must be a positive number, got 0."),
        (["--pause", "-1"], "--pause must be a positive number, got -1."),
        (["--no-media", "--asr", "whisper:x"], "--asr and --face-model are for media. Leave out --no-media."),
        (["--host", "no such host"], "--host must be an IP address or a name of this machine, got 'no such host'."),
        (
            ["--host-name", "http://talk.example.org/"],
            (
                "--host-name must be a host name without http:// and port, such as talk.example.org, got "
                "'http://talk.example.org/'."
            ),
        ),
        (
            ["--host-name", "talk.example.org:443"],
            (
                "--host-name must be a host name without http:// and port, such as talk.example.org, got "
                "'talk.example.org:443'."
            ),
        ),
        (["--port", "eighty"], "argument --port: invalid int value: 'eighty'. See edge-msa-run serve --help"),
    ],
)
def test_an_invalid_option_is_refused_in_one_line(
    options: list[str], message: str, shared_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", str(shared_bundle), *options]) == 2
    assert capsys.readouterr().err == f"edge-msa-run: {message}\n"


def test_a_taken_port_is_refused_in_one_line(shared_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from edge_msa_runtime.serve.server import open_socket

    with open_socket("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        assert main(["serve", str(shared_bundle), "--no-media", "--port", str(port)]) == 2
    message = f"Cannot listen on 127.0.0.1: another program uses port {port}. Choose another --port, or 0 for any."
    assert capsys.readouterr().err == f"edge-msa-run: {message}\n"


@pytest.mark.parametrize("package", ["starlette", "uvicorn", "websockets"])
def test_a_missing_package_is_refused_with_its_pip_line(
    package: str, shared_bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["serve", str(shared_bundle), "--no-media", "--port", "0"]) == 4
    error = capsys.readouterr().err
    assert error.startswith(f"edge-msa-run: Cannot import {package}")
    assert error.endswith("Run: pip install 'edge-msa-runtime[serve]'\n")
    assert error.count("\n") == 1


def test_other_features_than_those_of_sound_are_refused(
    make_bundle: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("kaldi_native_fbank", reason="the extra audio is not installed")
    pytest.importorskip("edge_msa_runtime.audio", reason="there is no audio front end yet")
    assert main(["serve", str(make_bundle(names=("audio",))), "--port", "0"]) == 2
    error = capsys.readouterr().err
    assert "44 features instead of 2" in error
    assert error.endswith("Or pass --no-media to take frames and text only.\n")


@pytest.mark.slow
def test_the_process_ends_although_a_thread_still_computes(shared_bundle: Path) -> None:
    """Without an end of its own, a thread that computes in C++ while Python ends would abort the process."""
    script = """
import os, signal, sys, threading, time
from edge_msa_runtime.cli.main import main
from edge_msa_runtime.serve import server
server._END_SECONDS = 0.1
def wait(self):
    self._work.start(lambda: time.sleep(60), "test")
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
server.Server.wait = wait
sys.exit(main(["serve", sys.argv[1], "--no-media", "--port", "0"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(shared_bundle)], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 143, done.stderr
    assert done.stdout.endswith("0 requests, 0 refused\n")
    assert done.stderr == "interrupted\n"
