from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any, cast

import pytest

from edge_msa.quantization.calibration_files import Calibration
from edge_msa.workflows.calibrate import _print_fp32_layers
from edge_msa_calibrate.schemes import SCHEMES


def test_the_layers_that_stay_fp32_are_listed_with_verbose(caplog: pytest.LogCaptureFixture) -> None:
    noisy = {scheme: {"encoders.audio.embed.weight": "31 dB"} for scheme in SCHEMES}
    noisy["tensorrt"] |= {"encoders.audio.score.weight": "33 dB", "encoders.audio.b": "34 dB"}
    student = cast("Any", SimpleNamespace(spec=SimpleNamespace(dims={"audio": 3})))
    with caplog.at_level(logging.DEBUG, "edge_msa"):
        _print_fp32_layers(student, Calibration({"encoders.audio.embed.weight:input": (0.0, 1.0)}, {}, noisy))
    assert {record.levelno for record in caplog.records} == {logging.DEBUG}
    assert "encoders.audio.score.weight stays fp32 in int8 graphs of tensorrt: 33 dB." in caplog.messages
