from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import get_args

import pytest
from packaging.requirements import Requirement

from edge_msa_calibrate.schemes import SCHEMES
from edge_msa_export.errors import ProfileError
from edge_msa_export.profiles import (
    BACKENDS,
    DEVICES_VARIABLE,
    BackendProfile,
    DeviceProfile,
    Scheme,
    find_profile,
    load_profile,
    load_profiles,
)
from edge_msa_runtime.backend_info import BACKENDS as RUNTIME_BACKENDS
from edge_msa_runtime.backend_info import tensorrt_requirement
from tests.locations import REPOSITORY

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROFILE_NAMES = {
    "any-cpu",
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
    "desktop-nvidia",
}
# TensorRT, CUDA and Python of each JetPack, from NVIDIA's tables.
JETPACKS = {
    "5.1": ("8.5.2.2", "11.4", "3.8"),
    "6.0": ("8.6.2.3", "12.2", "3.10"),
    "6.2": ("10.3", "12.6", "3.10"),
    "7.1": ("10.13", "13.0", "3.12"),
    "7.2.2": ("11.4.1", "13.2", "3.12"),
}
VALID_PROFILE = """
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
    path.write_text(VALID_PROFILE, encoding="utf-8")
    return path


def test_project_profiles_are_valid_and_named_after_their_files() -> None:
    assert set(load_profiles()) >= PROFILE_NAMES
    paths = (REPOSITORY / "devices").glob("*.toml")
    assert {path.stem: load_profile(path).name for path in paths} == {name: name for name in PROFILE_NAMES}


def test_profiles_know_every_backend_and_scheme() -> None:
    assert set(BACKENDS) == set(RUNTIME_BACKENDS)
    assert set(get_args(Scheme)) == set(SCHEMES)


def test_every_field_has_a_description() -> None:
    for model in (BackendProfile, DeviceProfile):
        assert [name for name, field in model.model_fields.items() if not field.description] == []


def test_family_name_selects_its_default_device() -> None:
    assert find_profile("jetson").name == "jetson-orin-nano"
    assert find_profile("laptop").name == "laptop-x86"
    assert find_profile("desktop").name == "desktop-nvidia"


def test_profiles_state_what_decides_the_backend() -> None:
    xavier = find_profile("jetson-xavier-nx")
    assert (xavier.sm, xavier.tensorrt, xavier.python) == (72, "8.5.2.2", "3.8")
    assert find_profile("jetson-thor").sm == 110
    assert not find_profile("laptop-x86-avx2").vnni
    assert find_profile("laptop-x86-avx2").backend("onnxruntime").scheme == "ort-x86-avx2"
    assert find_profile("jetson").backends[0].name == "tensorrt"


def test_jetsons_have_the_versions_of_their_jetpack() -> None:
    jetsons = [profile for profile in load_profiles().values() if profile.family == "jetson"]
    assert {profile.jetpack for profile in jetsons} == set(JETPACKS)
    for profile in jetsons:
        assert (profile.tensorrt, profile.cuda, profile.python) == JETPACKS[profile.jetpack or ""]


def test_the_extras_install_what_the_desktop_target_needs() -> None:
    profile = find_profile("desktop-nvidia")
    tensorrt = Requirement(tensorrt_requirement(profile.to_json()) or "")
    extras = {requirement.name: requirement for requirement in map(Requirement, _list_extras("tensorrt", "runtime"))}
    assert extras["tensorrt"].specifier == tensorrt.specifier
    (torch_tensorrt,) = map(Requirement, _list_extras("torch-tensorrt"))
    assert torch_tensorrt.specifier.contains(profile.torch_tensorrt or "")
    for requirement in (*extras.values(), torch_tensorrt):
        assert requirement.marker is not None
        assert requirement.marker.evaluate({"platform_machine": "x86_64"})
        assert not requirement.marker.evaluate({"platform_machine": "aarch64"})


def _list_extras(extra: str, folder: str = ".") -> list[str]:
    project = tomllib.loads((REPOSITORY / folder / "pyproject.toml").read_text())["project"]
    requirements = project["optional-dependencies"][extra]
    assert requirements
    return [str(requirement) for requirement in requirements]


def test_only_some_boards_have_a_dla() -> None:
    names = {profile.name for profile in load_profiles().values() if profile.dla}
    assert names == {"jetson-xavier-nx", "jetson-orin-nx", "jetson-agx-orin", "jetson-agx-orin-jetpack-722"}


def test_torch_tensorrt_is_set_where_the_device_has_a_version() -> None:
    profiles = [profile for profile in load_profiles().values() if profile.torch_tensorrt]
    orin = dict.fromkeys(("jetson-orin-nano", "jetson-orin-nx", "jetson-agx-orin"), "2.8.0")
    others = dict.fromkeys(("jetson-thor", "desktop-nvidia"), "2.9.0")
    assert {profile.name: profile.torch_tensorrt for profile in profiles} == {**orin, **others}
    for profile in profiles:
        assert f"=={profile.torch_tensorrt}" in (profile.torch_tensorrt_install or "")


def test_unknown_target_suggests_the_closest_name() -> None:
    with pytest.raises(ProfileError, match="Did you mean 'jetson-orin-nano'") as caught:
        find_profile("jetson-orin-nan")
    assert caught.value.exit_code == 2


def test_path_of_a_file_is_a_target(board: Path) -> None:
    assert find_profile(board).name == "my-board"


def test_environment_variable_adds_a_folder(board: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DEVICES_VARIABLE, str(board.parent))
    assert find_profile("my-board").family == "board"
    assert "jetson-thor" in load_profiles()


def test_a_device_without_family_is_its_own_family(board: Path) -> None:
    board.write_text(VALID_PROFILE.replace('family = "board"\n', ""), encoding="utf-8")
    assert find_profile(board).family == "my-board"


def test_missing_folder_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DEVICES_VARIABLE, str(tmp_path / "none"))
    with pytest.raises(ProfileError, match=DEVICES_VARIABLE):
        load_profiles()


def test_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="cannot be loaded"):
        find_profile(tmp_path / "none.toml")


def test_duplicate_name_is_an_error(board: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DEVICES_VARIABLE, str(board.parent))
    board.write_text(VALID_PROFILE.replace("my-board", "laptop-arm"), encoding="utf-8")
    with pytest.raises(ProfileError, match="device 'laptop-arm' already exists"):
        load_profiles()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('family = "board"', 'famly = "board"', "Unknown key 'famly'. Did you mean 'family'?"),
        ('architecture = "aarch64"\n', "", "architecture is missing."),
        ('family = "board"', "family = 3", "family must be a string, got 3."),
        ('family = "board"', 'family = "board"\nsm = true', "sm must be an integer, got True."),
        ('family = "board"', 'family = "board"\ndla = "yes"', "dla must be true or false, got 'yes'."),
        ('family = "board"', 'family = "board"\nnotes = [1]', "notes.0 must be a string, got 1."),
        ('family = "board"', 'family = "board"\nnotes = "x"', "notes must be a list, got 'x'."),
        ('family = "board"', 'family = "board"\nmemory_mib = -1', "memory_mib must be greater than 0, got -1."),
        (
            '"aarch64"',
            '"arm64"',
            "architecture must be one of x86_64, aarch64, any, got 'arm64'. Did you mean 'aarch64'?",
        ),
        ('"my-board"', '"My Board"', "name must be lowercase letters, digits and hyphens, got 'My Board'."),
        ('"onnxruntime"', '"onnxruntim"', "backends.0.name must be one of onnxruntime, openvino, tensorrt, got"),
        ('"onnxruntime"', '"tensorrt"', "Backend tensorrt needs sm and tensorrt"),
        ('family = "board"', 'family = "board"\ndla = true', "dla needs backend tensorrt"),
        ('family = "board"', 'family = "board"\ntorch_tensorrt = "2.8.0"', "must be set together."),
        ('"ort-arm"', '"ort-arn"', "got 'ort-arn'. Did you mean 'ort-arm'?"),
        ('scheme = "ort-arm"', "", "Backend onnxruntime has precision 'int8' and needs a scheme."),
        ('"fp32", "int8"', '"fp32"', "has scheme 'ort-arm' but not precision 'int8'."),
        ('"fp32", "int8"', '"int8"', "precisions of onnxruntime must include 'fp32'"),
        ('"int8"', '"int4"', "backends.0.precisions.1 must be one of fp32, fp16, int8, got 'int4'."),
        ("precisions", "precision", "Unknown key 'backends.0.precision'. Did you mean 'precisions'?"),
        ("[[backends]]", "[[backends]]\nnames = 1", "Unknown key 'backends.0.names'. Did you mean 'name'?"),
        ("[[backends]]", "[backends]", "backends must be a list of at least one table."),
        ('name = "my-board"', "name = ", "is not valid TOML"),
    ],
)
def test_invalid_profile_is_a_one_line_error(board: Path, old: str, new: str, message: str) -> None:
    board.write_text(VALID_PROFILE.replace(old, new), encoding="utf-8")
    with pytest.raises(ProfileError) as caught:
        load_profile(board)
    assert message in str(caught.value)
    assert str(board) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_backend_listed_twice_is_an_error(board: Path) -> None:
    backend = VALID_PROFILE[VALID_PROFILE.index("[[backends]]") :]
    board.write_text(VALID_PROFILE + backend, encoding="utf-8")
    with pytest.raises(ProfileError, match="must name each backend once, got onnxruntime, onnxruntime"):
        load_profile(board)


def test_json_values_equal_their_parsed_text() -> None:
    value = find_profile("jetson").to_json()
    assert json.loads(json.dumps(value)) == value
    assert value["backends"][0] == {
        "name": "tensorrt",
        "precisions": ["fp32", "fp16", "int8"],
        "scheme": "tensorrt",
    }


def test_backend_that_the_device_lacks_is_an_error() -> None:
    with pytest.raises(ProfileError, match=r"does not run backend 'tensorrt'. Available: onnxruntime"):
        find_profile("raspberry-pi-5").backend("tensorrt")


def test_with_backends_keeps_only_those() -> None:
    profile = find_profile("laptop-x86")
    assert [backend.name for backend in profile.with_backends("onnxruntime").backends] == ["onnxruntime"]
    assert [backend.name for backend in profile.backends] == ["openvino", "onnxruntime"]
