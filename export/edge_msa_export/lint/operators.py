"""Which operators each backend reads, and TensorRT from which version on."""

from __future__ import annotations

from edge_msa_export.lint.lint_target import LintTarget, Version


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# What a student is made of, all of it in ONNX Runtime's and OpenVINO's own tables at opset 17:
# ONNX Runtime docs/OperatorKernels.md (CPU), OpenVINO "Supported Operations" (ONNX).
_COMMON = _words(
    """
    Add AveragePool BatchNormalization Cast Clip Concat Constant Conv DequantizeLinear Div Erf Exp Expand Flatten GRU
    Gather Gemm GlobalAveragePool Identity LSTM LayerNormalization LeakyRelu Log MatMul Max MaxPool Min Mul Neg Pow
    QuantizeLinear ReduceMax ReduceMean ReduceMin ReduceSum Relu Reshape Sigmoid Slice Softmax Split Sqrt Squeeze Sub
    Tanh Transpose Unsqueeze Where
    """
)

# All that have a Y in onnx-tensorrt, docs/operators.md of release/8.5-GA.
_TENSORRT_8_5 = _words(
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

# From docs/Changelog.md; the last ones are in the table of 10.15, and no document says since when.
LATER: dict[str, Version] = {
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

# N in the tables of every version: what ONNX Runtime's dynamic and QOperator models are made of.
QUANTIZED = _words(
    """
    ConvInteger DynamicQuantizeLinear DynamicQuantizeLSTM DynamicQuantizeMatMul MatMulInteger MatMulIntegerToFloat
    QAttention QGemm QLinearAdd QLinearAveragePool QLinearConcat QLinearConv QLinearGlobalAveragePool QLinearLeakyRelu
    QLinearMatMul QLinearMul QLinearReduceMean QLinearSigmoid QLinearSoftmax
    """
)

# Native through TensorRT in Deep-Learning-Accelerator-SW, operators/README.md; constants are folded.
DLA = _words(
    """
    Abs Add AveragePool BatchNormalization Clip Concat Constant Conv ConvTranspose Equal Gemm LRN LeakyRelu MatMul Max
    MaxPool Mul PRelu Relu Reshape Resize Sigmoid Slice Softmax Split Sub Sum Tanh Transpose Upsample
    """
)


def operators_of(lint_target: LintTarget) -> frozenset[str]:
    """The operators that a backend reads at its version."""
    if lint_target.backend != "tensorrt":
        return _COMMON
    return _TENSORRT_8_5 | {name for name, since in LATER.items() if since <= lint_target.version}
