from __future__ import annotations

from pathlib import Path

import pytest

from edge_msa_runtime.backends.cache import cache_folder, create_work_folder, graph_digest, write_cache_file
from edge_msa_runtime.bundle.manifest import WEIGHTS_NAME
from edge_msa_runtime.errors import CacheError


def test_the_digest_depends_on_graph_and_weights(tmp_path: Path) -> None:
    graph = tmp_path / "g.onnx"
    graph.write_bytes(b"graph")
    digests = [graph_digest(graph)]
    for weights in (b"one", b"two"):
        (tmp_path / WEIGHTS_NAME).write_bytes(weights)
        digests.append(graph_digest(graph))
    assert len(set(digests)) == 3


def test_an_unwritable_cache_error_names_the_variable(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for write in (
        lambda: write_cache_file(tmp_path / "file" / "plan", b"plan"),
        lambda: create_work_folder(tmp_path / "file"),
    ):
        with pytest.raises(CacheError, match="EDGE_MSA_CACHE") as caught:
            write()
        assert caught.value.exit_code == 1


def test_a_failed_write_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(CacheError, match="No space left"):
        write_cache_file(tmp_path / "plan", b"plan")
    assert list(tmp_path.iterdir()) == []


def test_the_variable_sets_the_cache_folder() -> None:
    assert cache_folder({"EDGE_MSA_CACHE": "folder"}) == Path("folder")
    assert cache_folder({}).parts[-2:] == (".cache", "edge-msa")
