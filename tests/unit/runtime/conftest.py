"""A small bundle whose graphs are easy to follow: relu(frames @ W) averaged with a prior frame, then a weighted sum."""

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
Reference = Callable[..., Array]

WIDTH, PRIOR_COUNT, PRIOR = 3, 1.0, 0.5
DIMS = {"language": 4, "audio": 2, "vision": 3}
CHUNKS = {"language": 4, "audio": 5, "vision": 3}
WINDOWS = {"language": 12, "audio": 15, "vision": 10}
SHORT = 5  # frames of a shorter window graph of language
MOSI = TaskSpec("mosi", 1, ("negative", "neutral", "positive"), (-0.5, 0.5))
RNG = np.random.default_rng(11)
PROJECT = {name: RNG.normal(size=(dim, WIDTH)).astype("f4") for name, dim in DIMS.items()}
WEIGHTS = {name: RNG.normal(size=(WIDTH, 2)).astype("f4") for name in DIMS}
MEAN = {name: RNG.normal(size=dim).astype("f4") for name, dim in DIMS.items()}
STD = {name: RNG.uniform(0.5, 2, size=dim).astype("f4") for name, dim in DIMS.items()}


def _read(frames: Mapping[str, Array], outputs: int = 1) -> Array:
    """The prediction (outputs,) of raw, valid frames, in float64."""
    total = np.zeros(outputs)
    for name, values in frames.items():
        features = np.maximum((values.astype("f8") - MEAN[name]) / STD[name] @ PROJECT[name].astype("f8"), 0)
        pooled = (features.sum(axis=0) + PRIOR_COUNT * PRIOR) / (len(values) + PRIOR_COUNT)
        total = total + pooled @ WEIGHTS[name][:, :outputs].astype("f8")
    return total


