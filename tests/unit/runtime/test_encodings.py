from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge_msa_runtime.encodings import check_native_path
from edge_msa_runtime.errors import UsageError

NAME = "\u6a21\u578b"  # a Chinese folder name
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def run(arguments: list[str], **variables: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, **variables}
    command = [sys.executable, "-m", "edge_msa_runtime", *arguments]
    return subprocess.run(command, capture_output=True, check=False, env=environment)


@pytest.mark.case("F18")
@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_names_outside_of_the_terminal_encoding_are_escaped(encoding: str, shared_bundle: Path, tmp_path: Path) -> None:
    bundle = shutil.copytree(str(shared_bundle), str(tmp_path / NAME))
    result = run(["info", str(tmp_path / (NAME + "x"))], PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    assert result.returncode == 2
    assert b"\\u6a21\\u578bx" in result.stderr
    assert b"Traceback" not in result.stderr
    result = run(["info", bundle, "--json"], PYTHONIOENCODING=encoding)
    assert result.returncode == 0
    assert json.loads(result.stdout.splitlines()[-1].decode("ascii"))["name"]


@pytest.mark.case("F18")
def test_an_ascii_locale_is_named_with_its_fix(shared_bundle: Path, tmp_path: Path) -> None:
    bundle = shutil.copytree(str(shared_bundle), str(tmp_path / NAME))
    result = run(["verify", bundle, "--backend", "onnxruntime"], **ASCII)
    assert result.returncode == 2
    (line,) = result.stderr.decode("ascii").splitlines()
    assert "the locale 'C' decodes file names as ascii" in line
    assert "LC_ALL=C.UTF-8" in line


@pytest.mark.case("F18")
def test_a_path_that_is_not_utf8_cannot_be_opened_by_backends(tmp_path: Path) -> None:
    check_native_path(tmp_path / NAME)
    with pytest.raises(UsageError, match=r"caf\\xe9 must be UTF-8, got other bytes. Rename"):
        check_native_path(tmp_path / os.fsdecode(b"caf\xe9"))
