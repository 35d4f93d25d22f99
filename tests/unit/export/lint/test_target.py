from __future__ import annotations

import pytest

from edge_msa_export.errors import LintError
from edge_msa_export.lint import LintTarget, parse_tensorrt_version
from edge_msa_export.profiles import find_profile


@pytest.mark.parametrize(
    ("text", "version"),
    [("8.5.2.2", (8, 5, 2, 2)), ("8.6", (8, 6)), ("10.3", (10, 3)), ("11", (11, 0)), ("11.4.1", (11, 4, 1))],
)
def test_version_is_parsed_into_numbers(text: str, version: tuple[int, ...]) -> None:
    assert parse_tensorrt_version(text) == version


def test_version_10_is_later_than_version_8() -> None:
    assert parse_tensorrt_version("10.3") > parse_tensorrt_version("8.6")


@pytest.mark.parametrize("text", ["", "banana", "8.5.", "10.3rc1", "-1", "7.2", "8.4.3", "12.0"])
def test_invalid_or_unknown_version_is_an_error(text: str) -> None:
    with pytest.raises(LintError, match="TensorRT version must be") as caught:
        parse_tensorrt_version(text)
    assert caught.value.exit_code == 2
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tflite",), "Unknown backend 'tflite'"),
        (("tensorrt",), "needs a TensorRT version"),
        (("openvino", (10, 3)), "does not take a TensorRT version"),
        (("openvino", None, True), "cannot use a DLA"),
    ],
)
def test_version_and_dla_must_fit_the_backend(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(LintError, match=message):
        LintTarget(*arguments)  # type: ignore[arg-type]


def test_target_prints_as_backend_and_version() -> None:
    assert str(LintTarget("tensorrt", (8, 5, 2, 2))) == "TensorRT 8.5.2.2"
    assert str(LintTarget("tensorrt", (10, 3), dla=True)) == "TensorRT 10.3 on the DLA"
    assert str(LintTarget("onnxruntime")) == "ONNX Runtime"


def test_profile_gives_its_exact_version_and_dla() -> None:
    assert LintTarget.from_profile(find_profile("jetson-xavier-nx"), "tensorrt").version == (8, 5, 2, 2)
    assert LintTarget.from_profile(find_profile("jetson-orin-nx"), "tensorrt", dla=True).dla
    assert LintTarget.from_profile(find_profile("jetson"), "onnxruntime") == LintTarget("onnxruntime")


@pytest.mark.parametrize("name", ["jetson-orin-nano", "jetson-thor", "laptop"])
def test_dla_of_a_device_without_one_is_an_error(name: str) -> None:
    with pytest.raises(LintError, match="has no DLA"):
        LintTarget.from_profile(find_profile(name), "tensorrt", dla=True)
