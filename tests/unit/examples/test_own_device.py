from __future__ import annotations

import pytest

from edge_msa_export.profiles import DEVICES_VARIABLE, find_profile
from tests.locations import REPOSITORY

FOLDER = REPOSITORY / "examples/own_device"


def test_the_device_is_found_by_its_path_and_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    profile = find_profile(FOLDER / "mini-pc.toml")
    assert profile.backend("openvino").precisions == ("fp32", "int8")
    monkeypatch.setenv(DEVICES_VARIABLE, str(FOLDER))
    assert find_profile("mini-pc") == profile
