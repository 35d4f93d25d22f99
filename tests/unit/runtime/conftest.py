"""Fixtures of the runtime: a small bundle with a simple model, and stand-ins for TensorRT and CUDA.

The model computes relu(normalized frames @ PROJECTION) per modality, averages it with a prior frame, and sums the
weighted averages of all available modalities.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, Sequence

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge_msa_runtime.bundle.manifest import SCHEMA, GraphKey, GraphSpec, Manifest, ModalitySpec, StateSpec, TaskSpec
from edge_msa_runtime.modalities import MODALITIES, Subset, subsets_of

Array = NDArray[Any]
MakeBundle = Callable[..., Path]

WIDTH, PRIOR_COUNT, PRIOR = 3, 1.0, 0.5
DIMS = {"language": 4, "audio": 2, "vision": 3}
CHUNKS = {"language": 4, "audio": 5, "vision": 3}
WINDOWS = {"language": 12, "audio": 15, "vision": 10}
SHORT_WINDOW = 5  # frames of a shorter window graph of language
MOSI = TaskSpec("mosi", 1, ("negative", "neutral", "positive"), (-0.5, 0.5))
RNG = np.random.default_rng(11)
PROJECTION = {name: RNG.normal(size=(dim, WIDTH)).astype("f4") for name, dim in DIMS.items()}
WEIGHTS = {name: RNG.normal(size=(WIDTH, 2)).astype("f4") for name in DIMS}
MEAN = {name: RNG.normal(size=dim).astype("f4") for name, dim in DIMS.items()}
STD = {name: RNG.uniform(0.5, 2, size=dim).astype("f4") for name, dim in DIMS.items()}


def _predict(frames: Mapping[str, Array], outputs: int = 1) -> Array:
    """Return the prediction (outputs,) for raw, valid frames, computed in float64."""
    total = np.zeros(outputs)
    for name, values in frames.items():
        features = np.maximum((values.astype("f8") - MEAN[name]) / STD[name] @ PROJECTION[name].astype("f8"), 0)
        pooled = (features.sum(axis=0) + PRIOR_COUNT * PRIOR) / (len(values) + PRIOR_COUNT)
        total = total + pooled @ WEIGHTS[name][:, :outputs].astype("f8")
    return total


class _Graph:
    """Builds an ONNX graph node by node."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: Any) -> str:
        """Add a constant, unless it exists, and return its name."""
        if name not in {constant.name for constant in self.constants}:
            self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def add(self, kind: str, inputs: Sequence[str], output: str = "") -> str:
        """Add a node and return the name of its output."""
        name = output or f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name]))
        return name

    def add_pooling(self, name: str, inputs: tuple[str, str, str, str], outputs: tuple[str, str] = ("", "")) -> str:
        """Add the running average over frames. Inputs: frames, valid, tokens, count. Outputs: new tokens, new count."""
        frames, valid, tokens, count = inputs
        last, middle = self.constant("last", np.array([2])), self.constant("middle", np.array([1]))
        features = self.add(
            "Relu", [self.add("MatMul", [frames, self.constant(f"{name}.projection", PROJECTION[name])])]
        )
        mask = self.add("Unsqueeze", [valid, last])
        total = self.add("ReduceSum", [self.add("Mul", [features, mask]), middle])
        after = self.add("Add", [count, self.add("ReduceSum", [mask, middle])], outputs[1])
        return self.add("Div", [self.add("Add", [self.add("Mul", [tokens, count]), total]), after], outputs[0])

    def add_weighted(self, name: str, tokens: str, outputs: int) -> str:
        """Add the weighted sum of a modality's tokens."""
        flat = self.add("Squeeze", [tokens, self.constant("squeezed", np.array([1]))])
        return self.add("MatMul", [flat, self.constant(f"{name}.weight", WEIGHTS[name][:, :outputs])])

    def save(self, path: Path, inputs: Mapping[str, Sequence[int]], outputs: Mapping[str, Sequence[int]]) -> None:
        """Check the graph and save it. Inputs and outputs are float32 with the given shapes."""
        signature = [
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in tensors.items()]
            for tensors in (inputs, outputs)
        ]
        graph = helper.make_graph(self.nodes, "fake", signature[0], signature[1], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model, full_check=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(model, path)


def _save_step(path: Path, name: str) -> None:
    graph, tokens, count = _Graph(), (1, 1, WIDTH), (1, 1, 1)
    graph.add_pooling(name, ("frames", "valid", "state.tokens", "state.count"), ("next.tokens", "next.count"))
    frames = {"frames": (1, CHUNKS[name], DIMS[name]), "valid": (1, CHUNKS[name])}
    states = {"state.count": count, "state.tokens": tokens}
    graph.save(path, {**frames, **states}, {"next.count": count, "next.tokens": tokens})


def _save_fuse(path: Path, names: Sequence[str], outputs: int) -> None:
    graph, parts = _Graph(), []
    for name in names:
        column = graph.constant(f"{name}.column", np.array([MODALITIES.index(name)]))
        available = graph.add("Gather", ["available", column])
        graph.nodes[-1].attribute.append(helper.make_attribute("axis", 1))
        parts.append(graph.add("Mul", [graph.add_weighted(name, f"tokens.{name}", outputs), available]))
    graph.add("Sum", parts, "prediction")
    tokens = {f"tokens.{name}": (1, 1, WIDTH) for name in names}
    graph.save(path, {**tokens, "available": (1, 3)}, {"prediction": (1, outputs)})


def _save_window(path: Path, names: Sequence[str], outputs: int, lengths: Mapping[str, int] = WINDOWS) -> None:
    graph = _Graph()
    parts: list[str] = []
    inputs: dict[str, Sequence[int]] = {}
    prior = graph.constant("prior", np.full((1, 1, WIDTH), PRIOR, "f4"))
    count = graph.constant("count", np.full((1, 1, 1), PRIOR_COUNT, "f4"))
    for name in names:
        tokens = graph.add_pooling(name, (f"frames.{name}", f"valid.{name}", prior, count))
        parts.append(graph.add_weighted(name, tokens, outputs))
        inputs[f"frames.{name}"] = (1, lengths[name], DIMS[name])
        inputs[f"valid.{name}"] = (1, lengths[name])
    graph.add("Sum", parts, "prediction")
    graph.save(path, inputs, {"prediction": (1, outputs)})


def _save_graphs(folder: Path, names: Sequence[str], outputs: int, *, windows: bool) -> dict[GraphKey, str]:
    files: dict[GraphKey, str] = {}

    def add(key: GraphKey) -> Path:
        files[key] = f"graphs/{key.file_stem}.onnx"
        return folder / files[key]

    _save_fuse(add(GraphKey.fuse(names)), names, outputs)
    for name in names:
        _save_step(add(GraphKey.step(name)), name)
    for subset in subsets_of(names) if windows else ():
        _save_window(add(GraphKey.window(subset)), subset.modalities, outputs)
    if windows and "language" in names:
        _save_window(add(GraphKey.window(Subset.L, SHORT_WINDOW)), ["language"], outputs, {"language": SHORT_WINDOW})
    return files


def _save_golden(folder: Path, names: Sequence[str], outputs: int, *, error: float) -> None:
    arrays: dict[str, Any] = {}
    for subset in subsets_of(names):
        frames = {name: _random_frames(name, WINDOWS[name] - 1) for name in subset.modalities}
        arrays.update({f"{subset.value}/{name}": values for name, values in frames.items()})
        arrays[f"{subset.value}/prediction"] = (_predict(frames, outputs) + error).astype("f4")
    np.savez(folder / "golden.npz", **arrays)


def _random_frames(name: str, count: int, seed: int = 5) -> Array:
    rng = np.random.default_rng([seed, MODALITIES.index(name)])
    raw: Array = rng.normal(size=(count, DIMS[name])) * STD[name] + MEAN[name]
    return raw.astype("f4")


def _modality_spec(name: str) -> ModalitySpec:
    count, tokens = StateSpec("count", (1, 1, 1), PRIOR_COUNT), StateSpec("tokens", (1, 1, WIDTH), PRIOR)
    mean, std = tuple(MEAN[name].tolist()), tuple(STD[name].tolist())
    return ModalitySpec(DIMS[name], CHUNKS[name], WINDOWS[name], mean, std, (count, tokens))


def _seal(folder: Path, changes: Mapping[str, Any] | None = None) -> None:
    """Change fields of the manifest and write its digest."""
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **(changes or {})}), encoding="utf-8")
    (folder / "manifest.sha256").write_text(hashlib.sha256(path.read_bytes()).hexdigest() + "\n", encoding="utf-8")


