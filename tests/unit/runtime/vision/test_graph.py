from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from edge_msa_runtime.errors import BackendUnavailableError, InferenceError
from edge_msa_runtime.vision import graph
from edge_msa_runtime.vision.graph import Graph
from edge_msa_runtime.vision.task_file import read_task_file

OUTPUTS = [("StatefulPartitionedCall:0", (52,))]


def test_a_missing_litert_is_refused_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 11, 0))
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    monkeypatch.delitem(sys.modules, "ai_edge_litert.interpreter", raising=False)
    with pytest.raises(BackendUnavailableError, match=r"Run: pip install 'edge-msa-runtime\[vision\]'"):
        Graph(b"", "model", (1,), [])


def test_python_3_8_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 8, 18))
    with pytest.raises(BackendUnavailableError, match=r"Use Python 3\.9 or later"):
        Graph(b"", "model", (1,), [])


def test_a_model_is_run(face_model: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    model = Graph(read_task_file(face_model).blendshapes, "blendshapes", (1, 146, 2), OUTPUTS)
    (scores,) = model.run(np.random.default_rng(0).uniform(0, 256, (146, 2)).astype(np.float32))
    assert scores.shape == (52,)
    with pytest.raises(InferenceError, match="blendshapes returned values that are not finite"):
        model.run(np.full((146, 2), np.nan, np.float32))


@pytest.mark.parametrize("shape", [(1, 146, 3), (1, 145, 2)])
def test_another_input_is_refused(shape: tuple[int, ...], face_model: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    with pytest.raises(ValueError, match="blendshapes must have the input of shape"):
        Graph(read_task_file(face_model).blendshapes, "blendshapes", shape, OUTPUTS)


def test_other_outputs_are_refused(face_model: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    with pytest.raises(ValueError, match="blendshapes must have scores of shape"):
        Graph(read_task_file(face_model).blendshapes, "blendshapes", (1, 146, 2), [("scores", (52,))])


def test_only_notes_of_a_library_are_hidden(capfd: pytest.CaptureFixture[str]) -> None:
    with graph._without_notes():
        os.write(2, b"INFO: Created a delegate.\nERROR: out of memory\n")
    assert capfd.readouterr().err == "ERROR: out of memory\n"
