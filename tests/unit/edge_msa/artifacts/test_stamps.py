from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edge_msa.artifacts.stamps import read_stamp, write_stamp

COMMAND = "edge-msa report paths=a--b>,\u6a21"

pytestmark = pytest.mark.case("F29")


@pytest.mark.parametrize("name", ["page.html", "records.json", "data.npz"])
def test_a_file_says_which_command_wrote_it(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if path.suffix == ".npz":
        np.savez(path, x=np.arange(3))
    else:
        path.write_text("<html></html>" if path.suffix == ".html" else '[{"record": "bench"}]')
    assert read_stamp(path) is None
    write_stamp(path, COMMAND)
    assert read_stamp(path) == COMMAND
    if path.suffix == ".npz":
        np.testing.assert_array_equal(np.load(path)["x"], np.arange(3))
    elif path.suffix == ".json":
        assert json.loads(path.read_text())[0]["record"] == "bench"
    else:
        assert path.read_text().count("--") == 2


@pytest.mark.parametrize(
    ("name", "content"), [("x.csv", b"a,b"), ("x.json", b"{"), ("x.npz", b""), ("x.html", b"\xff")]
)
def test_other_content_does_not_say(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    assert read_stamp(tmp_path / name) is None
