from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from edge_msa_export.errors import ExportError, ProfileError
from edge_msa_export.profiles import find_profile
from edge_msa_export.request import ExportRequest, list_variants


def test_without_calibration_int8_is_not_exported(laptop_request: ExportRequest) -> None:
    uncalibrated = replace(laptop_request, ranges=None)
    assert {variant.precision for variant in list_variants(uncalibrated)} == {"fp32", "fp16"}
    with pytest.raises(ProfileError, match="Run edge-msa calibrate first"):
        list_variants(replace(uncalibrated, precisions=("int8",)))


def test_precision_that_the_device_lacks_is_an_error(laptop_request: ExportRequest) -> None:
    request = replace(laptop_request, profile=find_profile("raspberry-pi"), precisions=("fp16",))
    with pytest.raises(ProfileError, match=r"fp16 is not available on raspberry-pi-5. Available: fp32"):
        list_variants(request)


def test_openvino_ir_for_a_device_without_openvino_is_an_error(laptop_request: ExportRequest) -> None:
    with pytest.raises(ProfileError, match="raspberry-pi-5 does not run OpenVINO"):
        replace(laptop_request, profile=find_profile("raspberry-pi"), openvino_ir=True)


def test_unknown_precision_is_an_error(laptop_request: ExportRequest) -> None:
    with pytest.raises(ExportError, match="Unknown precision 'int2'"):
        replace(laptop_request, precisions=("int2",))


def test_int4_is_exported_on_request_only(text_encoder_request: ExportRequest) -> None:
    request = replace(text_encoder_request, ranges={"text_encoder.w:input": (-1.0, 1.0)})
    assert "int4" not in {variant.precision for variant in list_variants(request)}
    variants = list_variants(replace(request, precisions=("int4",)))
    assert {(variant.backend, variant.precision, variant.scheme) for variant in variants} == {
        (backend.name, precision, backend.scheme if precision == "int4" else "")
        for backend in request.profile.backends
        for precision in ("fp32", "int4")
    }


def test_int4_is_refused_where_it_cannot_run(
    laptop_request: ExportRequest, text_encoder_request: ExportRequest
) -> None:
    request = replace(text_encoder_request, precisions=("int4",), ranges={"text_encoder.w:input": (-1.0, 1.0)})
    with pytest.raises(ProfileError, match="and this student has none"):
        list_variants(replace(laptop_request, precisions=("int4",)))
    with pytest.raises(ProfileError, match="Precision int4 needs a calibrated model"):
        list_variants(replace(request, ranges=None))
    tensorrt = find_profile("jetson-orin-nano").with_backends("tensorrt")
    with pytest.raises(ProfileError, match="Precision int4 is not available on jetson-orin-nano"):
        list_variants(replace(request, profile=tensorrt))
    with pytest.raises(ProfileError, match="OpenVINO IR cannot store int4"):
        replace(request, openvino_ir=True)


@pytest.mark.parametrize("field", ["chunks", "windows"])
def test_empty_chunk_or_window_is_an_error(laptop_request: ExportRequest, field: str) -> None:
    changes: dict[str, Any] = {field: {"audio": 0}}
    with pytest.raises(ExportError, match=f"{field} of audio must be at least 1 frame, got 0"):
        replace(laptop_request, **changes)


def test_golden_samples_must_fit_their_subset(laptop_request: ExportRequest) -> None:
    first, second, *others = laptop_request.golden_samples
    with pytest.raises(ExportError, match="must have one sample per subset"):
        replace(laptop_request, golden_samples=[first, first, second])
    with pytest.raises(ExportError, match="sample of l must have frames of language, got audio"):
        replace(laptop_request, golden_samples=[replace(first, frames=second.frames), *others])
    with pytest.raises(ExportError, match="sample of l has a text, but no text model"):
        replace(laptop_request, golden_samples=[replace(first, text="i love it"), *others])
