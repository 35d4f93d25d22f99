"""Shell completion, as bash asks for it: with environment variables."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_msa.cli import run


@pytest.mark.parametrize(
    ("line", "completions"),
    [
        ("edge-msa ex", {"export", "explain"}),
        ("edge-msa bench s", {"selfcheck", "streams", "students"}),
        ("edge-msa devices ", {"list", "show"}),
        ("edge-msa export --target raspberry", {"raspberry-pi", "raspberry-pi-5"}),
        ("edge-msa devices show laptop-x86-a", {"laptop-x86-avx2"}),
        ("edge-msa train --model ", {"hrlf", "almt"}),
        ("edge-msa train --output", {"--output-dir"}),
        ("edge-msa config show hrlf --preset paper-i", {"paper-iemocap"}),
        ("edge-msa config show almt --preset paper-i", set()),
        ("edge-msa train --data mo", set()),  # bash then completes files
    ],
)
def test_bash_completes(
    line: str, completions: set[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_EDGE_MSA_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(line.count(" ")))
    with pytest.raises(SystemExit) as caught:
        run([])
    assert caught.value.code == 0
    assert set(capsys.readouterr().out.split()) == completions


def test_own_devices_are_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["devices", "show", "laptop-x86"]) == 0
    profile = capsys.readouterr().out.replace('"laptop-x86"', '"mine"').replace("family_default = true\n", "")
    (tmp_path / "mine.toml").write_text(profile)
    monkeypatch.setenv("EDGE_MSA_DEVICES", str(tmp_path))
    test_bash_completes("edge-msa export --target mi", {"mine"}, monkeypatch, capsys)


def test_the_script_for_bash_falls_back_to_files(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("typer.completion._get_shell_name", lambda: "bash", raising=False)
    with pytest.raises(SystemExit):
        run(["--show-completion"])
    assert "complete -o default -F _edge_msa_completion edge-msa" in capsys.readouterr().out
