"""Small bundles whose graphs are easy to verify.

They compute relu(normalized frames @ W), averaged with a prior frame, then a weighted sum.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge_msa_runtime.bundle.hashing import file_sha256
from edge_msa_runtime.bundle.manifest import SCHEMA, GraphKey, GraphSpec, Manifest, ModalitySpec, StateSpec, TaskSpec
from edge_msa_runtime.classes import ClassCalibration
from edge_msa_runtime.conversation import ContextHead
from edge_msa_runtime.intervals import Intervals
from edge_msa_runtime.modalities import MODALITIES, Subset, subsets_of

Array = NDArray[Any]

WIDTH, PRIOR_COUNT, PRIOR = 3, 1.0, 0.5
DIMS = {"language": 4, "audio": 2, "vision": 3}
CHUNKS = {"language": 4, "audio": 5, "vision": 3}
WINDOWS = {"language": 12, "audio": 15, "vision": 10}
SHORT_WINDOW = 5  # frames of the shorter window graph of language
MOSI = TaskSpec("mosi", 1, ("negative", "neutral", "positive"), (-0.5, 0.5))
RNG = np.random.default_rng(11)
CLASS_RNG = np.random.default_rng(12)
PROJECTIONS = {name: RNG.normal(size=(dim, WIDTH)).astype("f4") for name, dim in DIMS.items()}
OUTPUTS = 4  # largest number
WEIGHTS = {
    name: np.hstack([RNG.normal(size=(WIDTH, 2)), CLASS_RNG.normal(size=(WIDTH, OUTPUTS - 2))]).astype("f4")
    for name in DIMS
}
MEAN = {name: RNG.normal(size=dim).astype("f4") for name, dim in DIMS.items()}
STD = {name: RNG.uniform(0.5, 2, size=dim).astype("f4") for name, dim in DIMS.items()}
LOW = {name: MEAN[name] - 8 * STD[name] for name in DIMS}
HIGH = {name: MEAN[name] + 8 * STD[name] for name in DIMS}
GAP_FRAMES = {name: MEAN[name] + STD[name] for name in DIMS}
MAX_NORMS = {name: float(np.linalg.norm(np.maximum(np.abs(LOW[name]), np.abs(HIGH[name])))) for name in DIMS}


def write_bundle(
    folder: Path,
    *,
    backends: Sequence[str] = ("onnxruntime", "openvino"),
    task: TaskSpec = MOSI,
    names: Sequence[str] = MODALITIES,
    windows: bool = True,
    batch: int = 1,
    golden_error: float = 0.0,
    intervals: Intervals | None = None,
    context: ContextHead | None = None,
    class_calibration: ClassCalibration | None = None,
    gap_frames: Sequence[str] = (),
) -> None:
    """Write a bundle.

    Args:
        folder: a folder that does not exist yet.
        backends: names of the backends, which share the graphs.
        task: what the outputs mean.
        names: the modalities.
        windows: whether to write window graphs.
        batch: number of streams for which to write step and fuse graphs too.
        golden_error: added to the golden predictions.
        intervals: half widths of the intervals of predictions.
        context: the context head.
        class_calibration: temperature and prediction sets of classes.
        gap_frames: the modalities with a gap frame, `GAP_FRAMES`.
    """
    files = _write_graphs(folder, names, task.outputs, windows=windows, batch=batch)
    _write_golden(folder, names, task.outputs, error=golden_error)
    manifest = Manifest(
        schema=SCHEMA,
        name="fake",
        target="laptop-x86",
        profile={},
        task=task,
        modalities={name: _modality_spec(name, has_gap_frame=name in gap_frames) for name in names},
        language=None,
        backends=tuple(backends),
        precision=dict.fromkeys(backends, "fp32"),
        graphs=tuple(
            GraphSpec(backend, "fp32", "", key, file, 1e-6) for backend in backends for key, file in files.items()
        ),
        int8={},
        intervals=intervals,
        context=context,
        accuracy={},
        provenance={},
        license="MIT",
        class_calibration=class_calibration,
        files={
            path.relative_to(folder).as_posix(): file_sha256(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        },
    )
    (folder / "manifest.json").write_text(json.dumps(manifest.to_json()), encoding="utf-8")
    seal(folder)


def seal(folder: Path, changes: Mapping[str, Any] | None = None) -> None:
    """Change fields of a bundle's manifest and write its digest."""
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **(changes or {})}), encoding="utf-8")
    (folder / "manifest.sha256").write_text(hashlib.sha256(path.read_bytes()).hexdigest() + "\n", encoding="utf-8")