class _Graph:
    """Nodes as they are added; `add` gives the output's name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: Any) -> str:
        if name not in {constant.name for constant in self.constants}:
            self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def add(self, kind: str, inputs: Sequence[str], output: str = "") -> str:
        name = output or f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name]))
        return name

    def pooled(self, name: str, given: tuple[str, str, str, str], outputs: tuple[str, str] = ("", "")) -> str:
        """The new tokens of frames, valid, tokens, count."""
        frames, valid, tokens, count = given
        last, middle = self.constant("last", np.array([2])), self.constant("middle", np.array([1]))
        features = self.add("Relu", [self.add("MatMul", [frames, self.constant(f"{name}.project", PROJECT[name])])])
        mask = self.add("Unsqueeze", [valid, last])
        total = self.add("ReduceSum", [self.add("Mul", [features, mask]), middle])
        after = self.add("Add", [count, self.add("ReduceSum", [mask, middle])], outputs[1])
        return self.add("Div", [self.add("Add", [self.add("Mul", [tokens, count]), total]), after], outputs[0])

    def weighted(self, name: str, tokens: str, outputs: int) -> str:
        flat = self.add("Squeeze", [tokens, self.constant("squeezed", np.array([1]))])
        return self.add("MatMul", [flat, self.constant(f"{name}.weight", WEIGHTS[name][:, :outputs])])

    def save(self, path: Path, inputs: Mapping[str, Sequence[int]], outputs: Mapping[str, Sequence[int]]) -> None:
        told = [
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in puts.items()]
            for puts in (inputs, outputs)
        ]
        graph = helper.make_graph(self.nodes, "fake", told[0], told[1], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model, full_check=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(model, path)


def _step(path: Path, name: str) -> None:
    graph, tokens, count = _Graph(), (1, 1, WIDTH), (1, 1, 1)
    graph.pooled(name, ("frames", "valid", "state.tokens", "state.count"), ("next.tokens", "next.count"))
    frames = {"frames": (1, CHUNKS[name], DIMS[name]), "valid": (1, CHUNKS[name])}
    states = {"state.count": count, "state.tokens": tokens}
    graph.save(path, {**frames, **states}, {"next.count": count, "next.tokens": tokens})


def _fuse(path: Path, names: Sequence[str], outputs: int) -> None:
    graph, parts = _Graph(), []
    for name in names:
        column = graph.constant(f"{name}.column", np.array([MODALITIES.index(name)]))
        there = graph.add("Gather", ["available", column])
        graph.nodes[-1].attribute.append(helper.make_attribute("axis", 1))
        parts.append(graph.add("Mul", [graph.weighted(name, f"tokens.{name}", outputs), there]))
    graph.add("Sum", parts, "prediction")
    tokens = {f"tokens.{name}": (1, 1, WIDTH) for name in names}
    graph.save(path, {**tokens, "available": (1, 3)}, {"prediction": (1, outputs)})


def _window(path: Path, names: Sequence[str], outputs: int, lengths: Mapping[str, int] = WINDOWS) -> None:
    graph = _Graph()
    parts: list[str] = []
    inputs: dict[str, Sequence[int]] = {}
    prior = graph.constant("prior", np.full((1, 1, WIDTH), PRIOR, "f4"))
    count = graph.constant("count", np.full((1, 1, 1), PRIOR_COUNT, "f4"))
    for name in names:
        tokens = graph.pooled(name, (f"frames.{name}", f"valid.{name}", prior, count))
        parts.append(graph.weighted(name, tokens, outputs))
        inputs[f"frames.{name}"] = (1, lengths[name], DIMS[name])
        inputs[f"valid.{name}"] = (1, lengths[name])
    graph.add("Sum", parts, "prediction")
    graph.save(path, inputs, {"prediction": (1, outputs)})


def _graphs(folder: Path, names: Sequence[str], outputs: int, *, windows: bool) -> dict[GraphKey, str]:
    files: dict[GraphKey, str] = {}

    def add(key: GraphKey) -> Path:
        files[key] = f"graphs/{key.file_stem}.onnx"
        return folder / files[key]

    _fuse(add(GraphKey.fuse(names)), names, outputs)
    for name in names:
        _step(add(GraphKey.step(name)), name)
    for subset in subsets_of(names) if windows else ():
        _window(add(GraphKey.window(subset)), subset.modalities, outputs)
    if windows and "language" in names:
        _window(add(GraphKey.window(Subset.L, SHORT)), ["language"], outputs, {"language": SHORT})
    return files


def _golden(folder: Path, names: Sequence[str], outputs: int, *, error: float) -> None:
    arrays: dict[str, Any] = {}
    for subset in subsets_of(names):
        frames = {name: _frames(name, WINDOWS[name] - 1) for name in subset.modalities}
        arrays.update({f"{subset.value}/{name}": values for name, values in frames.items()})
        arrays[f"{subset.value}/prediction"] = (_read(frames, outputs) + error).astype("f4")
    np.savez(folder / "golden.npz", **arrays)


def _frames(name: str, count: int, seed: int = 5) -> Array:
    rng = np.random.default_rng([seed, MODALITIES.index(name)])
    raw: Array = rng.normal(size=(count, DIMS[name])) * STD[name] + MEAN[name]
    return raw.astype("f4")


def _modality(name: str) -> ModalitySpec:
    count, tokens = StateSpec("count", (1, 1, 1), PRIOR_COUNT), StateSpec("tokens", (1, 1, WIDTH), PRIOR)
    mean, std = tuple(MEAN[name].tolist()), tuple(STD[name].tolist())
    return ModalitySpec(DIMS[name], CHUNKS[name], WINDOWS[name], mean, std, (count, tokens))


def _seal(folder: Path, changes: Mapping[str, Any] | None = None) -> None:
    """Write the digest of the manifest, after changing some of its keys."""
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **(changes or {})}), encoding="utf-8")
    (folder / "manifest.sha256").write_text(hashlib.sha256(path.read_bytes()).hexdigest() + "\n", encoding="utf-8")


@pytest.fixture(scope="session")
def make_bundle(tmp_path_factory: pytest.TempPathFactory) -> MakeBundle:
    """Write a bundle; the keywords say in what it differs from the usual one."""

    def make(
        *,
        backends: Sequence[str] = ("onnxruntime", "openvino"),
        task: TaskSpec = MOSI,
        names: Sequence[str] = MODALITIES,
        windows: bool = True,
        golden_error: float = 0.0,
    ) -> Path:
        folder = tmp_path_factory.mktemp("fake") / "bundle"
        files = _graphs(folder, names, task.outputs, windows=windows)
        _golden(folder, names, task.outputs, error=golden_error)
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
            modalities={name: _modality(name) for name in names},
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
    """The usual bundle, for tests that leave it as it is."""
    return make_bundle()


@pytest.fixture
def bundle_path(make_bundle: MakeBundle) -> Path:
    """The usual bundle, to be spoilt."""
    return make_bundle(names=("language",))


@pytest.fixture(scope="session")
def seal() -> Callable[..., None]:
    """Change keys of a bundle's manifest and digest it anew, as only its writer could."""
    return _seal


@pytest.fixture(scope="session")
def expected() -> Reference:
    """The prediction of raw, valid frames, by NumPy alone."""
    return _read


@pytest.fixture(scope="session")
def frames() -> Callable[..., Array]:
    """Raw frames of a modality: `frames(name, count, seed)`."""
    return _frames


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
    """A graph x (1, 4) -> y (1, 2): a product in int8 by Q/DQ nodes, and a sum in float."""
    graph = _Graph()
    scale, zero = graph.constant("scale", np.float32(0.05)), graph.constant("zero", np.int8(0))
    narrow = graph.add("DequantizeLinear", [graph.add("QuantizeLinear", ["x", scale, zero]), scale, zero])
    wide = graph.constant("w", np.arange(-4, 4, dtype="i1").reshape(4, 2))
    product = graph.add("MatMul", [narrow, graph.add("DequantizeLinear", [wide, scale, zero])])
    graph.add("Add", [product, graph.constant("bias", np.array([1, 2], "f4"))], "y")
    path = tmp_path_factory.mktemp("quantized") / "graph.onnx"
    graph.save(path, {"x": (1, 4)}, {"y": (1, 2)})
    return path
