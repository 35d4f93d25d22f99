from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edge_msa_runtime.backends.base import Program
from edge_msa_runtime.backends.buffers import allocate_buffers
from edge_msa_runtime.bundle.manifest import ModalitySpec, StateSpec
from edge_msa_runtime.errors import BundleError
from edge_msa_runtime.programs import StepProgram, TextEncoderProgram, WindowProgram

SPEC = ModalitySpec(2, 3, 4, (StateSpec("tokens", (1, 1, 2), 0.5),))


class RecordingProgram(Program):
    """A program that records its inputs. Outputs are zero, but `next.tokens` is `state.tokens` plus one."""

    def __init__(self, inputs: dict[str, tuple[int, ...]], outputs: dict[str, tuple[int, ...]]) -> None:
        self.inputs = {name: np.zeros(shape, np.float32) for name, shape in inputs.items()}
        self.outputs = {name: np.zeros(shape, np.float32) for name, shape in outputs.items()}
        self.device = "CPU"
        self.runs: list[dict[str, Any]] = []

    def run(self) -> None:
        self.runs.append({name: value.copy() for name, value in self.inputs.items()})
        if "state.tokens" in self.inputs:
            self.outputs["next.tokens"][...] = self.inputs["state.tokens"] + 1

    def close(self) -> None:
        """Do nothing."""


def test_a_window_gets_raw_frames_followed_by_zeros() -> None:
    program = RecordingProgram({"frames.audio": (1, 4, 2), "valid.audio": (1, 4)}, {"prediction": (1, 1)})
    window = WindowProgram(program, "window.onnx", {"audio": SPEC}, {"audio": 4}, 1)
    for count in (4, 1, 3):
        window.run({"audio": np.tile(np.array([[3.0, 10.0]], np.float32), (count, 1))})
        run = program.runs[-1]
        assert run["frames.audio"][0].tolist() == [[3.0, 10.0]] * count + [[0.0, 0.0]] * (4 - count)
        assert run["valid.audio"][0].tolist() == [1.0] * count + [0.0] * (4 - count)


def test_a_step_runs_once_per_chunk_and_passes_the_state_on() -> None:
    state_shapes = {"state.tokens": (1, 1, 2)}
    program = RecordingProgram({"frames": (1, 3, 2), "valid": (1, 3), **state_shapes}, {"next.tokens": (1, 1, 2)})
    step = StepProgram(program, "step.onnx", SPEC)
    state = step.initial_state()
    step.run(np.ones((7, 2), np.float32), state)
    assert [run["valid"].sum() for run in program.runs] == [3, 3, 1]
    assert [run["state.tokens"][0, 0, 0] for run in program.runs] == [0.5, 1.5, 2.5]
    assert state["tokens"][0, 0].tolist() == [3.5, 3.5]


STATES = {"phase": (1, 1), "tokens": (1, 1, 2), "memory": (1, 4, 5)}


class AddingProgram(Program):
    """A program that adds one to each state, in buffers that are separate or as those of a backend."""

    device = "CPU"

    def __init__(self, names: list[str], dtype: str = "float32", *, joined: bool) -> None:
        inputs = {"frames": (1, 3, 2), "valid": (1, 3), **{f"state.{name}": STATES[name] for name in names}}
        outputs = {f"next.{name}": STATES[name] for name in reversed(names)}
        self.inputs, self.outputs = (
            allocate_buffers((name, shape, dtype if name.endswith("phase") else "float32") for name, shape in shapes)
            if joined
            else {name: np.zeros(shape, dtype if name.endswith("phase") else np.float32) for name, shape in shapes}
            for shapes in (tuple(inputs.items()), tuple(reversed(outputs.items())))
        )

    def run(self) -> None:
        for name in STATES:
            self.outputs[f"next.{name}"][...] = self.inputs[f"state.{name}"] + 1

    def close(self) -> None:
        """Do nothing."""


@pytest.mark.parametrize(
    "program",
    [
        AddingProgram([*STATES], joined=True),
        AddingProgram([*STATES], joined=False),
        AddingProgram([*STATES], "int64", joined=True),
        AddingProgram([*reversed(STATES)], joined=True),
    ],
    ids=["joined", "separate", "two types", "another order"],
)
def test_a_state_and_its_copies_go_on_in_any_buffers(program: Program) -> None:
    spec = ModalitySpec(2, 3, 4, tuple(StateSpec(name, shape, 3.0) for name, shape in STATES.items()))
    step = StepProgram(program, "step.onnx", spec)
    state, other, frames = step.initial_state(), step.initial_state(), np.ones((4, 2), np.float32)
    assert {name: array.shape for name, array in state.items()} == STATES
    step.run(frames, state)  # two chunks
    copied = {name: array.copy() for name, array in state.items()}
    step.run(frames[:2], copied)
    step.run(frames, state)
    for name in STATES:
        assert np.all(state[name] == 7.0), name
        assert np.all(copied[name] == 6.0), name
        assert np.all(other[name] == 3.0), name


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"ids": (1, 8)}, "encoder.onnx has no input valid"),
        ({"ids": (1, 8), "valid": (1, 8), "mask": (1, 8)}, "encoder.onnx has an unknown input mask"),
        ({"ids": (1, 8), "valid": (1, 9)}, r"Input valid of encoder.onnx must have shape \(1, 8\), got \(1, 9\)"),
    ],
)
def test_a_graph_with_other_inputs_is_refused(inputs: dict[str, tuple[int, ...]], message: str) -> None:
    program = RecordingProgram(inputs, {"frames": (1, 8, 2)})
    with pytest.raises(BundleError, match=rf"{message}\. Export the bundle again"):
        TextEncoderProgram(program, "encoder.onnx", 8, 2)
