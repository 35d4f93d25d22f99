from __future__ import annotations

import pytest

from edge_msa_export.errors import LintError
from edge_msa_export.profiles import load_profiles
from edge_msa_export.torch_tensorrt.tables import find_operator_table, load_operator_tables


def test_every_target_with_torch_tensorrt_has_a_table() -> None:
    versions = {profile.torch_tensorrt for profile in load_profiles().values() if profile.torch_tensorrt}
    assert set(load_operator_tables()) == versions == {"2.8.0", "2.9.0"}
    for table in load_operator_tables().values():
        assert len(table.converters) > 150


def test_unknown_version_is_an_error() -> None:
    with pytest.raises(LintError, match=r"no operator table for torch-tensorrt 1\.4\.0. Available: 2\.8\.0"):
        find_operator_table("1.4.0")


@pytest.mark.parametrize(
    ("operator", "is_converted"),
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
def test_tensorrt_runs_converted_operators(operator: str, *, is_converted: bool) -> None:
    assert find_operator_table("2.8.0").converts(operator) == is_converted


def test_operators_are_decomposed_before_the_conversion() -> None:
    table = find_operator_table("2.8.0")
    assert table.decomposes("aten.silu.default", composite=False)
    assert table.decomposes("aten.conv1d.default", composite=True)
    assert not table.decomposes("aten.linear.default", composite=True)
    assert not table.decomposes("aten.rsqrt.default", composite=False)
    assert not table.decomposes("aten.native_layer_norm.default", composite=False)
