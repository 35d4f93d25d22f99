from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Callable, Iterator

import numpy as np
import pytest

from tests.unit.runtime import fake_bundles, toy_text
from tests.unit.runtime.fake_bundles import Array, GraphBuilder

MakeBundle = Callable[..., Path]


@pytest.fixture(scope="session")
def make_bundle(tmp_path_factory: pytest.TempPathFactory) -> MakeBundle:
    """Write a bundle and return its folder; see `fake_bundles.write_bundle`."""

    def make(**options: Any) -> Path:
        folder = tmp_path_factory.mktemp("fake") / "bundle"
        fake_bundles.write_bundle(folder, **options)
        return folder

    return make


@pytest.fixture(scope="session")
def make_text_bundle(make_bundle: MakeBundle) -> Callable[..., Path]:
    """Write a bundle of language and audio whose text encoder is a `table` or an `encoder` that reads a context."""

    def make(text_encoder: str, context: int = 0) -> Path:
        folder = make_bundle(names=("language", "audio"))
        toy_text.add_text_encoder(folder, text_encoder, context)
        return folder

    return make


@pytest.fixture(scope="session")
def shared_bundle(make_bundle: MakeBundle) -> Path:
    """The default bundle, for tests that do not change it."""
    return make_bundle()


@pytest.fixture
def bundle_path(make_bundle: MakeBundle) -> Path:
    """A bundle of language alone, for tests that change it."""
    return make_bundle(names=("language",))


@pytest.fixture(scope="session")
def seal() -> Callable[..., None]:
    """Change fields of a bundle's manifest and write its digest: `seal(folder, changes)`."""
    return fake_bundles.seal


@pytest.fixture(scope="session")
def expected() -> Callable[..., Array]:
    """The prediction (outputs,) of raw, valid frames: `expected(frames, outputs)`."""
    return fake_bundles.reference_prediction


@pytest.fixture(scope="session")
def frames() -> Callable[..., Array]:
    """Raw frames of a modality: `frames(name, count, seed)`."""
    return fake_bundles.random_frames


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
    """A graph x (1, 4) -> y (1, 2): an int8 product between Q/DQ nodes, and a float sum."""
    graph = GraphBuilder()
    scale, zero = graph.constant("scale", np.float32(0.05)), graph.constant("zero", np.int8(0))
    narrow = graph.add("DequantizeLinear", [graph.add("QuantizeLinear", ["x", scale, zero]), scale, zero])
    wide = graph.constant("w", np.arange(-4, 4, dtype="i1").reshape(4, 2))
    product = graph.add("MatMul", [narrow, graph.add("DequantizeLinear", [wide, scale, zero])])
    graph.add("Add", [product, graph.constant("bias", np.array([1, 2], "f4"))], "y")
    path = tmp_path_factory.mktemp("quantized") / "graph.onnx"
    graph.save(path, {"x": (1, 4)}, {"y": (1, 2)})
    return path
