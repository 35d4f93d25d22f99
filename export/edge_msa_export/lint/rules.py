"""Every rule of the lint: its severity, the backends and TensorRT versions it applies to, and its source document."""

from __future__ import annotations

from edge_msa_export.lint import check_dla, check_int8_benefit, check_model, check_nodes, check_qdq
from edge_msa_export.lint.rule import ERROR, NOTE, WARNING, Rule

_TENSORRT = "https://docs.nvidia.com/deeplearning/tensorrt"
_ONNX_TENSORRT = "https://github.com/onnx/onnx-tensorrt/blob"
_ONNX = "https://github.com/onnx/onnx/blob/main/docs"
_DLA_REPOSITORY = "https://github.com/NVIDIA/Deep-Learning-Accelerator-SW/blob/main"

TENSORRT_8_5_OPERATORS = f"{_ONNX_TENSORRT}/release/8.5-GA/docs/operators.md"
TENSORRT_OPERATORS = f"{_ONNX_TENSORRT}/main/docs/operators.md"
TENSORRT_CHANGELOG = f"{_ONNX_TENSORRT}/main/docs/Changelog.md"
TENSORRT_OPSETS = f"{_TENSORRT}/latest/reference/onnx-opset-guide.html"
EXPLICIT_QUANTIZATION = f"{_TENSORRT}/latest/inference-library/quantized-types-explicit-quantization.html"
QUANTIZED_TYPES = f"{_TENSORRT}/latest/inference-library/work-quantized-types.html"
RESIDUAL_QDQ = f"{_TENSORRT}/tensorflow-quantization-toolkit/docs/docs/add_custom_qdq_cases.html"
INT8_CONSTANTS = "https://github.com/NVIDIA/TensorRT/issues/2163"
STRONG_TYPING = f"{_TENSORRT}/11.0.0/api/migration/tensorrt-10x-to-11x.html"
DLA_VERSIONS = f"{_TENSORRT}/11.4.1/inference-library/work-with-dla.html"
DLA_LAYERS = f"{_TENSORRT}/latest/inference-library/dla-layer-restrictions.html"
DLA_OPERATORS = f"{_DLA_REPOSITORY}/operators/README.md"
DLA_QDQ = f"{_DLA_REPOSITORY}/tools/qdq-translator/README.md"
# NVIDIA's quantizer lists the layers that it leaves in float, with the reasons.
SMALL_LAYERS = (
    "https://github.com/NVIDIA/TensorRT-Model-Optimizer/tree/main/modelopt/onnx/quantization "
    "(find_nodes_from_matmul_to_exclude, find_nodes_from_convs_to_exclude)"
)
ONNX_IR = f"{_ONNX}/IR.md"
ONNX_CHANGELOG = f"{_ONNX}/Changelog.md"
ONNX_EXTERNAL_DATA = f"{_ONNX}/ExternalData.md"
KERNELS = (
    "https://github.com/microsoft/onnxruntime/blob/main/docs/OperatorKernels.md; "
    "https://docs.openvino.ai (Supported Operations, ONNX)"
)
ARCHITECTURE = "docs/explanation/architecture.md"
CONTRIBUTING = "CONTRIBUTING.md"

_ALL_BACKENDS = ()

_MODEL_RULES = (
    Rule(
        "exported-opset",
        ERROR,
        "opset 17 and IR version 8, which every backend supports",
        ARCHITECTURE,
        check_model.exported_versions,
        backends=_ALL_BACKENDS,
        project_only=True,
    ),
    Rule(
        "local-function",
        ERROR,
        "no local functions",
        ARCHITECTURE,
        check_model.local_functions,
        backends=_ALL_BACKENDS,
        project_only=True,
    ),
    Rule(
        "local-path",
        ERROR,
        "no paths of the machine that wrote the graph",
        CONTRIBUTING,
        check_model.local_paths,
        backends=_ALL_BACKENDS,
        project_only=True,
    ),
    Rule(
        "explicit-axes",
        ERROR,
        "explicit axes for every Reduce",
        ARCHITECTURE,
        check_model.explicit_axes,
        backends=_ALL_BACKENDS,
        project_only=True,
    ),
    Rule(
        "static-shape",
        ERROR,
        "fixed dimensions, because graphs are built without optimization profiles",
        ARCHITECTURE,
        check_model.static_shapes,
        backends=_ALL_BACKENDS,
    ),
    Rule(
        "opset-schema",
        ERROR,
        "only operators, attributes and inputs of the declared opset",
        ONNX_CHANGELOG,
        check_model.opset_schema,
        backends=_ALL_BACKENDS,
    ),
    Rule(
        "opset-version",
        ERROR,
        "an opset that the parser supports",
        TENSORRT_8_5_OPERATORS,
        check_model.opset_version,
        until=(10,),
    ),
    Rule(
        "opset-version",
        ERROR,
        "an opset that the parser supports",
        TENSORRT_OPSETS,
        check_model.opset_version,
        since=(10,),
    ),
    Rule(
        "reduce-axes",
        ERROR,
        "the axes of a Reduce as an attribute",
        TENSORRT_8_5_OPERATORS,
        check_model.axes_attribute,
        until=(10,),
    ),
    Rule(
        "reduce-axes",
        ERROR,
        "constant axes for every Reduce",
        TENSORRT_OPERATORS,
        check_model.constant_axes,
        since=(10,),
    ),
    Rule(
        "external-weights",
        NOTE,
        "loading by path when weights are in a separate file",
        ONNX_EXTERNAL_DATA,
        check_model.external_weights,
    ),
    Rule(
        "strong-typing",
        NOTE,
        "float16 in the graph, because the flag was removed",
        STRONG_TYPING,
        check_model.strong_typing,
        since=(11,),
    ),
)

