from __future__ import annotations

import pytest

from edge_msa_calibrate.errors import CalibrationError
from edge_msa_calibrate.schemes import SCHEMES, scheme_named


def test_each_scheme_is_found_by_its_name() -> None:
    assert list(SCHEMES) == ["ort-x86-vnni", "ort-x86-avx2", "ort-arm", "openvino-x86", "tensorrt"]
    assert all(scheme_named(name).name == name for name in SCHEMES)


def test_unknown_scheme_is_rejected() -> None:
    with pytest.raises(CalibrationError, match=r"Unknown quantization scheme 'dla'\. Available: ort-x86-vnni"):
        scheme_named("dla")
