"""Quantization-aware training (QAT): a student whose forward pass simulates INT8 arithmetic.

Everything that `edge_msa_calibrate` quantizes in the graphs is fake-quantized here on the same grids: weights per
channel and symmetric, activations per tensor with the ranges from calibration, rounding half to even. Gradients use the
straight-through estimator and are 0 outside the range (Jacob et al. 2018). The predictions of the torch model therefore
equal those of the INT8 graph up to the last bits of float32 sums. A value halfway between two integers may be rounded
to either of them.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from edge_msa.models.student import Student
from edge_msa.models.student_encoder import StudentEncoder, slice_from
from edge_msa_calibrate.affine import QuantizationParameters, compute_parameters, quantize_weight
from edge_msa_calibrate.errors import CalibrationError
from edge_msa_calibrate.plan import MIN_CHANNELS
from edge_msa_calibrate.schemes import QuantizationScheme

Ranges = Mapping[str, tuple[float, float]]


class FakeQuantEncoder(StudentEncoder):
    """An encoder whose convolutions compute on the grids of one quantization scheme.

    Args:
        source: Encoder to copy sizes and weights from; it is not changed.
        modality: Modality of the encoder, which selects its ranges.
        ranges: Ranges by `<weight name>:input` and `<weight name>:output`.
        scheme: Quantization scheme.
        fp32_weights: Names of the weights whose layers stay in float32.
    """

    def __init__(
        self,
        source: StudentEncoder,
        modality: str,
        ranges: Ranges,
        scheme: QuantizationScheme,
        fp32_weights: Collection[str] = (),
    ) -> None:
        super().__init__(source.dim, source.config, source.score.out_channels)
        self.load_state_dict(source.state_dict())
        self._scheme = scheme
        self._prefix = prefix = f"encoders.{modality}."
        self._fp32_weights = {name.removeprefix(prefix) for name in fp32_weights}
        self._grids = {
            key.removeprefix(prefix): compute_parameters(low, high, scheme.activations)
            for key, (low, high) in ranges.items()
            if key.startswith(prefix)
        }

    def _convolve(self, rows: Tensor, count: Tensor, memories: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        if self.config.width < MIN_CHANNELS:
            return super()._convolve(rows, count, memories)
        frames = rows.transpose(1, 2)
        is_int8 = frames.shape[1] >= MIN_CHANNELS and "embed.weight" not in self._fp32_weights
        embedded = torch.relu(self._conv(self.embed, "embed", frames) if is_int8 else self.embed(frames))
        features = self._quantize_for_consumer(embedded, 0, "embed.weight" if is_int8 else None)
        convs = []
        for index, (block, memory) in enumerate(zip(self.blocks, memories, strict=True)):
            features, memory_after = self._block(cast("nn.Conv1d", block), index, features, memory, count)
            convs.append(memory_after)
        return features, tuple(convs)

    def _block(
        self, block: nn.Conv1d, index: int, features: Tensor, memory: Tensor, count: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the output features of a residual block, and its memory after the chunk."""
        name = f"blocks.{index}"
        is_fp32 = f"{name}.weight" in self._fp32_weights
        if is_fp32:
            seen = torch.cat([memory, features], dim=2)
            outputs = torch.relu(block(seen))
        else:
            seen = torch.cat([self._on_grid(memory, f"{name}.weight:input"), features], dim=2)
            outputs = self._on_grid(torch.relu(self._conv(block, name, seen)), f"{name}.weight:output")
        features = features + outputs
        # A GRU computes in float32, so its input, the last sum, is not quantized.
        if self.gru is None or index + 1 < len(self.blocks):
            features = self._quantize_for_consumer(features, index + 1, None if is_fp32 else "")
        return features, slice_from(seen, 2, count, memory.shape[2])

    def _quantize_for_consumer(self, features: Tensor, block: int, producer: str | None) -> Tensor:
        """Quantize features for the layer that consumes them: block `block`, or the scores after the last block.

        `producer` is the weight of the INT8 layer that computed the features. It is empty for the sum after a residual
        INT8 block, for which there is no output range, and None for a float32 layer. Features between two float32
        layers are not quantized.
        """
        consumer = f"blocks.{block}.weight" if block < len(self.blocks) else "score.weight"
        is_int8 = block < len(self.blocks) or self.score.out_channels >= MIN_CHANNELS
        if consumer not in self._fp32_weights and (is_int8 or producer is not None):
            return self._on_grid(features, f"{consumer}:input")
        return self._on_grid(features, f"{producer}:output") if producer else features

    def _on_grid(self, values: Tensor, key: str) -> Tensor:
        if key not in self._grids:
            raise CalibrationError(f"There is no range for {self._prefix}{key}. Calibrate this model again.")
        return fake_quantize(values, self._grids[key])

    def _conv(self, conv: nn.Conv1d, name: str, values: Tensor) -> Tensor:
        key = f"{name}.weight:input"
        inputs = self._on_grid(values, key)
        weight, bias = self._quantized_parameters(conv, self._grids[key].scale)
        return F.conv1d(inputs, weight, bias, dilation=conv.dilation)

    def _quantized_parameters(self, conv: nn.Conv1d, scale: float) -> tuple[Tensor, Tensor]:
        """Return weight and bias of the INT8 graph, with the gradient of the float32 parameters.

        `scale` is the scale of the convolution's input.
        """
        assert conv.bias is not None  # noqa: S101 - every encoder's convolution has one
        weight, bias = (part.detach().cpu().numpy() for part in (conv.weight, conv.bias))
        bias64 = bias.astype(np.float64)
        integers, scales = quantize_weight(
            weight, self._scheme.weight_limit, bias64 / scale if self._scheme.bias_int32 else None
        )
        weight = integers.astype(np.float32) * scales.reshape(-1, 1, 1)
        if self._scheme.bias_int32:
            steps = np.float32(scale) * scales
            bias = np.rint(bias64 / steps.astype(np.float64)).astype(np.float32) * steps
        return _straight_through(conv.weight, weight), _straight_through(conv.bias, bias)


