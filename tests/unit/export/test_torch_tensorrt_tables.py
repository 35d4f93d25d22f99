from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from edge_msa_export.errors import ExportError, LintError
from edge_msa_export.profiles import load_profiles
from edge_msa_export.torch_tensorrt.tables import Table, known_tables, table_of
from edge_msa_export.torch_tensorrt.wheels import main, table_of_wheel

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
    f"{CONVERSION}/custom_ops_converters.py": "if x():\n    @dynamo_tensorrt_converter(own_op)\n    def f(): ...\n",
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


def wheel(folder: Path, sources: dict[str, str], name: str = "torch_tensorrt-9.1.0-py3-none-any.whl") -> Path:
    with zipfile.ZipFile(folder / name, "w") as archive:
        for path, text in sources.items():
            archive.writestr(path, text)
    return folder / name


def test_a_table_is_read_from_the_source_in_a_wheel(tmp_path: Path) -> None:
    assert table_of_wheel(wheel(tmp_path, SOURCES)) == Table(
        "9.1.0",
        converters=("aten.add.Scalar", "aten.add.Tensor", "operator.getitem", "own_op", "prims.div.default"),
        lowered=("aten._assert_scalar.default", "aten.add_", "aten.rsqrt"),
        enabled=("aten.arange.start", "aten.silu"),
        disabled=("aten.linear.default",),
    )


def test_the_command_prints_what_the_file_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["wheels", str(wheel(tmp_path, SOURCES))])
    main()
    assert set(json.loads(capsys.readouterr().out)) == {"9.1.0"}


@pytest.mark.parametrize("missing", list(SOURCES))
def test_a_wheel_that_is_laid_out_in_another_way_is_refused(missing: str, tmp_path: Path) -> None:
    fewer = {name: text for name, text in SOURCES.items() if name != missing}
    with pytest.raises(ExportError, match="no wheel of torch-tensorrt"):
        table_of_wheel(wheel(tmp_path, fewer))
    with pytest.raises(ExportError):
        table_of_wheel(tmp_path / "none.whl")


@pytest.mark.parametrize("part", [CONVERSION, "_groups", "_decompositions"])
def test_a_wheel_that_registers_nothing_is_refused(part: str, tmp_path: Path) -> None:
    kept = ("_decompositions", "remove_assert") if part == "_decompositions" else (part,)
    empty = {name: "" if any(item in name for item in kept) else text for name, text in SOURCES.items()}
    with pytest.raises(ExportError, match="in another way"):
        table_of_wheel(wheel(tmp_path, empty))


def test_there_is_a_table_for_every_target_that_has_torch_tensorrt() -> None:
    wanted = {profile.torch_tensorrt for profile in load_profiles().values() if profile.torch_tensorrt}
    assert set(known_tables()) == wanted == {"2.8.0", "2.9.0"}
    for table in known_tables().values():
        assert len(table.converters) > 150
    with pytest.raises(LintError, match=r"torch-tensorrt 1\.4\.0, only of 2\.8\.0"):
        table_of("1.4.0")


@pytest.mark.parametrize(
    ("operator", "known"),
    [
        ("aten.convolution.default", True),
        ("aten.native_layer_norm.default", True),
        ("aten.view.default", True),
        ("aten._assert_tensor_metadata.default", True),
        ("<built-in function getitem>", True),
        ("aten.linalg_det.default", False),
        ("aten.gru.input", False),
    ],
)
def test_which_operators_get_to_tensorrt(operator: str, known: bool) -> None:
    assert table_of("2.8.0").converts(operator) == known


def test_what_is_decomposed_before() -> None:
    table = table_of("2.8.0")
    assert table.decomposes("aten.silu.default", composite=False)
    assert table.decomposes("aten.conv1d.default", composite=True)
    assert not table.decomposes("aten.linear.default", composite=True)
    assert not table.decomposes("aten.rsqrt.default", composite=False)
    assert not table.decomposes("aten.native_layer_norm.default", composite=False)
