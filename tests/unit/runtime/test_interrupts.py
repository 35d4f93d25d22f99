from __future__ import annotations

import os
import signal
import subprocess
import sys
import types
from pathlib import Path

import pytest

from edge_msa_runtime import interrupts
from edge_msa_runtime.cli.main import main
from edge_msa_runtime.interrupts import call_on_interrupt, handle_interrupts, raise_if_interrupted

SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]


@pytest.mark.case("F22")
@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_every_signal_raises_keyboard_interrupt(number: int, code: int) -> None:
    handler = signal.getsignal(number)
    with handle_interrupts() as received:
        assert received.exit_code is None
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        assert received.exit_code == code
    assert signal.getsignal(number) == handler


@pytest.mark.case("F22")
def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with handle_interrupts() as received:
            signal.raise_signal(signal.SIGHUP)
        assert received.exit_code is None
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.case("F22")
def test_a_second_signal_does_not_interrupt_the_cleanup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "_REPEAT_SECONDS", 60.0)
    with handle_interrupts() as received:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        monkeypatch.setattr(interrupts, "_REPEAT_SECONDS", 0.0)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert received.exit_code == 143


def test_the_first_signal_can_call_a_function_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "_REPEAT_SECONDS", 60.0)
    calls: list[int] = []
    with handle_interrupts() as received:
        with call_on_interrupt(lambda: calls.append(1)):
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)  # a repetition, as of `timeout`
            assert (calls, received.exit_code) == ([1], 143)
            monkeypatch.setattr(interrupts, "_REPEAT_SECONDS", 0.0)
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert calls == [1]


@pytest.mark.case("F22")
def test_ignored_signals_do_not_delay_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 1.5, 3.0])
    monkeypatch.setattr(interrupts, "time", types.SimpleNamespace(monotonic=lambda: next(times)))
    received = interrupts.Interrupts()
    with pytest.raises(KeyboardInterrupt):
        received.receive(signal.SIGINT, None)
    received.receive(signal.SIGINT, None)
    with pytest.raises(KeyboardInterrupt):
        received.receive(signal.SIGINT, None)


@pytest.mark.case("F22")
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has this layout")
def test_a_signal_survives_a_library_that_freed_the_alternate_stack() -> None:
    code = (
        "import ctypes, mmap, signal\n"
        "from edge_msa_runtime.interrupts import handle_interrupts\n"
        "class Stack(ctypes.Structure):\n"
        "    _fields_ = [('at', ctypes.c_void_p), ('flags', ctypes.c_int), ('size', ctypes.c_size_t)]\n"
        "libc = ctypes.CDLL(None)\n"
        "libc.mmap.restype = ctypes.c_void_p\n"
        "libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]\n"
        "at = libc.mmap(None, 65536, 0, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)\n"  # memory without access
        "assert libc.sigaltstack(ctypes.byref(Stack(at, 0, 65536)), None) == 0\n"
        "with handle_interrupts() as received:\n"
        "    try:\n"
        "        signal.raise_signal(signal.SIGTERM)\n"
        "    except KeyboardInterrupt:\n"
        "        print(received.exit_code)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "143\n"), result.stderr


@pytest.mark.case("D9")
def test_an_interrupt_that_a_library_swallowed_is_raised_again() -> None:
    raise_if_interrupted()
    with handle_interrupts():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            raise_if_interrupted()
    raise_if_interrupted()


@pytest.mark.case("D9")
def test_the_cause_of_a_library_error_is_recognized() -> None:
    error = RuntimeError("export failed")
    error.__cause__ = ValueError("step 1")
    raise_if_interrupted(error)
    error.__cause__.__context__ = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        raise_if_interrupted(error)


@pytest.mark.case("D9")
def test_a_backend_error_after_ctrl_c_is_an_interrupt(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], shared_bundle: Path
) -> None:
    def replace_interrupt(*_: object, **__: object) -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt:
            raise RuntimeError("the backend failed") from None

    monkeypatch.setattr("edge_msa_runtime.loading.open_bundle", replace_interrupt)
    assert main(["verify", str(shared_bundle)]) == 143
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.case("F22")
def test_a_terminated_process_removes_its_temporary_folder(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys, tempfile, time\n"
        "from edge_msa_runtime.cli import info, main\n"
        "def wait(options):\n"
        "    with tempfile.TemporaryDirectory():\n"
        "        print('ready', flush=True)\n"
        "        time.sleep(60)\n"
        "info.run = wait\n"
        "sys.exit(main(['info', 'x']))\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert list(tmp_path.iterdir())
        process.terminate()
        assert process.wait(timeout=300) == 143
    assert not list(tmp_path.iterdir())


def test_an_interrupt_during_the_imports_of_the_command_line_prints_no_traceback() -> None:
    code = (
        "import sys\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'edge_msa_runtime.cli.main':\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupt())\n"
        "import edge_msa_runtime.cli\n"
    )
    result = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, check=False)
    assert (result.returncode, result.stderr) == (130, b"interrupted\n")