_NODE_RULES = (
    Rule(
        "operator",
        ERROR,
        "operators that the backend has kernels for",
        KERNELS,
        check_nodes.operator,
        backends=("onnxruntime", "openvino"),
    ),
    Rule(
        "operator",
        ERROR,
        "operators that the parser can import",
        TENSORRT_8_5_OPERATORS,
        check_nodes.operator,
        until=(8, 6),
    ),
    Rule(
        "operator",
        ERROR,
        "operators that the parser can import",
        TENSORRT_CHANGELOG,
        check_nodes.operator,
        since=(8, 6),
    ),
    Rule(
        "integer-operator",
        ERROR,
        "int8 as Q/DQ, not as integer operators",
        TENSORRT_OPERATORS,
        check_nodes.integer_operator,
    ),
    Rule(
        "layer-norm-outputs",
        ERROR,
        "LayerNormalization with one output",
        TENSORRT_OPERATORS,
        check_nodes.layer_norm_outputs,
        since=(8, 6),
    ),
    Rule("io-type", ERROR, "inputs and outputs of supported types", TENSORRT_OPERATORS, check_nodes.io_types),
    Rule("tensor-type", ERROR, "tensors of supported types", TENSORRT_OPERATORS, check_nodes.inner_types),
    Rule("float64", NOTE, "float32 instead of float64", TENSORRT_OPERATORS, check_nodes.float64_constants),
    Rule("int64-io", NOTE, "int32 arrays for INT64 inputs", TENSORRT_CHANGELOG, check_nodes.int64_io, until=(9, 0)),
    Rule(
        "int64-range",
        ERROR,
        "INT64 constants within int32",
        TENSORRT_8_5_OPERATORS,
        check_nodes.int64_range,
        until=(9, 0),
    ),
)

_QDQ_RULES = (
    Rule("scale", ERROR, "constant, positive scales", EXPLICIT_QUANTIZATION, check_qdq.scale),
    Rule("zero-point", ERROR, "symmetric int8 with zero point 0", TENSORRT_OPERATORS, check_qdq.zero_point),
    Rule("activation-scale", ERROR, "one scale per activation", QUANTIZED_TYPES, check_qdq.activation_scale),
    Rule("weight-axis", ERROR, "weight scales per output channel", QUANTIZED_TYPES, check_qdq.weight_axis),
    Rule("quantized-bias", ERROR, "float biases", EXPLICIT_QUANTIZATION, check_qdq.bias),
    Rule("qdq-pair", ERROR, "a DQ after every Q", EXPLICIT_QUANTIZATION, check_qdq.pairs),
    Rule(
        "int8-constant",
        ERROR,
        "float weights behind a Q/DQ pair",
        INT8_CONSTANTS,
        check_qdq.int8_constant,
        until=(10,),
    ),
)

_INT8_BENEFIT_RULES = (
    Rule("int8-vector", WARNING, "no int8 matrix-vector products", SMALL_LAYERS, check_int8_benefit.vector_product),
    Rule("int8-small", WARNING, "no int8 below 16 channels", SMALL_LAYERS, check_int8_benefit.small_layer),
    Rule(
        "int8-float-layer",
        WARNING,
        "no Q/DQ before float layers",
        EXPLICIT_QUANTIZATION,
        check_int8_benefit.float_layers,
    ),
    Rule("int8-recurrent", WARNING, "GRU and LSTM in float", TENSORRT_OPERATORS, check_int8_benefit.recurrent),
    Rule("int8-attention", WARNING, "attention in float", EXPLICIT_QUANTIZATION, check_int8_benefit.attention),
    Rule("int8-residual", WARNING, "Q/DQ on both inputs of an Add or none", RESIDUAL_QDQ, check_int8_benefit.residual),
    Rule(
        "int8-one-sided",
        WARNING,
        "Q/DQ on both input and weight or neither",
        EXPLICIT_QUANTIZATION,
        check_int8_benefit.one_sided,
    ),
)

_DLA_RULES = (
    Rule(
        "dla-version",
        ERROR,
        "a TensorRT version that supports the DLA",
        DLA_VERSIONS,
        check_dla.version,
        since=(10, 8),
        until=(11, 4, 1),
        dla=True,
    ),
    Rule("dla-board", NOTE, "AGX Orin", DLA_VERSIONS, check_dla.board, since=(11, 4, 1), dla=True),
    Rule("dla-precision", WARNING, "float16 or int8", DLA_LAYERS, check_dla.precision, dla=True),
    Rule("dla-qdq", WARNING, "implicit scales", DLA_QDQ, check_dla.quantizers, until=(11,), dla=True),
    Rule("dla-operator", WARNING, "operators of the DLA", DLA_OPERATORS, check_dla.operator, dla=True),
    Rule("dla-product", WARNING, "one constant factor", DLA_OPERATORS, check_dla.constant_weights, dla=True),
    Rule("dla-size", WARNING, "sizes within the limits", DLA_LAYERS, check_dla.sizes, dla=True),
)

RULES = (*_MODEL_RULES, *_NODE_RULES, *_QDQ_RULES, *_INT8_BENEFIT_RULES, *_DLA_RULES)
