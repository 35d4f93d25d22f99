"""Differences between TensorRT versions, checked without TensorRT."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from edge_msa_runtime.backends.tensorrt.vendor import (
    builder_flags,
    check_target,
    exclude_libraries,
    network_flags,
    parse_device,
    parse_version,
)
from edge_msa_runtime.errors import BackendUnavailableError

FLAGS_8 = SimpleNamespace(FP16=1, INT8=2, TF32=3)
FLAGS_11 = SimpleNamespace(TF32=3)


@pytest.mark.parametrize(
    ("available", "precision", "to_set", "to_clear"),
    [
        (FLAGS_8, "fp32", (), ("TF32",)),
        (FLAGS_8, "fp16", ("FP16",), ()),
        (FLAGS_8, "int8", ("INT8", "FP16"), ()),
        (FLAGS_11, "int8", (), ()),
        (FLAGS_11, "fp32", (), ("TF32",)),
        (SimpleNamespace(), "fp32", (), ()),
    ],
)
def test_builder_flags_exist_in_the_version(
    available: SimpleNamespace, precision: str, to_set: tuple[str, ...], to_clear: tuple[str, ...]
) -> None:
    assert builder_flags(available, precision, quantized=True) == (to_set, to_clear)
    without_int8 = tuple(name for name in to_set if name != "INT8")
    assert builder_flags(available, precision, quantized=False) == (without_int8, to_clear)


@pytest.mark.parametrize(
    ("version", "builder", "names", "flags"),
    [
        ("8.5.2.2", FLAGS_8, SimpleNamespace(EXPLICIT_BATCH=0), 1),
        ("10.3.0", FLAGS_8, SimpleNamespace(EXPLICIT_BATCH=0, STRONGLY_TYPED=1), 0),
        ("11.4.1", FLAGS_11, SimpleNamespace(STRONGLY_TYPED=0), 1),
        ("12.0.0", FLAGS_11, SimpleNamespace(), 0),
    ],
)
def test_network_flags_depend_on_the_version(
    version: str, builder: SimpleNamespace, names: SimpleNamespace, flags: int
) -> None:
    tensorrt = SimpleNamespace(__version__=version, BuilderFlag=builder, NetworkDefinitionCreationFlag=names)
    assert network_flags(tensorrt) == flags


def test_cublas_and_cudnn_are_excluded_if_they_exist() -> None:
    sources_8 = SimpleNamespace(CUBLAS=0, CUBLAS_LT=1, CUDNN=2, JIT_CONVOLUTIONS=4)
    assert exclude_libraries(SimpleNamespace(TacticSource=sources_8), 0b11111) == 0b11000
    assert exclude_libraries(SimpleNamespace(TacticSource=SimpleNamespace(JIT_CONVOLUTIONS=1)), 0b11) == 0b11


def test_versions_compare_as_numbers() -> None:
    assert parse_version("8.5.2.2") == (8, 5) < parse_version("10.13.0.3") == (10, 13)


@pytest.mark.parametrize(("target", "installed"), [("10.3", "10.3.0"), ("10.3", "10.16.2"), ("8.5.2.2", "8.6.2.3")])
def test_a_later_minor_version_can_run_the_bundle(target: str, installed: str) -> None:
    check_target({"tensorrt": target}, installed)
    check_target({}, installed)


@pytest.mark.parametrize(
    ("target", "installed", "needed"),
    [
        ("10.3", "8.6.2.3", "10.3 or a later 10.x"),
        ("8.6", "8.5.2.2", "8.6 or a later 8.x"),
        ("8.5", "10.3.0", "8.5 or a later 8.x"),
        ("10.3", "11.4.1", "10.3 or a later 10.x"),
    ],
)
def test_a_version_mismatch_error_names_both_versions(target: str, installed: str, needed: str) -> None:
    with pytest.raises(BackendUnavailableError, match="run edge-msa export") as caught:
        check_target({"tensorrt": target, "jetpack": "6.2"}, installed)
    message = f"TensorRT {installed} is installed, but the bundle needs {needed} (JetPack 6.2). "
    assert str(caught.value).startswith(message)
    assert caught.value.exit_code == 4


def test_a_device_name_gives_the_index_of_the_gpu() -> None:
    assert (parse_device(""), parse_device("GPU"), parse_device("GPU:2")) == (0, 0, 2)
    for name in ("CPU", "GPU:x"):
        with pytest.raises(BackendUnavailableError, match=f"must be GPU or GPU:N, got '{name}'"):
            parse_device(name)
