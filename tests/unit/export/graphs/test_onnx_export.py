from __future__ import annotations

import numpy as np
import pytest
import torch
from onnx import helper
from torch import Tensor, nn

from edge_msa_export.errors import ExportError
from edge_msa_export.graphs.onnx_export import ExportableModule, export_onnx, restore_weight_names
from tests.unit.export.onnx_models import make_model

RNG = np.random.default_rng(4)


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.neg() if x.sum() > 0 else x


def test_module_that_torch_cannot_export_is_a_one_line_error() -> None:
    with pytest.raises(ExportError, match="torch cannot export the module to ONNX") as caught:
        export_onnx(ExportableModule(Branching(), {"x": torch.ones(3)}, ("y",)))
    assert "\n" not in str(caught.value)


def test_folded_weights_get_their_names_back() -> None:
    first, second = (RNG.normal(size=(4, 6)).astype(np.float32) for _ in range(2))
    nodes = [helper.make_node("MatMul", ["x", "val_1"], ["h"]), helper.make_node("MatMul", ["h", "val_2"], ["y"])]
    model = make_model(nodes, {"val_1": np.ascontiguousarray(first.T), "val_2": second}, (1, 6))
    restore_weight_names(model, {"a.weight": first, "b.weight": second, "c.weight": first + 1})
    assert [node.input[1] for node in model.graph.node] == ["a.weight", "b.weight"]
    assert [tensor.name for tensor in model.graph.initializer] == ["a.weight", "b.weight"]
