from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edge_msa_export.lint import find_local_paths


@pytest.mark.parametrize("path", ["/home/somebody/x.py", "C:\\Users\\somebody\\x.py", f"{sys.prefix}/lib/x.py"])
def test_local_path_is_found(path: str) -> None:
    assert find_local_paths(f"File {path}, line 3") is not None


def test_names_with_slashes_are_not_paths() -> None:
    assert find_local_paths("/encoders/language/Conv_output_0 a/b http://onnx.ai/x") is None


def test_xml_element_is_not_the_folder_of_the_same_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "cwd", lambda: Path("/data"))
    assert find_local_paths("<layer><data/></layer></data>") is None
    assert find_local_paths('name="/data/model.py"') == "/data"