def reference_prediction(frames: Mapping[str, Array], outputs: int = 1) -> Array:
    """Compute the prediction (outputs,) of raw, valid frames in float64 with NumPy."""
    total = np.zeros(outputs)
    for name, values in frames.items():
        normalized = (np.clip(values.astype("f8"), LOW[name], HIGH[name]) - MEAN[name]) / STD[name]
        features = np.maximum(normalized @ PROJECTIONS[name].astype("f8"), 0)
        tokens = (features.sum(axis=0) + PRIOR_COUNT * PRIOR) / (len(values) + PRIOR_COUNT)
        total = total + tokens @ WEIGHTS[name][:, :outputs].astype("f8")
    return total


def random_frames(name: str, count: int, seed: int = 5) -> Array:
    """Return `count` raw frames of a modality."""
    rng = np.random.default_rng([seed, MODALITIES.index(name)])
    raw: Array = rng.normal(size=(count, DIMS[name])) * STD[name] + MEAN[name]
    return raw.astype("f4")


def golden_scale(folder: Path) -> float:
    """Return the largest magnitude of a golden prediction of a bundle."""
    with np.load(folder / "golden.npz") as arrays:
        return max(float(np.abs(arrays[name]).max()) for name in arrays.files if name.endswith("/prediction"))


def write_golden_text(folder: Path, text: str, frames: Array) -> None:
    """Replace the golden cases of a bundle by one with a text and the frames that the text encoder computes from it."""
    arrays: dict[str, Any] = {
        "l/language": frames.astype("f4"),
        "l/text": np.array(text),
        "l/prediction": reference_prediction({"language": frames}).astype("f4"),
    }
    np.savez(folder / "golden.npz", **arrays)
    files = json.loads((folder / "manifest.json").read_text("utf-8"))["files"]
    seal(folder, {"files": {**files, "golden.npz": file_sha256(folder / "golden.npz")}})


