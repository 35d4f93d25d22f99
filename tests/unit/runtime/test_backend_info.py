from __future__ import annotations

from typing import Any

import pytest

from edge_msa_runtime.backend_info import tensorrt_requirement


@pytest.mark.parametrize(
    ("profile", "requirement"),
    [
        ({"architecture": "x86_64", "tensorrt": "10.3"}, "tensorrt>=10.3,<11"),
        ({"architecture": "x86_64", "tensorrt": "11.4.1"}, "tensorrt>=11.4.1,<12"),
        ({"architecture": "x86_64"}, "tensorrt"),
        ({"architecture": "aarch64", "tensorrt": "10.3", "jetpack": "6.2"}, None),
        ({"architecture": "aarch64", "tensorrt": "10.3"}, None),
        ({}, None),
    ],
)
def test_pip_installs_tensorrt_on_x86_only(profile: dict[str, Any], requirement: str | None) -> None:
    assert tensorrt_requirement(profile) == requirement
