"""The status line on a terminal, and the lines that replace it elsewhere."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import time

import pytest

from edge_msa import status_line
from edge_msa.console import activity, messages, report_progress, show_status

CODE = """
import sys, time
from edge_msa.console import activity, command_messages, print_result, report_progress
from edge_msa.status_line import _status

def wait_until_drawn():
    time.sleep(0.35)  # an activity is shown after 0.3 s
    ticks = _status.ticks
    while _status.streams and _status.ticks == ticks:
        time.sleep(0.01)

with command_messages():
    with activity("Loading mosi.pkl"):
        wait_until_drawn()
        print_result("a result")
        print("a library", file=sys.stderr)
        wait_until_drawn()
    with activity("teacher"):
        report_progress("teacher: epoch", 1, 4, "epoch 1 of 4 " + "x" * 60)
        wait_until_drawn()
print("end")
"""


def run_on_terminal(code: str, **environment: str) -> str:
    """Return what a program writes to a terminal of 80 columns."""
    leader, follower = pty.openpty()
    variables = {**os.environ, "COLUMNS": "80", "TERM": "xterm", "PYTHONIOENCODING": "utf-8", **environment}
    process = subprocess.Popen([sys.executable, "-c", code], stdout=follower, stderr=follower, env=variables)
    os.close(follower)
    written = b""
    while True:
        try:
            chunk = os.read(leader, 4096)
        except OSError:  # how Linux reports the end
            break
        if not chunk:
            break
        written += chunk
    os.close(leader)
    assert process.wait() == 0
    return written.decode()


@pytest.fixture(scope="module")
def written() -> str:
    return run_on_terminal(CODE)


def test_a_terminal_shows_what_happens_and_for_how_long(written: str) -> None:
    drawn = written.split("\r\x1b[2K")
    assert any(re.match(r"\S Loading mosi\.pkl  \d+ s$", line) for line in drawn)
    assert any(re.match(r"\S epoch 1 of 4 x+\.\.\.  ━━━─{9}  \d+ s", line) for line in drawn)
    assert all(len(line.split("\r\n")[-1]) < 80 for line in drawn)


def test_what_is_printed_stays_and_the_status_line_does_not(written: str) -> None:
    screen = [line.split("\r\x1b[2K")[-1] for line in written.split("\r\n")]
    assert screen == ["a result", "a library", "end", ""]


def test_a_dumb_terminal_has_no_status_line() -> None:
    assert run_on_terminal(CODE, TERM="dumb") == "a result\r\na library\r\nend\r\n"


@pytest.mark.parametrize(("variables", "styled"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_no_color_is_respected(variables: dict[str, str], styled: bool) -> None:
    code = "from edge_msa.console import *\nwith command_messages(): print_step('train'); print_note('clipped')"
    written = run_on_terminal(code, **variables)
    assert "== train" in written
    assert "note:" in written
    assert ("\x1b[1m== train\x1b[0m" in written) == styled
    assert ("\x1b[33mnote:\x1b[0m" in written) == styled


def wait_for(text: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Return what was written to stderr once it contains a text."""
    written, end = "", time.monotonic() + 60
    while text not in written:
        assert time.monotonic() < end
        time.sleep(0.02)
        written += capsys.readouterr().err
    return written


def test_elsewhere_a_line_appears_when_nothing_else_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(status_line, "PLAIN_INTERVAL", 0.2)
    with messages(verbose=True), activity("Building int8"):
        err = wait_for("Building int8 (", capsys)
        show_status("Building int8: 3 of 7 graphs")
        err += wait_for("Building int8: 3 of 7 graphs (", capsys)
    # On a slow machine, a line may come before the activity has its name.
    texts = [line.partition(" (")[0] for line in err.splitlines() if not line.startswith("Working")]
    assert texts[0] == "Building int8"
    assert texts[-1] == "Building int8: 3 of 7 graphs"


def test_nothing_appears_without_messages(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(status_line, "PLAIN_INTERVAL", 0.05)
    with messages(), activity("Building int8"):
        report_progress("graphs", 1, 2, "one")
        time.sleep(0.2)
    assert capsys.readouterr() == ("", "")