@pytest.fixture(scope="session")
def make_bundle(tmp_path_factory: pytest.TempPathFactory) -> MakeBundle:
    """Write a bundle. Keyword arguments change its backends, task, modalities, graphs and golden predictions."""

    def make(
        *,
        backends: Sequence[str] = ("onnxruntime", "openvino"),
        task: TaskSpec = MOSI,
        names: Sequence[str] = MODALITIES,
        windows: bool = True,
        golden_error: float = 0.0,
    ) -> Path:
        folder = tmp_path_factory.mktemp("fake") / "bundle"
        files = _save_graphs(folder, names, task.outputs, windows=windows)
        _save_golden(folder, names, task.outputs, error=golden_error)
        specs = tuple(
            GraphSpec(backend, "fp32", "", key, file, 1e-6) for backend in backends for key, file in files.items()
        )
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        manifest = Manifest(
            schema=SCHEMA,
            name="fake",
            target="laptop-x86",
            profile={},
            task=task,
            modalities={name: _modality_spec(name) for name in names},
            language=None,
            backends=tuple(backends),
            precision=dict.fromkeys(backends, "fp32"),
            graphs=specs,
            accuracy={},
            provenance={},
            license="MIT",
            files={
                path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths
            },
        )
        (folder / "manifest.json").write_text(json.dumps(manifest.to_json()), encoding="utf-8")
        _seal(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def shared_bundle(make_bundle: MakeBundle) -> Path:
    """A bundle with all modalities. Tests must not change it."""
    return make_bundle()


@pytest.fixture
def bundle_path(make_bundle: MakeBundle) -> Path:
    """A bundle with language only, which a test may change."""
    return make_bundle(names=("language",))


@pytest.fixture(scope="session")
def seal() -> Callable[..., None]:
    """Change fields of a bundle's manifest and update its digest: `seal(folder, {"field": value})`."""
    return _seal


@pytest.fixture(scope="session")
def expected() -> Callable[..., Array]:
    """Compute the expected prediction for raw, valid frames with NumPy: `expected(frames, outputs)`."""
    return _predict


@pytest.fixture(scope="session")
def frames() -> Callable[..., Array]:
    """Create random raw frames of a modality: `frames(name, count, seed)`."""
    return _random_frames


class TensorRTStandIn:
    """Replaces TensorRT and CUDA by the modules in `stand_ins`. `cache` is an empty backend cache."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self._monkeypatch = monkeypatch
        self._log = folder / "stand_in.jsonl"
        self.cache = folder / "cache"
        monkeypatch.setenv("EDGE_MSA_CACHE", str(self.cache))
        monkeypatch.syspath_prepend(str(Path(__file__).parent / "stand_ins"))
        self.configure()

    def configure(self, **settings: Any) -> None:
        """Set how the stand-ins behave: their version, free memory, failures."""
        self._monkeypatch.setenv("EDGE_MSA_STAND_IN", json.dumps({"log": str(self._log), **settings}))
        self.unload()

    @property
    def cuda(self) -> Any:
        """The stand-in for the CUDA runtime in this process."""
        return sys.modules["cuda.bindings.runtime"]

    def events(self, name: str) -> list[Any]:
        """The values that any process logged under a name."""
        lines = self._log.read_text("utf-8").splitlines() if self._log.exists() else []
        return [value for event, value in map(json.loads, lines) if event == name]

    @staticmethod
    def unload() -> None:
        """Remove the modules, so that the next import applies new settings."""
        for name in [name for name in sys.modules if name.partition(".")[0] in {"tensorrt", "cuda"}]:
            del sys.modules[name]


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[TensorRTStandIn]:
    """A stand-in for TensorRT 10.3.0 on an Orin, with an empty cache."""
    yield TensorRTStandIn(monkeypatch, tmp_path)
    TensorRTStandIn.unload()


@pytest.fixture(scope="session")
def quantized_graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A graph x (1, 4) -> y (1, 2) with an int8 matrix product between Q/DQ nodes and a float bias."""
    graph = _Graph()
    scale, zero = graph.constant("scale", np.float32(0.05)), graph.constant("zero", np.int8(0))
    narrow = graph.add("DequantizeLinear", [graph.add("QuantizeLinear", ["x", scale, zero]), scale, zero])
    wide = graph.constant("w", np.arange(-4, 4, dtype="i1").reshape(4, 2))
    product = graph.add("MatMul", [narrow, graph.add("DequantizeLinear", [wide, scale, zero])])
    graph.add("Add", [product, graph.constant("bias", np.array([1, 2], "f4"))], "y")
    path = tmp_path_factory.mktemp("quantized") / "graph.onnx"
    graph.save(path, {"x": (1, 4)}, {"y": (1, 2)})
    return path
