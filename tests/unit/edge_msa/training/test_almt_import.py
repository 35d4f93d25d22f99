from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from edge_msa.errors import DataError
from edge_msa.models.almt import Almt, AlmtConfig
from edge_msa.training.predict import almt_from_weights
from edge_msa.training.teachers.almt_import import import_almt

CONFIG = AlmtConfig(
    {"language": 6, "audio": 5, "vision": 3}, {"language": 7, "audio": 11, "vision": 9}, fusion_depth=4, outputs=2
)


class Trap:
    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("test predictions trapped",)


def state(config: AlmtConfig = CONFIG) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return dict(Almt(config).state_dict())


def as_mmsa(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    def renamed(name: str) -> str:
        for part in "lav":
            name = name.replace(f"proj_{part}.", f"embedding_{part}.")
        return "Model." + name.replace("regression_layer.0.", "regression_head.")

    return {renamed(name): value for name, value in tensors.items()}


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize(
    "dress",
    [
        lambda tensors: tensors,
        as_mmsa,
        lambda tensors: {f"module.{name}": value for name, value in tensors.items()},
        lambda tensors: {"epoch": 3, "state_dict": tensors},
    ],
    ids=["authors", "mmsa", "parallel", "wrapped"],
)
def test_sizes_and_weights_are_read_off_the_tensors(
    dress: Callable[[dict[str, Tensor]], Any], share: bool, tmp_path: Path
) -> None:
    config = AlmtConfig(CONFIG.dims, CONFIG.lengths, 4, 2, 5, share)
    tensors = state(config)
    imported = import_almt(saved(tmp_path / "a.pth", dress(tensors)))
    assert imported.config == config
    assert imported.notes == ()
    assert set(imported.weights) == set(tensors)
    for name, value in tensors.items():
        np.testing.assert_array_equal(imported.weights[name], value.numpy())
    almt_from_weights(imported.config, imported.weights)


@pytest.mark.parametrize("prefix", ["bertmodel.model.", "Model.bertmodel.model."])
def test_bert_beside_it_is_left_out_and_said(prefix: str, tmp_path: Path) -> None:
    bert = {f"{prefix}embeddings.weight": torch.zeros(3, 4), f"{prefix}ids": torch.arange(4)}
    tensors = as_mmsa(state()) if prefix.startswith("Model.") else state()
    imported = import_almt(saved(tmp_path / "a.pth", tensors | bert))
    assert imported.notes == ("left out: 2 tensors of BERT; give its token features as language",)
    assert set(imported.weights) == set(state())


def test_half_precision_is_read_as_float32(tmp_path: Path) -> None:
    imported = import_almt(saved(tmp_path / "a.pth", {name: value.half() for name, value in state().items()}))
    assert {value.dtype for value in imported.weights.values()} == {np.dtype(np.float32)}


Change = Callable[[dict[str, Tensor]], object]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("h_hyper"), "lacks h_hyper"),
        (lambda t: t.pop("proj_a.1.pos_embedding"), r"lacks proj_a\.1\.pos_embedding"),
        (lambda t: t.pop("h_hyper_layer.layers.1.0.fn.to_q.weight"), r"lacks h_hyper_layer\.layers\.1\.0\.fn\.to_q"),
        (lambda t: t.update(attic=torch.zeros(1)), "has besides attic"),
        (lambda t: t.update({f"attic.{i}": torch.zeros(1) for i in range(5)}), r"attic\.2 and 2 more"),
        (lambda t: t.update(h_hyper=torch.zeros(1, 4, 128)), "misshapen: "),
        (
            lambda t: t.update({"proj_v.0.bias": torch.zeros(7)}),
            r"misshapen: proj_v\.0\.bias is \(7,\), not \(128,\)",
        ),
        (
            lambda t: t.update({"proj_l.0.weight": torch.zeros(64, 6)}),
            r"misshapen: proj_l\.0\.weight is \(64, 6\), not \(128, 6\)",
        ),
        (lambda t: t.update({"proj_l.0.weight": torch.zeros(())}), r"proj_l\.0\.weight is \(\), not \(128, 1\)"),
        (lambda t: t.update({"proj_v.0.bias": torch.full((128,), torch.nan)}), r"proj_v\.0\.bias holds NaN or inf"),
        (
            lambda t: t.update({"proj_v.0.bias": torch.full((128,), 1e300, dtype=torch.float64)}),
            r"proj_v\.0\.bias holds NaN or inf, or more than float32 holds",
        ),
        (
            lambda t: t.update({"proj_v.0.bias": torch.zeros(128, device="meta")}),
            r"proj_v\.0\.bias holds a shape alone",
        ),
        (lambda t: t.update({"proj_v.0.bias": torch.arange(128)}), r"proj_v\.0\.bias holds torch.int64 values"),
        (lambda t: t.update({"embedding_v.0.bias": torch.zeros(128)}), r"holds proj_v\.0\.bias twice"),
    ],
)
def test_tensors_that_do_not_belong_are_named_in_one_line(change: Change, message: str, tmp_path: Path) -> None:
    tensors = state()
    change(tensors)
    with pytest.raises(DataError, match=message) as raised:
        import_almt(saved(tmp_path / "a.pth", tensors))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "a list, no state dict"),
        ({}, "an empty one, no state dict"),
        (torch.zeros(3), "a Tensor, no state dict"),
        ({"h_hyper": 3}, "'h_hyper' is a int, no tensor"),
        ({3: torch.zeros(1)}, "it has the key 3, no name"),
        ({"h_hyper": torch.zeros(1), "trap": Trap()}, r"asks for '\w+\.system', which could run code"),
        (Almt(CONFIG), r"asks for 'edge_msa\.models\.almt\.Almt', which could run code"),
    ],
    ids=["list", "empty", "tensor", "numbers", "keys", "code", "module"],
)
def test_what_is_no_state_dict_is_refused(content: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message) as raised:
        import_almt(saved(tmp_path / "a.pth", content))
    assert "\n" not in str(raised.value)
    assert not Path("trapped").exists()


@pytest.mark.parametrize(
    "content", [b"", b"these are no weights", pickle.dumps({"a": 1}), b"PK\x03\x04 broken", pickle.dumps(Trap())]
)
def test_a_file_that_is_no_checkpoint_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.pth") as raised:
        import_almt(tmp_path / "a.pth")
    assert "\n" not in str(raised.value)


def test_a_truncated_checkpoint_and_a_folder_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth", state())
    path.write_bytes(path.read_bytes()[:-2000])
    for place in (path, tmp_path):
        with pytest.raises(DataError):
            import_almt(place)
