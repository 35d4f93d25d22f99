from __future__ import annotations

import json

from edge_msa_runtime.backends.tensorrt.layer_precisions import count_layers_by_precision, int8_remark


def test_layers_count_for_their_lowest_input_precision() -> None:
    joined = "Format/Datatype"
    layers = [
        {
            "LayerType": "CaskConvolution",
            "Inputs": [{joined: "Thirty-two wide channel vectorized row major Int8 format."}],
        },
        {"LayerType": "gemm", "Inputs": [{joined: "Half"}], "Weights": {"Type": "Int8", "Count": 9}},
        {"LayerType": "MatrixMultiply", "Inputs": [{joined: "Row major linear FP16 format"}, {joined: "Float"}]},
        {"LayerType": "Myelin", "Inputs": [{"DataType": "Float", "Format": "Row major linear FP32 format (kLINEAR)"}]},
        {"LayerType": "Reformat", "Inputs": [{joined: "Row major Int8 format"}]},
        {"LayerType": "Gather", "Inputs": [{joined: "Row major Int32 format"}]},
        {"LayerType": "Constant", "Inputs": []},
        "only a name, because the plan was built without details",
    ]
    counts = count_layers_by_precision(json.dumps({"Layers": layers, "Bindings": ["x"]}))
    assert counts == {"int8": 2, "fp16": 1, "fp32": 1, "other": 4}


def test_few_int8_layers_cause_a_remark() -> None:
    assert int8_remark({"int8": 6, "fp16": 6, "other": 90}, quantized=4) == ""
    assert "only 1 of 10 layers run in int8" in int8_remark({"int8": 1, "fp16": 7, "fp32": 2}, quantized=4)
    assert "none of 9 layers run in int8" in int8_remark({"int8": 0, "fp16": 9}, quantized=4)
    assert "does not report the precisions" in int8_remark({"int8": 0, "other": 9}, quantized=4)
    assert int8_remark({"int8": 0, "fp32": 9}, quantized=0) == "no layer of this graph is quantized"
