from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_msa_export.errors import ProfileError
from edge_msa_export.profiles import ENVIRONMENT, load_profiles, profile_named, read_profile
from tests.locations import REPOSITORY

SHIPPED = {
    "jetson-orin-nano",
    "jetson-orin-nx",
    "jetson-agx-orin",
    "jetson-agx-orin-jetpack-722",
    "jetson-orin-jetpack-51",
    "jetson-orin-jetpack-60",
    "jetson-xavier-nx",
    "jetson-thor",
    "jetson-thor-jetpack-722",
    "laptop-x86",
    "laptop-x86-avx2",
    "laptop-arm",
    "raspberry-pi-5",
}
GOOD = """
name = "my-board"
description = "A board"
family = "board"
architecture = "aarch64"

[[backends]]
name = "onnxruntime"
precisions = ["fp32", "int8"]
scheme = "ort-arm"
"""


@pytest.fixture
def board(tmp_path: Path) -> Path:
    path = tmp_path / "my-board.toml"
    path.write_text(GOOD, encoding="utf-8")
    return path


def test_every_shipped_profile_is_valid_and_named_after_its_file() -> None:
    assert set(load_profiles()) >= SHIPPED
    folder = REPOSITORY / "devices"
    assert {path.stem: read_profile(path).name for path in folder.glob("*.toml")} == {name: name for name in SHIPPED}


def test_family_names_point_at_one_device() -> None:
    assert profile_named("jetson").name == "jetson-orin-nano"
    assert profile_named("laptop").name == "laptop-x86"


def test_facts_that_decide_an_backend() -> None:
    xavier = profile_named("jetson-xavier-nx")
    assert (xavier.sm, xavier.tensorrt, xavier.python) == (72, "8.5.2.2", "3.8")
    assert profile_named("jetson-thor").sm == 110
    assert not profile_named("laptop-x86-avx2").vnni
    assert profile_named("laptop-x86-avx2").backend("onnxruntime").scheme == "ort-x86-avx2"
    assert profile_named("jetson").backends[0].name == "tensorrt"


# NVIDIA's table of JetPack: which TensorRT, CUDA and Python each has.
JETPACKS = {
    "5.1": ("8.5.2.2", "11.4", "3.8"),
    "6.0": ("8.6.2.3", "12.2", "3.10"),
    "6.2": ("10.3", "12.6", "3.10"),
    "7.1": ("10.13", "13.0", "3.12"),
    "7.2.2": ("11.4.1", "13.2", "3.12"),
}


def test_every_jetson_has_what_its_jetpack_has() -> None:
    jetsons = [profile for profile in load_profiles().values() if profile.family == "jetson"]
    assert {profile.jetpack for profile in jetsons} == set(JETPACKS)
    for profile in jetsons:
        assert (profile.tensorrt, profile.cuda, profile.python) == JETPACKS[profile.jetpack or ""]


def test_which_boards_have_a_dla() -> None:
    found = {profile.name for profile in load_profiles().values() if profile.dla}
    assert found == {"jetson-xavier-nx", "jetson-orin-nx", "jetson-agx-orin", "jetson-agx-orin-jetpack-722"}


def test_torch_tensorrt_is_named_where_there_is_a_version_for_the_jetpack() -> None:
    found = {profile.name: profile.torch_tensorrt for profile in load_profiles().values() if profile.torch_tensorrt}
    orin = dict.fromkeys(("jetson-orin-nano", "jetson-orin-nx", "jetson-agx-orin"), "2.8.0")
    assert found == {**orin, "jetson-thor": "2.9.0"}
    for profile in load_profiles().values():
        assert profile.torch_tensorrt is None or f"=={profile.torch_tensorrt}" in (profile.torch_tensorrt_install or "")


def test_an_unknown_target_names_the_nearest() -> None:
    with pytest.raises(ProfileError, match="did you mean 'jetson-orin-nano'") as caught:
        profile_named("jetson-orin-nan")
    assert caught.value.exit_code == 2


def test_a_file_of_ones_own_by_path(board: Path) -> None:
    assert profile_named(board).name == "my-board"


def test_a_folder_of_ones_own_by_environment(board: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, str(board.parent))
    assert profile_named("my-board").family == "board"
    assert "jetson-thor" in load_profiles()


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=ENVIRONMENT):
        load_profiles(tmp_path / "none")


def test_a_name_that_is_shipped_already_is_refused(board: Path) -> None:
    board.write_text(GOOD.replace("my-board", "laptop-arm"), encoding="utf-8")
    with pytest.raises(ProfileError, match="already"):
        load_profiles(board.parent)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('family = "board"', 'famly = "board"', "unknown key 'famly', did you mean 'family'"),
        ('family = "board"\n', "", "family is missing"),
        ('family = "board"', "family = 3", "family = 3 must be text"),
        ('family = "board"', 'family = "board"\nsm = true', "sm = True must be a whole number"),
        ('family = "board"', 'family = "board"\nnotes = [1]', "must be a list of texts"),
        ('family = "board"', 'family = "board"\nmemory_mib = -1', "memory_mib -1 must be positive"),
        ('"aarch64"', '"arm64"', "unknown architecture 'arm64', did you mean 'aarch64'"),
        ('"my-board"', '"My Board"', "must be lower case"),
        ('"onnxruntime"', '"onnxruntim"', "did you mean 'onnxruntime'"),
        ('"onnxruntime"', '"tensorrt"', "needs sm and tensorrt"),
        ('family = "board"', 'family = "board"\ndla = true', "dla goes with backend tensorrt"),
        ('family = "board"', 'family = "board"\ntorch_tensorrt = "2.8.0"', "torch_tensorrt_install, give both"),
        ('"ort-arm"', '"ort-arn"', "did you mean 'ort-arm'"),
        ('scheme = "ort-arm"', "", "give both or neither"),
        ('"fp32", "int8"', '"int8"', "lack 'fp32'"),
        ('"int8"', '"int4"', "unknown precision of onnxruntime 'int4'"),
        ("precisions", "precision", "backends: unknown key 'precision', did you mean 'precisions'"),
        ("[[backends]]", "[backends]", "backends = "),
        ('name = "my-board"', "name = ", "is not TOML"),
    ],
)
def test_what_is_wrong_with_a_profile_is_said_in_one_line(board: Path, old: str, new: str, message: str) -> None:
    board.write_text(GOOD.replace(old, new), encoding="utf-8")
    with pytest.raises(ProfileError) as caught:
        read_profile(board)
    assert message in str(caught.value)
    assert str(board) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="cannot be read"):
        profile_named(tmp_path / "none.toml")


def test_a_profile_is_json() -> None:
    value = json.loads(json.dumps(profile_named("jetson").to_json()))
    assert value["backends"][0] == {
        "name": "tensorrt",
        "precisions": ["fp32", "fp16", "int8"],
        "scheme": "tensorrt",
    }


def test_an_backend_that_the_device_lacks_is_said() -> None:
    with pytest.raises(ProfileError, match="it runs onnxruntime"):
        profile_named("raspberry-pi-5").backend("tensorrt")
