"""Small encoders as ONNX graphs, laid out and named as the student's are, made without torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, checker, helper, numpy_helper

Array = npt.NDArray[Any]
Run = Callable[..., dict[str, Array]]

MEMORIES = (2, 4)
TOKENS = 4


@dataclass(frozen=True)
class Recipe:
    """Sizes of the encoders of one test: `dims` features a frame, `channels` of every encoder."""

    dims: Mapping[str, int]
    channels: int = 16

    def weights(self) -> dict[str, Array]:
        """The same weights for every graph of this recipe."""
        rng = np.random.default_rng(7)
        found: dict[str, Array] = {}
        for modality, dim in self.dims.items():
            shapes = {"embed": (self.channels, dim, 1), "score": (TOKENS, self.channels, 1)}
            shapes |= {f"blocks.{index}": (self.channels, self.channels, 3) for index in range(len(MEMORIES))}
            for name, shape in shapes.items():
                root = f"encoders.{modality}.{name}"
                fan = np.sqrt(shape[1] * shape[2])
                found[f"{root}.weight"] = (rng.standard_normal(shape) / fan).astype(np.float32)
                found[f"{root}.bias"] = (rng.standard_normal(shape[0]) / 4).astype(np.float32)
        return found


class GraphMaker:
    """Makes window and step graphs; features (1, C, T) of each encoder are outputs, so that tests see them."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    def window(self, frames: int, modalities: tuple[str, ...] | None = None) -> onnx.ModelProto:
        """Inputs `frames.<m>`, `valid.<m>`; outputs `features.<m>`, `tokens.<m>`."""
        names = tuple(self.recipe.dims) if modalities is None else modalities
        parts = _Parts(self.recipe)
        for index, name in enumerate(names):
            memories = [f"zeros_{index}_{place}" for place in range(len(MEMORIES))]
            for memory, length in zip(memories, MEMORIES, strict=True):
                parts.constants[memory] = np.zeros((1, self.recipe.channels, length), np.float32)
            parts.encoder(name, frames, f".{name}", memories, prefix=f"w{index}_")
        return parts.model()

    def step(self, modality: str, frames: int) -> onnx.ModelProto:
        """Inputs `frames`, `valid`, `state.conv<i>`; outputs `features`, `tokens`, `next.conv<i>`."""
        parts = _Parts(self.recipe)
        memories = [f"state.conv{index}" for index in range(len(MEMORIES))]
        for memory, length in zip(memories, MEMORIES, strict=True):
            parts.inputs[memory] = (1, self.recipe.channels, length)
        joined = parts.encoder(modality, frames, "", memories, prefix="s_")
        for index, (name, length) in enumerate(zip(joined, MEMORIES, strict=True)):
            parts.constants[f"start{index}"] = np.array([-length])
            parts.constants[f"end{index}"] = np.array([np.iinfo(np.int64).max])
            parts.constants[f"axis{index}"] = np.array([2])
            parts.node("Slice", [name, f"start{index}", f"end{index}", f"axis{index}"], f"next.conv{index}")
            parts.outputs.append(f"next.conv{index}")
        return parts.model()


class _Parts:
    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.constants: dict[str, Array] = {}
        self.inputs: dict[str, tuple[int, ...]] = {}
        self.outputs: list[str] = []
        self.nodes: list[onnx.NodeProto] = []

    def node(self, op_type: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op_type, inputs, [output], name=f"node_{output}", **attributes))
        return output

    def conv(self, root: str, source: str, output: str, **attributes: Any) -> str:
        return self.node("Conv", [source, f"{root}.weight", f"{root}.bias"], output, **attributes)

    def encoder(self, modality: str, frames: int, suffix: str, memories: list[str], prefix: str) -> list[str]:
        root = f"encoders.{modality}"
        self.constants |= {name: item for name, item in self.recipe.weights().items() if name.startswith(root)}
        self.inputs[f"frames{suffix}"] = (1, frames, self.recipe.dims[modality])
        self.inputs[f"valid{suffix}"] = (1, frames)
        turned = self.node("Transpose", [f"frames{suffix}"], f"{prefix}turned", perm=[0, 2, 1])
        embedded = self.conv(f"{root}.embed", turned, f"{prefix}embedded")
        features = self.node("Relu", [embedded], f"{prefix}relu")
        joined = []
        for index, memory in enumerate(memories):
            last = index + 1 == len(memories)
            seen = self.node("Concat", [memory, features], f"{prefix}seen{index}", axis=2)
            made = self.conv(f"{root}.blocks.{index}", seen, f"{prefix}made{index}", dilations=[2**index])
            kept = self.node("Relu", [made], f"{prefix}kept{index}")
            features = self.node("Add", [features, kept], f"features{suffix}" if last else f"{prefix}sum{index}")
            joined.append(seen)
        scores = self.conv(f"{root}.score", features, f"{prefix}scores")
        weights = self.node("Softmax", [scores], f"{prefix}weights", axis=2)
        upright = self.node("Transpose", [features], f"{prefix}upright", perm=[0, 2, 1])
        self.outputs += [f"features{suffix}", self.node("MatMul", [weights, upright], f"tokens{suffix}")]
        return joined

    def model(self) -> onnx.ModelProto:
        inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in self.inputs.items()]
        outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 3) for name in self.outputs]
        constants = [numpy_helper.from_array(item, name) for name, item in self.constants.items()]
        graph = helper.make_graph(self.nodes, "edge_msa", inputs, outputs, constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        checker.check_model(model, full_check=True)
        return model


@pytest.fixture
def maker() -> GraphMaker:
    return GraphMaker(Recipe({"language": 24, "audio": 20}))


@pytest.fixture
def narrow_maker() -> GraphMaker:
    return GraphMaker(Recipe({"audio": 5}))


@pytest.fixture
def run() -> Run:
    """Run a graph in ONNX Runtime; `plain` leaves its own rewriting out, so that every Q/DQ is computed as written."""

    def _run(model: onnx.ModelProto, inputs: Mapping[str, Array], *, plain: bool = False) -> dict[str, Array]:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        if plain:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        names = [value.name for value in session.get_outputs()]
        return dict(zip(names, session.run(names, dict(inputs)), strict=True))

    return _run