def fake_quantized_student(
    student: Student, ranges: Ranges, scheme: QuantizationScheme, fp32_weights: Collection[str] = ()
) -> Student:
    """Return a copy of the student whose encoders simulate INT8. Encoders without any range stay in float32.

    Args:
        student: Student in float32; it is not changed. The weights of the result have the same names.
        ranges: Ranges from calibration.
        scheme: Quantization scheme of the target.
        fp32_weights: Names of the weights whose layers stay in float32, from calibration or the sensitivity analysis.

    Raises:
        CalibrationError: A range that the encoders need is missing.
    """
    result = copy.deepcopy(student)
    calibrated = {key.split(".")[1] for key in ranges if key.startswith("encoders.")}
    for name in student.config.dims:
        if name in calibrated:
            encoder = cast("StudentEncoder", student.encoders[name])
            result.encoders[name] = FakeQuantEncoder(encoder, name, ranges, scheme, fp32_weights)
    return result.train(student.training)


def fake_quantize(values: Tensor, grid: QuantizationParameters) -> Tensor:
    """Round values to the grid and clamp them to its ends; the gradient is 1 inside the range and 0 outside."""
    result: Tensor = _FakeQuantize.apply(values, grid)  # type: ignore[no-untyped-call]
    return result


def _straight_through(values: Tensor, quantized: NDArray[np.float32]) -> Tensor:
    """Return the quantized values, with the gradient of `values`."""
    replacement = torch.from_numpy(quantized).to(values.device)
    result: Tensor = _StraightThrough.apply(values, replacement)  # type: ignore[no-untyped-call]
    return result


class _FakeQuantize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, grid: QuantizationParameters) -> Tensor:
        integers = grid.integer_type
        # Division by a Python number could be replaced by a multiplication with the reciprocal.
        rounded = torch.round(values / values.new_tensor(grid.scale)) + grid.zero_point
        ctx.save_for_backward((rounded >= integers.lowest) & (rounded <= integers.highest))
        return (rounded.clamp(integers.lowest, integers.highest) - grid.zero_point) * grid.scale

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (inside,) = ctx.saved_tensors
        return gradients[0] * inside, None


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, replacement: Tensor) -> Tensor:  # noqa: ARG004 - torch's signature
        return replacement.view_as(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:  # noqa: ARG004 - torch's signature
        return gradients[0], None
