"""Quantization schemes: how INT8 is laid out for each kind of backend.

Measured on an Intel CPU with AVX512-VNNI, one thread, a window of 500 frames, with 64 and with 96 channels. The figures
are speed-ups over FP32:

- ONNX Runtime: 1.8 and 2.1 with only the convolutions quantized; 2.4 and 2.8 when the residual Adds, both inputs of the
  Concat that adds the memory, and the features that attention pools are quantized too. In that case no tensor
  between two convolutions is float. A zero point at the lowest integer also absorbs the Relu.
- OpenVINO 2026.4: 1.8 and 2.2 with unsigned activations, 0.95 and 1.0 with signed ones. With signed activations,
  predictions also differ from FP32 by more than INT8 rounding explains. Activations are therefore uint8 here, unlike
  TensorRT's, and the bias stays float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edge_msa_calibrate.affine import INT8, INT8_SYMMETRIC, UINT8, IntegerType
from edge_msa_calibrate.errors import CalibrationError


@dataclass(frozen=True)
class QuantizationScheme:
    """How INT8 is laid out for one kind of backend.

    In all schemes, weights are symmetric int8 with one scale per output channel, and activations have one scale per
    tensor.

    `activations`: the integer type of activations.
    `weight_limit`: the largest integer of a weight. It is 63 where the sum of two products is kept in 16 bits, which
    127 would saturate.
    `bias_int32`: whether the bias is int32 with scale input * weight; else it stays float32.
    `quantizes_memory`: whether the memory of a causal convolution gets its own Q/DQ pair, so that the Concat works on
    integers. TensorRT moves Q/DQ pairs through a Concat by itself.
    """

    name: str
    activations: IntegerType
    weight_limit: int = 127
    bias_int32: bool = False
    quantizes_memory: bool = True


SCHEMES: Mapping[str, QuantizationScheme] = {
    scheme.name: scheme
    for scheme in (
        QuantizationScheme("ort-x86-vnni", UINT8, bias_int32=True),
        QuantizationScheme("ort-x86-avx2", UINT8, weight_limit=63, bias_int32=True),
        QuantizationScheme("ort-arm", INT8, bias_int32=True),
        QuantizationScheme("openvino-x86", UINT8),
        QuantizationScheme("tensorrt", INT8_SYMMETRIC, quantizes_memory=False),
    )
}


def scheme_named(name: str) -> QuantizationScheme:
    """Return the quantization scheme with this name.

    Raises:
        CalibrationError: the name is unknown.
    """
    if name not in SCHEMES:
        raise CalibrationError(f"Unknown quantization scheme {name!r}. Available: {', '.join(SCHEMES)}.")
    return SCHEMES[name]
