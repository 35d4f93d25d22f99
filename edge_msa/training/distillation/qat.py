"""Training a student with the arithmetic of INT8 in its forward pass (quantization-aware training).

What `edge_msa_calibrate` will make int8 in the graphs is fake-quantized here on the same grids: weights per channel and
symmetric, activations per tensor on the ranges that calibration found, rounding half to even. The gradient goes
straight through, and not at all where a value lies beyond its range (Jacob et al. 2018). So the prediction in torch is
that of the int8 graph, up to the last bits of float32 sums: a value that lands on the edge between two integers may
fall either way.
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
from edge_msa.models.student_encoder import Encoder, picked
from edge_msa_calibrate.affine import QuantizationParameters, compute_parameters, quantize_weight
from edge_msa_calibrate.errors import CalibrationError
from edge_msa_calibrate.plan import MIN_CHANNELS
from edge_msa_calibrate.schemes import QuantizationScheme

Ranges = Mapping[str, tuple[float, float]]


class FakeQuantEncoder(Encoder):
    """An encoder of the same weights whose convolutions compute on the grids of one quantization scheme.

    Args:
        like: sizes and weights; it is not changed.
        modality: of it, which names the ranges.
        ranges: by `<weight name>:input` and `<weight name>:output`.
        rules: how int8 is laid out.
        floats: names of weights whose layers stay float.
    """

    def __init__(
        self, like: Encoder, modality: str, ranges: Ranges, rules: QuantizationScheme, floats: Collection[str] = ()
    ) -> None:
        super().__init__(like.dim, like.config, like.score.out_channels)
        self.load_state_dict(like.state_dict())
        self._rules = rules
        self._start = start = f"encoders.{modality}."
        self._floats = {name.removeprefix(start) for name in floats}
        self._grids = {
            key.removeprefix(start): compute_parameters(low, high, rules.activations)
            for key, (low, high) in ranges.items()
            if key.startswith(start)
        }

    def _convolved(
        self, rows: Tensor, count: Tensor, memories: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        if self.config.width < MIN_CHANNELS:
            return super()._convolved(rows, count, memories)
        frames = rows.transpose(1, 2)
        wide = frames.shape[1] >= MIN_CHANNELS and "embed.weight" not in self._floats
        embedded = torch.relu(self._conv(self.embed, "embed", frames) if wide else self.embed(frames))
        features = self._as_read(embedded, 0, "embed.weight" if wide else None)
        convs = []
        for index, (block, memory) in enumerate(zip(self.blocks, memories, strict=True)):
            features, left = self._block(cast("nn.Conv1d", block), index, features, memory, count)
            convs.append(left)
        return features, tuple(convs)

    def _block(
        self, block: nn.Conv1d, index: int, features: Tensor, memory: Tensor, count: Tensor
    ) -> tuple[Tensor, Tensor]:
        """A residual block's features, and the memory that it leaves."""
        name = f"blocks.{index}"
        is_float = f"{name}.weight" in self._floats
        if is_float:
            seen = torch.cat([memory, features], dim=2)
            made = torch.relu(block(seen))
        else:
            seen = torch.cat([self._on_grid(memory, f"{name}.weight:input"), features], dim=2)
            made = self._on_grid(torch.relu(self._conv(block, name, seen)), f"{name}.weight:output")
        features = features + made
        # A GRU reads the last sum, and what it makes is float; then no grid waits for that sum.
        if self.gru is None or index + 1 < len(self.blocks):
            features = self._as_read(features, index + 1, None if is_float else "")
        return features, picked(seen, 2, count, memory.shape[2])

    def _as_read(self, features: Tensor, block: int, maker: str | None) -> Tensor:
        """Features on the grid of the block that reads them, or, behind the last one, of scores.

        `maker`: the int8 layer that made them; empty for the residual of one, which has no range of its own; None where
        they were made in float. Nothing is on a grid between two layers in float.
        """
        reader = f"blocks.{block}.weight" if block < len(self.blocks) else "score.weight"
        reads = block < len(self.blocks) or self.score.out_channels >= MIN_CHANNELS
        if reader not in self._floats and (reads or maker is not None):
            return self._on_grid(features, f"{reader}:input")
        return self._on_grid(features, f"{maker}:output") if maker else features

    def _on_grid(self, values: Tensor, key: str) -> Tensor:
        if key not in self._grids:
            raise CalibrationError(f"there is no range for {self._start}{key}; calibrate this model again")
        return fake_quantized(values, self._grids[key])

    def _conv(self, conv: nn.Conv1d, name: str, seen: Tensor) -> Tensor:
        key = f"{name}.weight:input"
        read = self._on_grid(seen, key)
        weight, bias = self._constants(conv, self._grids[key].scale)
        return F.conv1d(read, weight, bias, dilation=conv.dilation)

    def _constants(self, conv: nn.Conv1d, scale: float) -> tuple[Tensor, Tensor]:
        """Weight and bias as the int8 graph has them, with the gradient of the float ones."""
        assert conv.bias is not None  # noqa: S101 - every encoder's convolution has one
        weight, bias = (part.detach().cpu().numpy() for part in (conv.weight, conv.bias))
        wide = bias.astype(np.float64)
        integers, scales = quantize_weight(
            weight, self._rules.weight_limit, wide / scale if self._rules.bias_int32 else None
        )
        weight = integers.astype(np.float32) * scales.reshape(-1, 1, 1)
        if self._rules.bias_int32:
            steps = np.float32(scale) * scales
            bias = np.rint(wide / steps.astype(np.float64)).astype(np.float32) * steps
        return _straight(conv.weight, weight), _straight(conv.bias, bias)


