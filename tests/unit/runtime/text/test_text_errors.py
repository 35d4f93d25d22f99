"""Bundles and machines that cannot read words."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

import numpy as np
import pytest

from edge_msa_runtime import BackendUnavailableError, BundleError, UsageError, load
from edge_msa_runtime.bundle.hashing import file_sha256
from edge_msa_runtime.bundle.reader import open_bundle
from edge_msa_runtime.cli import main

if TYPE_CHECKING:
    from tests.unit.runtime.text.conftest import Toy

    Make = Callable[[str], Path]


def test_a_bundle_that_reads_frames_alone_says_so(shared_bundle: Path) -> None:
    session = load(shared_bundle)
    said = r"given as words, this bundle reads frames \(T, 4\); export one that reads words"
    with pytest.raises(UsageError, match=said):
        session.predict(language="i love it")
    with pytest.raises(UsageError, match=said):
        session.create_stream().push(language=["i"])


def test_without_the_tokenizers_library_words_end_with_4_and_frames_are_read(
    make: Make, frames: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make("table")
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    session = load(path)
    assert session.predict(language=frames("language", 3)).subset == "l"
    with pytest.raises(BackendUnavailableError, match=r"pip install 'edge-msa-runtime\[text\]'"):
        session.predict(language="love")
    assert main(["predict", str(path), "--language", "i love it"]) == 4
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("tokenizer.json", b"{}", "tokenizer.json is no tokenizer"),
        ("tokenizer.json", b"\xff\xfe", "tokenizer.json is no tokenizer"),
        ("table.npz", b"PK", "table.npz is no table of rows"),
        ("table.npz", {"rows": (12, 2)}, r"rows int8 \(12, 2\) and scales \(12,\), wanted are int8 \(V, 4\)"),
        ("table.npz", {"kind": "f4"}, "rows float32"),
        ("table.npz", {"rows": (3, 4)}, "the tokenizer knows id 5, the table has 3 rows"),
    ],
)
def test_damaged_files_of_words_are_named(
    make: Make, toy: Toy, seal: Callable[..., None], file: str, content: Any, said: str
) -> None:
    folder = make("table")
    place = folder / "language" / file
    if isinstance(content, bytes):
        place.write_bytes(content)
    else:
        rows = toy.rows.astype(content.get("kind", "i1"))[tuple(slice(size) for size in content.get("rows", ()))]
        np.savez(place, rows=rows, scales=toy.scales[: len(rows)])
    files = json.loads((folder / "manifest.json").read_text("utf-8"))["files"]
    seal(folder, {"files": {**files, f"language/{file}": file_sha256(place)}})
    with pytest.raises(BundleError, match=said):
        load(folder).predict(language="i love it")


@pytest.mark.parametrize(
    "changes",
    [
        {"text_encoder": "other"},
        {"table": ""},
        {"text_encoder": "graph"},
        {"max_tokens": 0},
        {"tokenizer": "language/absent.json"},
    ],
)
def test_a_manifest_that_contradicts_itself_about_words_is_refused(
    make: Make, seal: Callable[..., None], changes: dict[str, Any]
) -> None:
    folder = make("table")
    language = json.loads((folder / "manifest.json").read_text("utf-8"))["language"]
    seal(folder, {"language": {**language, **changes}})
    with pytest.raises(BundleError, match="Export the bundle again"):
        open_bundle(folder)
