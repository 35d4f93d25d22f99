from __future__ import annotations

from edge_msa.quantization.calibration_files import Calibration
from edge_msa.quantization.plan_summary import summarize_plan
from edge_msa_export.int8_layers import representative_keys
from edge_msa_runtime.bundle.manifest import GraphKey
from edge_msa_runtime.modalities import Subset
from tests.unit.calibrate.graphs import EncoderRecipe, GraphMaker

L, LA, STEP = GraphKey.window(Subset.L), GraphKey.window(Subset.LA), GraphKey.step("audio")


def test_representative_graphs_are_the_largest_of_each_role() -> None:
    encoders = [GraphKey.text_encoder(length) for length in (16, 64, 32)]
    assert representative_keys([STEP, L, LA, GraphKey.window(Subset.L, 16)]) == (LA,)
    assert representative_keys([*encoders, LA, L]) == (LA, GraphKey.text_encoder(64))


def test_summary_gives_the_precision_and_reason_of_each_node() -> None:
    maker = GraphMaker(EncoderRecipe({"audio": 20}))
    key = GraphKey.window(Subset.A)
    ranges = {f"encoders.audio.{name}.weight:input": (-1.0, 1.0) for name in ("embed", "blocks.0", "blocks.1")}
    calibration = Calibration(ranges, fp32_weights={"tensorrt": {"encoders.audio.embed.weight": "too coarse"}})
    graphs = {key: maker.window(9), STEP: maker.step("audio", 3)}
    by_scheme = {
        scheme: {node.node: (node.int8, node.reason) for node in summarize_plan(graphs, scheme, calibration)}
        for scheme in ("tensorrt", "openvino-x86")
    }
    node = "node_w0_embedded (encoders.audio.embed.weight)"
    assert by_scheme["tensorrt"][node] == (False, "too coarse")
    assert by_scheme["openvino-x86"][node] == (True, "20 -> 16 channels")
    assert by_scheme["tensorrt"]["node_tokens.audio"] == (False, "attention is sensitive to rounding")
