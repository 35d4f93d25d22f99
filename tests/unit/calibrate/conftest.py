from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx
import onnxruntime
import pytest

from edge_msa_runtime.bundle.manifest import GraphKey
from edge_msa_runtime.modalities import Subset
from tests.unit.calibrate.graphs import FRAMES, Array, EncoderRecipe, GraphMaker, TextEncoderMaker, window_sample


@pytest.fixture(scope="session")
def maker() -> GraphMaker:
    return GraphMaker(EncoderRecipe({"language": 24, "audio": 20}))


@pytest.fixture(scope="session")
def narrow_maker() -> GraphMaker:
    return GraphMaker(EncoderRecipe({"audio": 5}))


@pytest.fixture(scope="session")
def text_encoders() -> TextEncoderMaker:
    return TextEncoderMaker()


@pytest.fixture(scope="session")
def window_graphs(maker: GraphMaker) -> dict[GraphKey, onnx.ModelProto]:
    """Window graphs of FRAMES frames."""
    return {
        GraphKey.window(subset): maker.window(FRAMES, subset.modalities) for subset in (Subset.L, Subset.A, Subset.LA)
    }


@pytest.fixture
def window_samples(maker: GraphMaker) -> Callable[[], list[dict[str, Array]]]:
    """Return samples of subsets `la`, `a`, `l` and `la`, the same at every call."""
    counts = ({"language": 12, "audio": 5}, {"audio": 9}, {"language": 1}, {"language": 3, "audio": 12})
    return lambda: [window_sample(item, maker.recipe.dims, seed) for seed, item in enumerate(counts)]


@pytest.fixture
def run() -> Callable[..., dict[str, Array]]:
    """Run a graph in ONNX Runtime. With `plain`, without its optimizations, so that every Q/DQ pair is computed."""

    def run_graph(model: onnx.ModelProto, inputs: Mapping[str, Array], *, plain: bool = False) -> dict[str, Array]:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        if plain:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        names = [value.name for value in session.get_outputs()]
        return dict(zip(names, session.run(names, dict(inputs)), strict=True))

    return run_graph
