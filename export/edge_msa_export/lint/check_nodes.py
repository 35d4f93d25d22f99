"""Checks of operators and types: what a backend supports at its version."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from edge_msa_export.lint.graph_view import QUANTIZERS, GraphView
from edge_msa_export.lint.rule import Matches
from edge_msa_export.lint.target import LintTarget, Version, format_version


def _split_names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# The operators of students and text encoders. ONNX Runtime and OpenVINO support all of them at opset 17:
# ONNX Runtime docs/OperatorKernels.md (CPU), OpenVINO "Supported Operations" (ONNX).
_COMMON = _split_names(
    """
    Abs Add AveragePool BatchNormalization Cast Clip Concat Constant Conv DequantizeLinear Div Erf Exp Expand Flatten
    GRU Gather GatherElements Gemm GlobalAveragePool Identity LSTM LayerNormalization LeakyRelu Log MatMul Max MaxPool
    Min Mul Neg Pow QuantizeLinear ReduceMax ReduceMean ReduceMin ReduceSum Relu Reshape Sigmoid Slice Softmax Split
    Sqrt Squeeze Sub Tanh Transpose Unsqueeze Where
    """
)

# Every operator marked Y in docs/operators.md of onnx-tensorrt, release/8.5-GA.
_TENSORRT_8_5 = _split_names(
    """
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast Ceil Celu Clip Concat
    Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum DepthToSpace DequantizeLinear Div Dropout Einsum Elu
    Equal Erf Exp Expand EyeLike Flatten Floor GRU Gather GatherElements GatherND Gemm GlobalAveragePool GlobalLpPool
    GlobalMaxPool Greater GreaterOrEqual GridSample HardSigmoid HardSwish Identity If InstanceNormalization IsNaN LRN
    LSTM LeakyRelu Less LessOrEqual Log LogSoftmax Loop LpNormalization LpPool MatMul Max MaxPool Mean
    MeanVarianceNormalization Min Mod Mul Neg NonMaxSuppression NonZero Not OneHot Or PRelu Pad Pow QuantizeLinear RNN
    RandomNormal RandomNormalLike RandomUniform RandomUniformLike Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum
    ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize
    ReverseSequence RoiAlign Round Scan Scatter ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size
    Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh ThresholdedRelu Tile TopK
    Transpose Trilu Unsqueeze Upsample Where Xor
    """
)

# TensorRT version that added each operator, from docs/Changelog.md of onnx-tensorrt. The operators at 10.15 appear in
# the table of that version, and no document says when they were added.
_ADDED_IN: dict[str, Version] = {
    "GroupNormalization": (8, 6),
    "IsInf": (8, 6),
    "LayerNormalization": (8, 6),
    "Hardmax": (9, 2),
    "DeformConv": (10, 1),
    "Gelu": (10, 1),
    "BlackmanWindow": (10, 4),
    "HammingWindow": (10, 4),
    "HannWindow": (10, 4),
    "STFT": (10, 5),
    "Attention": (10, 15),
    "CastLike": (10, 15),
    "Mish": (10, 15),
    "RMSNormalization": (10, 15),
    "RotaryEmbedding": (10, 15),
}

# Operators of ONNX Runtime's dynamic and QOperator models, which no TensorRT version supports.
_INTEGER_OPERATORS = _split_names(
    """
    ConvInteger DynamicQuantizeLinear DynamicQuantizeLSTM DynamicQuantizeMatMul MatMulInteger MatMulIntegerToFloat
    QAttention QGemm QLinearAdd QLinearAveragePool QLinearConcat QLinearConv QLinearGlobalAveragePool QLinearLeakyRelu
    QLinearMatMul QLinearMul QLinearReduceMean QLinearSigmoid QLinearSoftmax
    """
)

# TensorRT version that supports each type. The keys are names because older versions of onnx lack some of the types.
_TYPES: dict[str, Version] = {
    **dict.fromkeys(("FLOAT", "FLOAT16", "DOUBLE", "INT8", "INT32", "INT64", "BOOL"), (8, 5)),
    "BFLOAT16": (9, 0),
    "FLOAT8E4M3FN": (9, 0),
    "INT4": (10, 0),
    "FLOAT4E2M1": (10, 15),
}
_INT32 = np.iinfo(np.int32)
_PASS_THROUGH = ("Constant", "Identity", "Cast")


def operator(view: GraphView, target: LintTarget) -> Matches:
    """Require operators that the backend supports at its version."""
    supported = _list_supported_operators(target)
    for node in view.nodes:
        if node.op_type in _INTEGER_OPERATORS and target.backend == "tensorrt":
            continue  # `integer_operator` reports them, with a fix
        if node.domain in ("", "ai.onnx") and node.op_type in supported:
            continue
        name = f"{node.domain}:{node.op_type}" if node.domain else node.op_type
        since = _ADDED_IN.get(node.op_type) if target.backend == "tensorrt" and not node.domain else None
        hint = f"; it was added in {format_version(since)}" if since else ""
        yield view.describe(node), f"{target} does not support operator {name}{hint}."


def integer_operator(view: GraphView, target: LintTarget) -> Matches:
    """Require int8 as Q/DQ, not as operators that compute in int8."""
    for node in view.nodes:
        if node.op_type in _INTEGER_OPERATORS:
            fix = "Quantize with QuantizeLinear and DequantizeLinear (QDQ) instead."
            yield view.describe(node), f"{target} does not support operator {node.op_type}. {fix}"


def layer_norm_outputs(view: GraphView, target: LintTarget) -> Matches:
    """Require that only the first output of a LayerNormalization is used."""
    for node in view.nodes:
        if node.op_type == "LayerNormalization" and sum(bool(name) for name in node.output) > 1:
            yield view.describe(node), f"Returns the mean or deviation too; {target} supports the first output only."


def io_types(view: GraphView, target: LintTarget) -> Matches:
    """Require inputs and outputs of types that the backend binds unchanged."""
    for value in (*view.graph.input, *view.graph.output):
        kind = value.type.tensor_type.elem_type
        name = TensorProto.DataType.Name(kind)
        if kind == TensorProto.DOUBLE:
            yield value.name, f"Is DOUBLE, which {target} binds as float32; float64 values would be misinterpreted."
        elif kind != TensorProto.UINT8 and not _supports_type(kind, target):
            yield value.name, f"{target} does not support inputs and outputs of type {name}."


def inner_types(view: GraphView, target: LintTarget) -> Matches:
    """Require constants and casts of types that the version supports; UINT8 only for inputs and outputs."""
    for name, tensor in view.constants.items():
        consumers = view.consumers.get(name, [])
        if _supports_type(tensor.data_type, target) or (
            consumers and all(consumer.op_type in QUANTIZERS for consumer in consumers)
        ):
            continue  # another rule checks the zero points of Q/DQ
        yield name, f"{target} does not support type {TensorProto.DataType.Name(tensor.data_type)} here."
    for node in view.nodes:
        for item in node.attribute:
            if node.op_type == "Cast" and item.name == "to" and not _supports_type(item.i, target):
                yield view.describe(node), f"{target} does not support casts to {TensorProto.DataType.Name(item.i)}."


def float64_constants(view: GraphView, target: LintTarget) -> Matches:
    """Note that float64 constants lose precision."""
    for name, tensor in view.constants.items():
        if tensor.data_type == TensorProto.DOUBLE:
            yield name, f"{target} converts this DOUBLE constant to float32."


def int64_io(view: GraphView, target: LintTarget) -> Matches:
    """Note that INT64 inputs and outputs are bound as INT32."""
    for value in (*view.graph.input, *view.graph.output):
        if value.type.tensor_type.elem_type == TensorProto.INT64:
            yield value.name, f"Is INT64, which {target} binds as INT32. Pass int32 arrays."


def int64_range(view: GraphView, target: LintTarget) -> Matches:
    """Require INT64 constants that fit INT32, except for the end of a Slice."""
    for name, tensor in view.constants.items():
        if tensor.data_type != TensorProto.INT64:
            continue
        value = view.value(name)
        consumers = [node.op_type for node in view.consumers.get(name, []) if node.op_type not in _PASS_THROUGH]
        if value is None or not value.size or set(consumers) <= {"Slice"}:
            continue
        if value.min() < _INT32.min or value.max() > _INT32.max:
            yield name, f"Has values beyond int32, which {target} clips."


def _list_supported_operators(target: LintTarget) -> frozenset[str]:
    if target.backend != "tensorrt":
        return _COMMON
    return _TENSORRT_8_5 | {name for name, since in _ADDED_IN.items() if since <= target.version}


def _supports_type(kind: int, target: LintTarget) -> bool:
    since = _TYPES.get(TensorProto.DataType.Name(kind))
    return since is not None and since <= target.version