class GraphBuilder:
    """Builds an ONNX graph node by node."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: Any) -> str:
        """Add a constant unless it exists, and return its name."""
        if name not in {constant.name for constant in self._constants}:
            self._constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def add(self, kind: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        name = output or f"n{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def normalize(self, name: str, frames: str) -> str:
        """Add the clipping and normalization of frames, and return the result."""
        values = {"low": LOW, "high": HIGH, "mean": MEAN, "std": STD}
        constants = {key: self.constant(f"{name}.{key}", value[name]) for key, value in values.items()}
        clipped = self.add("Min", [self.add("Max", [frames, constants["low"]]), constants["high"]])
        return self.add("Div", [self.add("Sub", [clipped, constants["mean"]]), constants["std"]])

    def pool(self, name: str, inputs: tuple[str, str, str, str], outputs: tuple[str, str] = ("", "")) -> str:
        """Add the running mean of projected frames.

        `inputs` are normalized frames, valid, tokens and count, `outputs` the new tokens and count. Return the new
        tokens.
        """
        frames, valid, tokens, count = inputs
        last, middle = self.constant("last", np.array([2])), self.constant("middle", np.array([1]))
        projection = self.constant(f"{name}.projection", PROJECTIONS[name])
        features = self.add("Relu", [self.add("MatMul", [frames, projection])])
        mask = self.add("Unsqueeze", [valid, last])
        total = self.add("ReduceSum", [self.add("Mul", [features, mask]), middle])
        new_count = self.add("Add", [count, self.add("ReduceSum", [mask, middle])], outputs[1])
        return self.add("Div", [self.add("Add", [self.add("Mul", [tokens, count]), total]), new_count], outputs[0])

    def weigh(self, name: str, tokens: str, outputs: int) -> str:
        """Add the product of a modality's tokens with its weights, and return it."""
        flat = self.add("Squeeze", [tokens, self.constant("squeezed", np.array([1]))])
        return self.add("MatMul", [flat, self.constant(f"{name}.weight", WEIGHTS[name][:, :outputs])])

    def save(self, path: Path, inputs: Mapping[str, Sequence[int]], outputs: Mapping[str, Sequence[int]]) -> None:
        """Write the graph with float inputs and outputs of these shapes."""
        infos = [
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
            for shapes in (inputs, outputs)
        ]
        graph = helper.make_graph(self._nodes, "fake", infos[0], infos[1], self._constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model, full_check=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(model, path)


def _write_graphs(
    folder: Path, names: Sequence[str], outputs: int, *, windows: bool, batch: int
) -> dict[GraphKey, str]:
    """Write all graphs and return their files by key."""
    files: dict[GraphKey, str] = {}

    def add(key: GraphKey) -> Path:
        files[key] = f"graphs/{key.file_stem}.onnx"
        return folder / files[key]

    for size in dict.fromkeys((1, batch)):
        _write_fuse(add(GraphKey.fuse(names, size)), names, outputs, size)
        for name in names:
            _write_step(add(GraphKey.step(name, size)), name, size)
    for subset in subsets_of(names) if windows else ():
        _write_window(add(GraphKey.window(subset)), subset.modalities, outputs, WINDOWS)
    if windows and "language" in names:
        key = GraphKey.window(Subset.L, SHORT_WINDOW)
        _write_window(add(key), key.modalities, outputs, {"language": SHORT_WINDOW})
    return files


def _write_step(path: Path, name: str, batch: int) -> None:
    graph, shapes = GraphBuilder(), {"count": (batch, 1, 1), "tokens": (batch, 1, WIDTH)}
    normalized = graph.normalize(name, "frames")
    graph.pool(name, (normalized, "valid", "state.tokens", "state.count"), ("next.tokens", "next.count"))
    frames = {"frames": (batch, CHUNKS[name], DIMS[name]), "valid": (batch, CHUNKS[name])}
    states = {f"state.{state}": shape for state, shape in shapes.items()}
    graph.save(path, {**frames, **states}, {f"next.{state}": shape for state, shape in shapes.items()})


def _write_fuse(path: Path, names: Sequence[str], outputs: int, batch: int) -> None:
    graph, parts = GraphBuilder(), []
    for name in names:
        column = graph.constant(f"{name}.column", np.array([MODALITIES.index(name)]))
        available = graph.add("Gather", ["available", column], axis=1)
        parts.append(graph.add("Mul", [graph.weigh(name, f"tokens.{name}", outputs), available]))
    graph.add("Sum", parts, "prediction")
    tokens = {f"tokens.{name}": (batch, 1, WIDTH) for name in names}
    graph.save(path, {**tokens, "available": (batch, 3)}, {"prediction": (batch, outputs)})


def _write_window(path: Path, names: Sequence[str], outputs: int, lengths: Mapping[str, int]) -> None:
    graph = GraphBuilder()
    parts: list[str] = []
    inputs: dict[str, Sequence[int]] = {}
    prior = graph.constant("prior", np.full((1, 1, WIDTH), PRIOR, "f4"))
    count = graph.constant("count", np.full((1, 1, 1), PRIOR_COUNT, "f4"))
    for name in names:
        normalized = graph.normalize(name, f"frames.{name}")
        tokens = graph.pool(name, (normalized, f"valid.{name}", prior, count))
        parts.append(graph.weigh(name, tokens, outputs))
        inputs[f"frames.{name}"] = (1, lengths[name], DIMS[name])
        inputs[f"valid.{name}"] = (1, lengths[name])
    graph.add("Sum", parts, "prediction")
    graph.save(path, inputs, {"prediction": (1, outputs)})


def _write_golden(folder: Path, names: Sequence[str], outputs: int, *, error: float) -> None:
    arrays: dict[str, Any] = {}
    for subset in subsets_of(names):
        frames = {name: random_frames(name, WINDOWS[name] - 1) for name in subset.modalities}
        arrays.update({f"{subset.value}/{name}": values for name, values in frames.items()})
        arrays[f"{subset.value}/prediction"] = (reference_prediction(frames, outputs) + error).astype("f4")
    np.savez(folder / "golden.npz", **arrays)


def _modality_spec(name: str, *, has_gap_frame: bool) -> ModalitySpec:
    count, tokens = StateSpec("count", (1, 1, 1), PRIOR_COUNT), StateSpec("tokens", (1, 1, WIDTH), PRIOR)
    gap_frame = tuple(GAP_FRAMES[name].tolist()) if has_gap_frame else None
    return ModalitySpec(DIMS[name], CHUNKS[name], WINDOWS[name], (count, tokens), MAX_NORMS[name], gap_frame=gap_frame)
