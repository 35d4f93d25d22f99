"""Small encoders as ONNX graphs with the layout and names of a student's graphs, made without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, checker, helper, numpy_helper

Array = npt.NDArray[Any]

FRAMES = 12
MEMORIES = (2, 4)
TOKENS = 4


@dataclass(frozen=True)
class EncoderRecipe:
    """Sizes of the encoders: `dims` features per frame by modality, and `channels` of every encoder."""

    dims: Mapping[str, int]
    channels: int = 16

    def weights(self) -> dict[str, Array]:
        """Return weights by name, the same for every graph of this recipe."""
        rng = np.random.default_rng(7)
        weights: dict[str, Array] = {}
        for modality, dim in self.dims.items():
            shapes = {"embed": (self.channels, dim, 1), "score": (TOKENS, self.channels, 1)}
            shapes |= {f"blocks.{index}": (self.channels, self.channels, 3) for index in range(len(MEMORIES))}
            for name, shape in shapes.items():
                root = f"encoders.{modality}.{name}"
                fan = np.sqrt(shape[1] * shape[2])
                weights[f"{root}.weight"] = (rng.standard_normal(shape) / fan).astype(np.float32)
                weights[f"{root}.bias"] = (rng.standard_normal(shape[0]) / 4).astype(np.float32)
        return weights


class GraphMaker:
    """Make window and step graphs. The features (1, C, T) of each encoder are outputs, so that tests can check them."""

    def __init__(self, recipe: EncoderRecipe) -> None:
        self.recipe = recipe

    def window(self, frames: int, modalities: tuple[str, ...] | None = None) -> onnx.ModelProto:
        """Return a graph with inputs `frames.<m>`, `valid.<m>` and outputs `features.<m>`, `tokens.<m>`."""
        names = tuple(self.recipe.dims) if modalities is None else modalities
        parts = _Parts(self.recipe)
        for index, name in enumerate(names):
            memories = [f"zeros_{index}_{place}" for place in range(len(MEMORIES))]
            for memory, length in zip(memories, MEMORIES, strict=True):
                parts.constants[memory] = np.zeros((1, self.recipe.channels, length), np.float32)
            parts.encoder(name, frames, f".{name}", memories, prefix=f"w{index}_")
        return parts.model()

    def step(self, modality: str, frames: int) -> onnx.ModelProto:
        """Return a graph from `frames`, `valid`, `state.conv<i>` to `features`, `tokens`, `next.conv<i>`."""
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
    def __init__(self, recipe: EncoderRecipe) -> None:
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
        channels_first = self.node("Transpose", [f"frames{suffix}"], f"{prefix}channels_first", perm=[0, 2, 1])
        embedded = self.conv(f"{root}.embed", channels_first, f"{prefix}embedded")
        features = self.node("Relu", [embedded], f"{prefix}relu")
        joined = []
        for index, memory in enumerate(memories):
            last = index + 1 == len(memories)
            concatenated = self.node("Concat", [memory, features], f"{prefix}concatenated{index}", axis=2)
            convolved = self.conv(
                f"{root}.blocks.{index}", concatenated, f"{prefix}convolved{index}", dilations=[2**index]
            )
            activated = self.node("Relu", [convolved], f"{prefix}activated{index}")
            features = self.node("Add", [features, activated], f"features{suffix}" if last else f"{prefix}sum{index}")
            joined.append(concatenated)
        scores = self.conv(f"{root}.score", features, f"{prefix}scores")
        weights = self.node("Softmax", [scores], f"{prefix}weights", axis=2)
        frames_first = self.node("Transpose", [features], f"{prefix}frames_first", perm=[0, 2, 1])
        self.outputs += [f"features{suffix}", self.node("MatMul", [weights, frames_first], f"tokens{suffix}")]
        return joined

    def model(self) -> onnx.ModelProto:
        inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in self.inputs.items()]
        outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 3) for name in self.outputs]
        constants = [numpy_helper.from_array(item, name) for name, item in self.constants.items()]
        graph = helper.make_graph(self.nodes, "edge_msa", inputs, outputs, constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        checker.check_model(model, full_check=True)
        return model


class TextEncoderMaker:
    """Make text encoders of two linear layers. One channel of the embeddings is far larger than the others."""

    VOCABULARY, WIDTH, HIDDEN = 40, 24, 32

    def graph(self, length: int, *, gemm: bool = False) -> onnx.ModelProto:
        """Return a graph with inputs `ids`, `valid` (1, length) and output `frames` (1, length, WIDTH)."""
        rng = np.random.default_rng(3)
        table = rng.standard_normal((self.VOCABULARY, self.WIDTH)).astype(np.float32)
        table[:, 5] *= 40
        table[0] = 1000
        constants: dict[str, Array] = {"text_encoder.embeddings.weight": table}
        for name, (in_width, out_width) in {"one": (self.WIDTH, self.HIDDEN), "two": (self.HIDDEN, self.WIDTH)}.items():
            weight = (rng.standard_normal((in_width, out_width)) / np.sqrt(in_width)).astype(np.float32)
            constants[f"text_encoder.{name}.weight"] = weight.T.copy() if gemm else weight
            constants[f"text_encoder.{name}.bias"] = rng.standard_normal(out_width).astype(np.float32)
        constants["text_encoder.one.weight"][(slice(None), 5) if gemm else 5] /= 20
        constants |= {"shape_2d": np.array([length, -1]), "shape_3d": np.array([1, length, self.WIDTH])}
        nodes = [helper.make_node("Gather", ["text_encoder.embeddings.weight", "ids"], ["embedded"], name="lookup")]
        last = "embedded"
        if gemm:
            nodes.append(helper.make_node("Reshape", ["embedded", "shape_2d"], ["rows"], name="rows"))
            last = "rows"
        for name, after in (("one", "Relu"), ("two", None)):
            parts = [last, f"text_encoder.{name}.weight"]
            if gemm:
                nodes.append(
                    helper.make_node(
                        "Gemm", [*parts, f"text_encoder.{name}.bias"], [name], name=f"gemm_{name}", transB=1
                    )
                )
            else:
                nodes.append(helper.make_node("MatMul", parts, [f"{name}_product"], name=f"matmul_{name}"))
                nodes.append(
                    helper.make_node(
                        "Add", [f"{name}_product", f"text_encoder.{name}.bias"], [name], name=f"add_{name}"
                    )
                )
            last = name
            if after:
                nodes.append(helper.make_node(after, [name], [f"{name}_after"], name=f"after_{name}"))
                last = f"{name}_after"
        if gemm:
            nodes.append(helper.make_node("Reshape", [last, "shape_3d"], ["frames_3d"], name="frames_3d"))
            last = "frames_3d"
        nodes.append(helper.make_node("Add", [last, "embedded"], ["frames"], name="residual"))
        inputs = [
            helper.make_tensor_value_info("ids", TensorProto.INT64, [1, length]),
            helper.make_tensor_value_info("valid", TensorProto.FLOAT, [1, length]),
        ]
        outputs = [helper.make_tensor_value_info("frames", TensorProto.FLOAT, [1, length, self.WIDTH])]
        initializers = [
            numpy_helper.from_array(item, name)
            for name, item in constants.items()
            if gemm or name not in ("shape_2d", "shape_3d")
        ]
        graph = helper.make_graph(nodes, "text_encoder", inputs, outputs, initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        checker.check_model(model, full_check=True)
        return model

    def sample(self, length: int, count: int, seed: int) -> dict[str, Array]:
        """Return `count` valid ids, padded with the token that has the largest embedding."""
        rng = np.random.default_rng(seed)
        valid = (np.arange(length) < count).astype(np.float32)[None]
        ids = np.where(valid > 0, rng.integers(1, self.VOCABULARY, (1, length)), 0)
        return {"ids": ids.astype(np.int64), "valid": valid}

    def samples(self, length: int) -> list[dict[str, Array]]:
        """Return 24 samples of 3 to length - 1 valid tokens."""
        return [self.sample(length, 3 + seed % (length - 3), seed) for seed in range(24)]


def window_sample(
    counts: Mapping[str, int], dims: Mapping[str, int], seed: int, padding: float = 0.0
) -> dict[str, Array]:
    """Return inputs of a window graph: `counts` valid frames per modality, padded to FRAMES with the given value."""
    rng = np.random.default_rng(seed)
    inputs: dict[str, Array] = {}
    for name, count in counts.items():
        frames = rng.standard_normal((1, FRAMES, dims[name])).astype(np.float32)
        frames[:, count:] = padding
        inputs[f"frames.{name}"] = frames
        inputs[f"valid.{name}"] = (np.arange(FRAMES) < count).astype(np.float32)[None]
    return inputs
