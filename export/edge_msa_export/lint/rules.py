"""Every rule: how bad a hit is, for whose graphs, from and until which TensorRT, and the document that says so."""

from __future__ import annotations

from edge_msa_export.lint import (
    check_dla,
    check_int8_benefit,
    check_model,
    check_nodes,
    check_quantized,
    documents,
)
from edge_msa_export.lint.finding import NOTE, REFUSED, SLOW
from edge_msa_export.lint.rule import Rule

_ALL = ()

_MODEL = (
    Rule(
        "our-versions",
        REFUSED,
        "opset 17 and IR version 8, which all backends of the targets read",
        documents.ARCHITECTURE,
        check_model.our_versions,
        backends=_ALL,
        ours=True,
    ),
    Rule(
        "functions",
        REFUSED,
        "no local functions",
        documents.ARCHITECTURE,
        check_model.functions,
        backends=_ALL,
        ours=True,
    ),
    Rule(
        "local-path",
        REFUSED,
        "no paths of the machine that wrote it",
        documents.CONTRIBUTING,
        check_model.local_paths,
        backends=_ALL,
        ours=True,
    ),
    Rule(
        "named-axes",
        REFUSED,
        "every Reduce names its axes",
        documents.ARCHITECTURE,
        check_model.named_axes,
        backends=_ALL,
        ours=True,
    ),
    Rule(
        "static-shape",
        REFUSED,
        "fixed dimensions: backends are built without optimization profiles",
        documents.ARCHITECTURE,
        check_model.static_shapes,
        backends=_ALL,
    ),
    Rule(
        "true-opset",
        REFUSED,
        "nothing that the claimed opset does not have",
        documents.ONNX_CHANGELOG,
        check_model.true_opset,
        backends=_ALL,
    ),
    Rule("opset", REFUSED, "an opset that the parser reads", documents.OPERATORS_8_5, check_model.opset, until=(10,)),
    Rule("opset", REFUSED, "an opset that the parser reads", documents.OPSETS, check_model.opset, since=(10,)),
    Rule(
        "reduce-axes",
        REFUSED,
        "the axes of a Reduce are an attribute",
        documents.OPERATORS_8_5,
        check_model.axes_attribute,
        until=(10,),
    ),
    Rule(
        "reduce-axes",
        REFUSED,
        "the axes of a Reduce are constant",
        documents.OPERATORS,
        check_model.constant_axes,
        since=(10,),
    ),
    Rule(
        "external-weights",
        NOTE,
        "weights beside the graph are found by its path",
        documents.ONNX_EXTERNAL,
        check_model.external_weights,
    ),
    Rule(
        "strong-types",
        NOTE,
        "float16 must be in the graph, flags are gone",
        documents.STRONG_TYPES,
        check_model.strong_types,
        since=(11,),
    ),
)

_NODES = (
    Rule(
        "operator",
        REFUSED,
        "every operator has a kernel",
        documents.KERNELS,
        check_nodes.operator,
        backends=("onnxruntime", "openvino"),
    ),
    Rule("operator", REFUSED, "an importer for it", documents.OPERATORS_8_5, check_nodes.operator, until=(8, 6)),
    Rule("operator", REFUSED, "an importer for it", documents.CHANGELOG, check_nodes.operator, since=(8, 6)),
    Rule(
        "quantized-operator",
        REFUSED,
        "int8 as Q/DQ, not as operators",
        documents.OPERATORS,
        check_nodes.quantized_operator,
    ),
    Rule(
        "layer-norm-outputs",
        REFUSED,
        "the first output alone",
        documents.OPERATORS,
        check_nodes.layer_norm_outputs,
        since=(8, 6),
    ),
    Rule(
        "edge-type",
        REFUSED,
        "inputs and outputs that are bound as they are",
        documents.OPERATORS,
        check_nodes.edge_types,
    ),
    Rule("type", REFUSED, "types that it has", documents.OPERATORS, check_nodes.inner_types),
    Rule("double", NOTE, "float64 is cast down", documents.OPERATORS, check_nodes.double_constants),
    Rule("int64-edge", NOTE, "INT64 is bound as INT32", documents.CHANGELOG, check_nodes.int64_edges, until=(9, 0)),
    Rule("int64-range", REFUSED, "INT64 fits INT32", documents.OPERATORS_8_5, check_nodes.int64_range, until=(9, 0)),
)

_QUANTIZED = (
    Rule("scale", REFUSED, "scales are constant and positive", documents.EXPLICIT, check_quantized.scale),
    Rule("zero-point", REFUSED, "symmetric int8, zero point 0", documents.OPERATORS, check_quantized.zero_point),
    Rule("activation-scale", REFUSED, "one scale a tensor", documents.QUANTIZED, check_quantized.activation_scale),
    Rule("weight-axis", REFUSED, "a scale a channel that is given", documents.QUANTIZED, check_quantized.weight_axis),
    Rule("quantized-bias", REFUSED, "a bias stays float", documents.EXPLICIT, check_quantized.bias),
    Rule("qdq-pair", REFUSED, "every Q is read by a DQ", documents.EXPLICIT, check_quantized.pairs),
    Rule(
        "int8-weight",
        REFUSED,
        "weights are float behind a Q/DQ pair",
        documents.INT8_WEIGHTS,
        check_quantized.int8_weight,
        until=(10,),
    ),
)

_PLAN = (
    Rule("int8-vector", SLOW, "no int8 with m or n of 1", documents.SMALL_LAYERS, check_int8_benefit.vector_product),
    Rule("int8-small", SLOW, "no int8 below 16 channels", documents.SMALL_LAYERS, check_int8_benefit.small_layer),
    Rule("int8-float-layer", SLOW, "no Q/DQ before float layers", documents.EXPLICIT, check_int8_benefit.float_layers),
    Rule("int8-recurrent", SLOW, "GRU and LSTM stay float", documents.OPERATORS, check_int8_benefit.recurrent),
    Rule("int8-attention", SLOW, "attention stays float", documents.EXPLICIT, check_int8_benefit.attention),
    Rule("int8-residual", SLOW, "both sides of an Add, or neither", documents.RESIDUAL, check_int8_benefit.residual),
    Rule("int8-one-side", SLOW, "input and weight, or neither", documents.EXPLICIT, check_int8_benefit.one_sided),
)

_DLA = (
    Rule(
        "dla-version",
        REFUSED,
        "a TensorRT that drives the DLA",
        documents.DLA_VERSIONS,
        check_dla.version,
        since=(10, 8),
        until=(11, 4, 1),
        dla=True,
    ),
    Rule("dla-board", NOTE, "AGX Orin alone", documents.DLA_VERSIONS, check_dla.board, since=(11, 4, 1), dla=True),
    Rule("dla-precision", SLOW, "float16 or int8", documents.DLA_LAYERS, check_dla.precision, dla=True),
    Rule("dla-qdq", SLOW, "implicit scales", documents.DLA_QUANTIZED, check_dla.quantizers, until=(11,), dla=True),
    Rule("dla-operator", SLOW, "an operator of the DLA", documents.DLA_OPERATORS, check_dla.operator, dla=True),
    Rule("dla-product", SLOW, "a constant factor", documents.DLA_OPERATORS, check_dla.constant_weights, dla=True),
    Rule("dla-size", SLOW, "sizes that fit", documents.DLA_LAYERS, check_dla.sizes, dla=True),
)

RULES = (*_MODEL, *_NODES, *_QUANTIZED, *_PLAN, *_DLA)