def fake_quantized_student(
    student: Student, ranges: Ranges, rules: QuantizationScheme, floats: Collection[str] = ()
) -> Student:
    """The student with encoders that compute as in int8; one of whose modality there is no range stays float.

    Args:
        student: float; it is not changed. The result's weights have the same names.
        ranges: from calibration.
        rules: of the target's context.
        floats: names of weights whose layers stay float, as calibrate found or sensitivity chose.

    Raises:
        CalibrationError: a range that the encoders need is missing.
    """
    result = copy.deepcopy(student)
    calibrated = {key.split(".")[1] for key in ranges if key.startswith("encoders.")}
    for name in student.config.dims:
        if name in calibrated:
            encoder = cast("Encoder", student.encoders[name])
            result.encoders[name] = FakeQuantEncoder(encoder, name, ranges, rules, floats)
    return result.train(student.training)


def fake_quantized(values: Tensor, grid: QuantizationParameters) -> Tensor:
    """Each value's neighbor on the grid, as float32, or the grid's end; the gradient of what lies inside is 1."""
    result: Tensor = _FakeQuantize.apply(values, grid)  # type: ignore[no-untyped-call]
    return result


def _straight(values: Tensor, quantized: NDArray[np.float32]) -> Tensor:
    result: Tensor = _Replaced.apply(values, torch.from_numpy(quantized).to(values.device))  # type: ignore[no-untyped-call]
    return result


class _FakeQuantize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, grid: QuantizationParameters) -> Tensor:
        integers = grid.integer_type
        # By a tensor: a division by a plain number may become a product with its reciprocal.
        found = torch.round(values / values.new_tensor(grid.scale)) + grid.zero_point
        ctx.save_for_backward((found >= integers.lowest) & (found <= integers.highest))
        return (found.clamp(integers.lowest, integers.highest) - grid.zero_point) * grid.scale

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (inside,) = ctx.saved_tensors
        return gradients[0] * inside, None


class _Replaced(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, replacement: Tensor) -> Tensor:  # noqa: ARG004 - torch's signature
        return replacement.view_as(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:  # noqa: ARG004 - torch's signature
        return gradients[0], None
