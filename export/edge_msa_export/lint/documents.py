"""The documents that rules follow."""

from __future__ import annotations

_TENSORRT = "https://docs.nvidia.com/deeplearning/tensorrt"
_PARSER = "https://github.com/onnx/onnx-tensorrt/blob"
_DLA = "https://github.com/NVIDIA/Deep-Learning-Accelerator-SW/blob/main"

OPERATORS_8_5 = f"{_PARSER}/release/8.5-GA/docs/operators.md"
OPERATORS = f"{_PARSER}/main/docs/operators.md"
CHANGELOG = f"{_PARSER}/main/docs/Changelog.md"
OPSETS = f"{_TENSORRT}/latest/reference/onnx-opset-guide.html"
EXPLICIT = f"{_TENSORRT}/latest/inference-library/quantized-types-explicit-quantization.html"
QUANTIZED = f"{_TENSORRT}/latest/inference-library/work-quantized-types.html"
RESIDUAL = f"{_TENSORRT}/tensorflow-quantization-toolkit/docs/docs/add_custom_qdq_cases.html"
INT8_WEIGHTS = "https://github.com/NVIDIA/TensorRT/issues/2163"
STRONG_TYPES = f"{_TENSORRT}/11.0.0/api/migration/tensorrt-10x-to-11x.html"
DLA_VERSIONS = f"{_TENSORRT}/11.4.1/inference-library/work-with-dla.html"
DLA_LAYERS = f"{_TENSORRT}/latest/inference-library/dla-layer-restrictions.html"
DLA_OPERATORS = f"{_DLA}/operators/README.md"
DLA_QUANTIZED = f"{_DLA}/tools/qdq-translator/README.md"
# What NVIDIA's own quantizer leaves out, with its reasons.
SMALL_LAYERS = (
    "https://github.com/NVIDIA/TensorRT-Model-Optimizer/tree/main/modelopt/onnx/quantization "
    "(find_nodes_from_matmul_to_exclude, find_nodes_from_convs_to_exclude)"
)
ONNX_STANDARD = "https://github.com/onnx/onnx/blob/main/docs/IR.md"
ONNX_CHANGELOG = "https://github.com/onnx/onnx/blob/main/docs/Changelog.md"
ONNX_EXTERNAL = "https://github.com/onnx/onnx/blob/main/docs/ExternalData.md"
KERNELS = (
    "https://github.com/microsoft/onnxruntime/blob/main/docs/OperatorKernels.md; "
    "https://docs.openvino.ai (Supported Operations, ONNX)"
)
ARCHITECTURE = "docs/architecture.md"
CONTRIBUTING = "CONTRIBUTING.md"
