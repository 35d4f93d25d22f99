"""TextTokenizer in what verify, bench, predict and info tell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

import numpy as np
import pytest

from edge_msa_runtime import load
from edge_msa_runtime.benchmark.bench import bench_session
from edge_msa_runtime.bundle.golden import read_golden, verify_bundle
from edge_msa_runtime.bundle.hashing import file_sha256
from edge_msa_runtime.bundle.reader import open_bundle
from edge_msa_runtime.cli import main
from edge_msa_runtime.modalities import Subset

if TYPE_CHECKING:
    from tests.unit.runtime.text.conftest import Toy

    Make = Callable[[str], Path]


def _with_golden_text(folder: Path, toy: Toy, seal: Callable[..., None], expected: Callable[..., Any]) -> Path:
    text = "i love the films"
    rows = toy.floats[toy.ids(text)]
    np.savez(
        folder / "golden.npz", **{"l/language": rows, "l/text": text, "l/prediction": expected({"language": rows})}
    )
    files = json.loads((folder / "manifest.json").read_text("utf-8"))["files"]
    seal(folder, {"files": {**files, "golden.npz": file_sha256(folder / "golden.npz")}})
    return folder


def test_verify_and_bench_read_the_golden_words(
    make: Make,
    toy: Toy,
    seal: Callable[..., None],
    expected: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = _with_golden_text(make("table"), toy, seal, expected)
    assert read_golden(open_bundle(folder))[0].given["language"] == "i love the films"
    assert verify_bundle(folder).passed
    with load(folder) as session:
        result = bench_session(session, repeats=3, warmup=0, subsets=[Subset.L, Subset.LA])
        assert result.latencies[0].from_text
        assert result.latencies[0].frames == {"language": 5}  # film ##s
        assert not result.latencies[1].from_text  # no golden text of it: random frames
        needed = {"language/tokenizer.json", "language/table.npz"}
        assert needed < set(session.bundle.needed_files(session.backend, session.precision))
        assert result.file_bytes == session.bundle.size(session.bundle.needed_files(session.backend, session.precision))
    assert main(["bench", str(folder), "--repeats", "2", "--warmup", "0", "--text", "it", "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [row["frames"]["language"] for row in told[0]["latencies"] if row["from_text"]] == [1, 1]


def test_words_on_the_command_line_are_read_and_described(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make("table")
    assert main(["predict", str(folder), "--text", "i love it", "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["score"] == load(folder).predict(language="i love it").score
    assert main(["predict", str(folder), "--text", ""]) == 2
    assert "there is no word in" in capsys.readouterr().err
    assert main(["info", str(folder), "--json"]) == 0
    out = capsys.readouterr().out
    assert "table encoder, up to 10 tokens" in out
    assert json.loads(out.splitlines()[-1])["language"]["bytes"] == sum(
        path.stat().st_size for path in (folder / "language").iterdir()
    )
