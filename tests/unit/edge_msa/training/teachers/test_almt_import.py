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
        return os.system, ("echo > trapped",)


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
    "convert",
    [
        lambda tensors: tensors,
        as_mmsa,
        lambda tensors: {f"module.{name}": value for name, value in tensors.items()},
        lambda tensors: {"epoch": 3, "state_dict": tensors},
    ],
    ids=["authors", "mmsa", "parallel", "wrapped"],
)
def test_sizes_and_weights_come_from_the_tensors(
    convert: Callable[[dict[str, Tensor]], Any], share: bool, tmp_path: Path
) -> None:
    config = AlmtConfig(CONFIG.dims, CONFIG.lengths, 4, 2, 5, share)
    tensors = state(config)
    imported = import_almt(saved(tmp_path / "a.pth", convert(tensors)))
    assert imported.config == config
    assert imported.notes == ()
    assert set(imported.weights) == set(tensors)
    for name, value in tensors.items():
        np.testing.assert_array_equal(imported.weights[name], value.numpy())
    almt_from_weights(imported.config, imported.weights)


@pytest.mark.parametrize("prefix", ["bertmodel.model.", "Model.bertmodel.model."])
def test_bert_tensors_are_omitted(prefix: str, tmp_path: Path) -> None:
    bert = {f"{prefix}embeddings.weight": torch.zeros(3, 4), f"{prefix}ids": torch.arange(4)}
    tensors = as_mmsa(state()) if prefix.startswith("Model.") else state()
    imported = import_almt(saved(tmp_path / "a.pth", tensors | bert))
    assert imported.notes == ("Omitted 2 tensors of BERT; pass its token features as the language modality.",)
    assert set(imported.weights) == set(state())


def test_float16_weights_become_float32(tmp_path: Path) -> None:
    imported = import_almt(saved(tmp_path / "a.pth", {name: value.half() for name, value in state().items()}))
    assert {value.dtype for value in imported.weights.values()} == {np.dtype(np.float32)}


Change = Callable[[dict[str, Tensor]], object]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("h_hyper"), "missing: h_hyper"),
        (lambda t: t.pop("proj_a.1.pos_embedding"), r"missing: proj_a\.1\.pos_embedding"),
        (lambda t: t.pop("h_hyper_layer.layers.1.0.fn.to_q.weight"), r"missing: h_hyper_layer\.layers\.1\.0\.fn\.to_q"),
        (lambda t: t.update(attic=torch.zeros(1)), "unexpected: attic"),
        (lambda t: t.update({f"attic.{i}": torch.zeros(1) for i in range(5)}), r"attic\.2 and 2 more"),
        (lambda t: t.update(h_hyper=torch.zeros(1, 4, 128)), "wrong shape: "),
        (
            lambda t: t.update({"proj_v.0.bias": torch.zeros(7)}),
            r"wrong shape: proj_v\.0\.bias is \(7,\), expected \(128,\)",
        ),
        (
            lambda t: t.update({"proj_l.0.weight": torch.zeros(64, 6)}),
            r"wrong shape: proj_l\.0\.weight is \(64, 6\), expected \(128, 6\)",
        ),
        (lambda t: t.update({"proj_l.0.weight": torch.zeros(())}), r"proj_l\.0\.weight is \(\), expected \(128, 1\)"),
        (
            lambda t: t.update({"proj_v.0.bias": torch.full((128,), torch.nan)}),
            r"proj_v\.0\.bias has values that are not finite",
        ),
        (
            lambda t: t.update({"proj_v.0.bias": torch.full((128,), 1e300, dtype=torch.float64)}),
            r"proj_v\.0\.bias has values that are not finite in float32",
        ),
        (
            lambda t: t.update({"proj_v.0.bias": torch.zeros(128, device="meta")}),
            r"proj_v\.0\.bias has a shape but no values",
        ),
        (lambda t: t.update({"proj_v.0.bias": torch.arange(128)}), r"proj_v\.0\.bias has torch.int64 values"),
        (lambda t: t.update({"embedding_v.0.bias": torch.zeros(128)}), r"contains proj_v\.0\.bias twice"),
    ],
)
def test_unfitting_tensors_raise_an_error(change: Change, message: str, tmp_path: Path) -> None:
    tensors = state()
    change(tensors)
    with pytest.raises(DataError, match=message) as raised:
        import_almt(saved(tmp_path / "a.pth", tensors))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "must contain a state dict, got a list"),
        ({}, "must contain a state dict, got an empty dict"),
        (torch.zeros(3), "must contain a state dict, got a Tensor"),
        ({"h_hyper": 3}, "got a int as 'h_hyper'"),
        ({3: torch.zeros(1)}, "got the key 3"),
        ({"h_hyper": torch.zeros(1), "trap": Trap()}, r"requires '\w+\.system', which could execute code"),
        (Almt(CONFIG), r"requires 'edge_msa\.models\.almt\.Almt', which could execute code"),
    ],
    ids=["list", "empty", "tensor", "numbers", "keys", "code", "module"],
)
def test_content_other_than_a_state_dict_raises_an_error(content: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message) as raised:
        import_almt(saved(tmp_path / "a.pth", content))
    assert "\n" not in str(raised.value)
    assert not Path("trapped").exists()


@pytest.mark.parametrize(
    "content", [b"", b"these are no weights", pickle.dumps({"a": 1}), b"PK\x03\x04 broken", pickle.dumps(Trap())]
)
def test_file_that_is_not_a_checkpoint_raises_an_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.pth") as raised:
        import_almt(tmp_path / "a.pth")
    assert "\n" not in str(raised.value)


def test_truncated_checkpoint_and_folder_raise_an_error(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth", state())
    path.write_bytes(path.read_bytes()[:-2000])
    for place in (path, tmp_path):
        with pytest.raises(DataError):
            import_almt(place)
