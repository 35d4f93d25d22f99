from __future__ import annotations

import torch
from torch import Tensor, nn

from edge_msa_calibrate.macs import count_macs
from edge_msa_export.graphs.onnx_export import ExportableModule, export_onnx


class _Layers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(64, 32, 3)
        self.gru = nn.GRU(32, 16, batch_first=True)
        self.linear = nn.Linear(16, 5)

    def forward(self, frames: Tensor) -> Tensor:
        hidden, _ = self.gru(torch.relu(self.conv(frames)).transpose(1, 2))
        result: Tensor = self.linear(hidden).mean(dim=1)
        return result


def test_macs_of_every_kind_of_layer_are_counted() -> None:
    model = export_onnx(ExportableModule(_Layers().eval(), {"frames": torch.zeros(1, 64, 10)}, ("prediction",)))
    counts = count_macs(model)
    expected = {"Conv": 8 * 64 * 32 * 3, "GRU": 8 * 3 * 16 * (32 + 16), "linear": 8 * 16 * 5}
    assert sorted(counts.values()) == sorted(expected.values())
