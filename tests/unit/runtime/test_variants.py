from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import pytest

from edge_msa_runtime import BackendUnavailableError, InferenceError, Session
from edge_msa_runtime.cli.main import main
from edge_msa_runtime.variants import Variants
from edge_msa_runtime.verification import verify_all


@pytest.fixture
def open_sessions(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of open sessions, appended whenever it changes."""
    counts, original_init, original_close = [0], Session.__init__, Session.close
    opened: list[Session] = []

    def init(self: Session, *arguments: Any, **options: Any) -> None:
        original_init(self, *arguments, **options)
        opened.append(self)
        counts.append(len(opened))

    def close(self: Session) -> None:
        original_close(self)
        if self in opened:
            opened.remove(self)
            counts.append(len(opened))

    monkeypatch.setattr(Session, "__init__", init)
    monkeypatch.setattr(Session, "close", close)
    return counts


@pytest.fixture
def many_precisions(make_bundle: Callable[..., Path], seal: Callable[..., None]) -> Path:
    """A bundle with the same graphs at fp32 and fp16."""
    path = make_bundle(backends=("onnxruntime",), names=("audio",))
    graphs = json.loads((path / "manifest.json").read_text("utf-8"))["graphs"]
    seal(path, {"graphs": graphs + [{**graph, "precision": "fp16"} for graph in graphs]})
    return path


def test_verify_all_loads_one_variant_at_a_time(many_precisions: Path, open_sessions: list[int]) -> None:
    assert [item.precision for item in verify_all(Variants(many_precisions))] == ["fp32", "fp16"]
    assert open_sessions == [0, 1, 0, 1, 0]


def test_a_variant_whose_graphs_cannot_be_loaded_is_closed(
    many_precisions: Path, open_sessions: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise BackendUnavailableError("no memory")

    monkeypatch.setattr(Session, "prepare", fail)
    with pytest.raises(BackendUnavailableError, match="no memory"):
        list(Variants(many_precisions))
    assert open_sessions == [0, 1, 0, 1, 0]


@pytest.mark.parametrize("options", [["--all"], []])
def test_bench_closes_its_sessions_after_an_error(
    options: list[str], many_precisions: Path, open_sessions: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise InferenceError("out of memory")

    monkeypatch.setattr(Session, "predict", fail)
    # Fresh processes have their own sessions; with --streams, there is one process.
    assert main(["bench", str(many_precisions), "--streams", "2", *options]) == 1
    assert open_sessions[-1] == 0
    assert max(open_sessions) == (2 if options else 1)
