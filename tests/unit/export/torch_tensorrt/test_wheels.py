from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from edge_msa_export.errors import ExportError
from edge_msa_export.torch_tensorrt.tables import OperatorTable
from edge_msa_export.torch_tensorrt.wheels import extract_operator_table, main

CONVERSION, LOWERING = "torch_tensorrt/dynamo/conversion", "torch_tensorrt/dynamo/lowering"
SOURCES = {
    f"{CONVERSION}/aten_ops_converters.py": (
        "@dynamo_tensorrt_converter(torch.ops.aten.add.Tensor, supports_dynamic_shapes=True)\n"
        "@dynamo_tensorrt_converter(torch.ops.aten.add.Scalar)\n"
        "@enforce_tensor_types({0: (TRTTensor,)})\n"
        "def add(ctx): ...\n"
        "@other(torch.ops.aten.sub.Tensor)\ndef sub(ctx): ...\n"
    ),
    f"{CONVERSION}/prims_ops_converters.py": "@dynamo_tensorrt_converter(torch.ops.prims.div.default)\ndef d(): ...\n",
    f"{CONVERSION}/custom_ops_converters.py": "if x():\n    @dynamo_tensorrt_converter(custom_op)\n    def f(): ...\n",
    f"{CONVERSION}/ops_evaluators.py": "@dynamo_tensorrt_converter(operator.getitem)\ndef g(): ...\n",
    f"{LOWERING}/_decomposition_groups.py": (
        "enabled = 3\ntorch_enabled_decompositions: Set[X] = {aten.silu, aten.arange.start}\n"
        "torch_disabled_decompositions = {aten.linear.default}\n"
    ),
    f"{LOWERING}/_decompositions.py": (
        "replace_inplace_op(aten.add_, aten.add)\n"
        "@register_torch_trt_decomposition(aten.rsqrt, registry=R)\ndef r(): ...\n"
    ),
    f"{LOWERING}/passes/remove_assert_nodes.py": "x = n.target == torch.ops.aten._assert_scalar.default\n",
}


def write_wheel(folder: Path, sources: dict[str, str], name: str = "torch_tensorrt-9.1.0-py3-none-any.whl") -> Path:
    with zipfile.ZipFile(folder / name, "w") as archive:
        for path, text in sources.items():
            archive.writestr(path, text)
    return folder / name


def test_table_comes_from_the_source_in_a_wheel(tmp_path: Path) -> None:
    assert extract_operator_table(write_wheel(tmp_path, SOURCES)) == OperatorTable(
        "9.1.0",
        converters=("aten.add.Scalar", "aten.add.Tensor", "custom_op", "operator.getitem", "prims.div.default"),
        lowered=("aten._assert_scalar.default", "aten.add_", "aten.rsqrt"),
        enabled=("aten.arange.start", "aten.silu"),
        disabled=("aten.linear.default",),
    )


def test_command_prints_tables_by_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["wheels", str(write_wheel(tmp_path, SOURCES))])
    main()
    assert set(json.loads(capsys.readouterr().out)) == {"9.1.0"}


@pytest.mark.parametrize("missing", list(SOURCES))
def test_wheel_without_a_source_file_is_an_error(missing: str, tmp_path: Path) -> None:
    remaining = {name: text for name, text in SOURCES.items() if name != missing}
    with pytest.raises(ExportError, match="must be a wheel of torch-tensorrt"):
        extract_operator_table(write_wheel(tmp_path, remaining))
    with pytest.raises(ExportError):
        extract_operator_table(tmp_path / "none.whl")


@pytest.mark.parametrize("part", [CONVERSION, "_groups", "_decompositions"])
def test_wheel_that_registers_nothing_is_an_error(part: str, tmp_path: Path) -> None:
    kept = ("_decompositions", "remove_assert") if part == "_decompositions" else (part,)
    empty = {name: "" if any(item in name for item in kept) else text for name, text in SOURCES.items()}
    with pytest.raises(ExportError, match=r"differently from 2.8"):
        extract_operator_table(write_wheel(tmp_path, empty))
