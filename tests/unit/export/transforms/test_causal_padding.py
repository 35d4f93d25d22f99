from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from edge_msa_export.transforms.causal_padding import fold_causal_padding
from edge_msa_runtime.bundle.manifest import GraphKey
from edge_msa_runtime.modalities import Subset
from tests.tolerances import assert_close_to_scale
from tests.unit.export.onnx_models import make_model, run_onnx

WEIGHT = np.random.default_rng(0).normal(size=(4, 3, 3)).astype(np.float32)


def make_causal_model(
    memory: np.ndarray, *, axis: int = 2, pads: tuple[int, int] = (0, 0), other: bool = False
) -> onnx.ModelProto:
    """Return a convolution with dilation 2 over a memory and the frames `x`; `other` adds another use of both."""
    nodes = [
        helper.make_node("Concat", ["memory", "x"], ["seen"], axis=axis),
        helper.make_node("Conv", ["seen", "weight"], ["features"], dilations=[2], pads=pads),
        helper.make_node("ReduceMax", ["features"], ["y" if not other else "first"]),
    ]
    if other:
        nodes += [
            helper.make_node("ReduceMax", ["seen"], ["second"]),
            helper.make_node("Add", ["first", "second"], ["y"]),
        ]
    return make_model(nodes, {"memory": memory, "weight": WEIGHT}, output_shape=(1, 1, 1))


def fold(model: onnx.ModelProto) -> onnx.ModelProto:
    folded = onnx.ModelProto()
    folded.CopyFrom(model)
    fold_causal_padding(folded.graph)
    return folded


def test_zeros_before_the_frames_become_padding() -> None:
    model = make_causal_model(np.zeros((1, 3, 4), np.float32))
    folded = fold(model)
    assert [node.op_type for node in folded.graph.node] == ["Conv", "ReduceMax"]
    x = np.random.default_rng(1).normal(size=(1, 3, 8)).astype(np.float32)
    assert_close_to_scale(run_onnx(folded, {"x": x})[0], run_onnx(model, {"x": x})[0])


@pytest.mark.parametrize(
    "model",
    [
        make_causal_model(np.ones((1, 3, 4), np.float32)),
        make_causal_model(np.zeros((1, 3, 8), np.float32), axis=0),
        make_causal_model(np.zeros((1, 3, 4), np.float32), pads=(1, 1)),
        make_causal_model(np.zeros((1, 3, 4), np.float32), other=True),
    ],
    ids=["not zeros", "not along time", "own padding", "other uses"],
)
def test_other_concatenations_stay(model: onnx.ModelProto) -> None:
    assert fold(model) == model


def test_window_graphs_have_no_memory_and_step_graphs_do(student_graphs: dict[GraphKey, onnx.ModelProto]) -> None:
    def memories(key: GraphKey) -> int:
        graph = student_graphs[key].graph
        convolved = {node.input[0] for node in graph.node if node.op_type == "Conv"}
        return sum(node.op_type == "Concat" and node.output[0] in convolved for node in graph.node)

    assert memories(GraphKey.window(Subset.LAV)) == 0
    assert memories(GraphKey.step("audio")) > 0
