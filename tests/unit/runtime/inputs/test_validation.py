from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.inputs.validation import InputValidator

VALIDATOR = InputValidator({"language": 4, "audio": 2, "vision": 3})


def _validate(*, valid: Any = None, **inputs: Any) -> dict[str, Any]:
    return VALIDATOR.validate(**{"language": None, "audio": None, "vision": None, **inputs}, valid=valid)


def test_only_modalities_with_valid_frames_are_returned() -> None:
    frames = _validate(
        language=np.ones((5, 4)), audio=np.zeros((0, 2)), vision=np.ones((2, 3)), valid={"vision": np.zeros(2, bool)}
    )
    assert list(frames) == ["language"]


def test_masked_frames_are_dropped_in_order() -> None:
    frames = np.arange(8, dtype=np.float32).reshape(4, 2)
    mask = np.array([True, False, True, False])
    np.testing.assert_array_equal(_validate(audio=frames, valid={"audio": mask})["audio"], frames[[0, 2]])


@pytest.mark.parametrize("dtype", ["f8", "f2", "i4", "u1", ">f4"])
def test_other_numbers_are_converted_to_float32(dtype: str) -> None:
    frames = _validate(audio=np.array([[1, 2]], dtype))["audio"]
    assert frames.dtype == np.float32
    assert frames.tolist() == [[1.0, 2.0]]


def test_lists_of_numbers_are_converted_to_float32() -> None:
    assert _validate(audio=[[1, 2.5]])["audio"].tolist() == [[1.0, 2.5]]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"language": np.zeros((3, 5), "f4")}, "language must be an array of shape (frames, 4), got (3, 5)."),
        ({"audio": np.zeros(2)}, "audio must be an array of shape (frames, 2), got (2,)."),
        ({"audio": np.array([["a", "b"]])}, "audio must have real numbers, preferably float32, got <U1."),
        ({"audio": np.zeros((1, 2), "c8")}, "audio must have real numbers, preferably float32, got complex64."),
        ({"audio": [[1.0, 2.0], [1.0]]}, "audio must be an array (frames, features): "),
        ({"language": "i love it"}, "language must be an array (frames, features), got a string. Pass words as text=."),
        ({"audio": [[1e300, 0.0]]}, "audio must have finite values within 1e+30, got inf at frame 0, feature 0."),
        (
            {"audio": np.zeros((3, 2)), "valid": {"audio": np.ones(2, bool)}},
            "The mask of audio must be bool of shape (3,), one value per frame, got bool of shape (2,).",
        ),
        (
            {"audio": np.zeros((3, 2)), "valid": {"audio": np.ones(3)}},
            "The mask of audio must be bool of shape (3,), one value per frame, got float64 of shape (3,).",
        ),
        (
            {"audio": np.zeros((3, 2)), "valid": {"vision": np.ones(3, bool)}},
            "valid has a mask for 'vision', which has",
        ),
        ({"audio": np.zeros((3, 2)), "valid": {"sound": np.ones(3, bool)}}, "valid has a mask for 'sound', which has"),
    ],
)
def test_an_invalid_input_is_refused(inputs: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        _validate(**inputs)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e38, -1e31])
def test_a_bad_value_is_named_by_frame_and_feature(value: float) -> None:
    frames = np.zeros((6, 3), np.float32)
    frames[1, 0] = np.nan  # masked, so another value is named
    frames[4, 2] = value
    mask = np.array([True, False, True, True, True, True])
    message = f"vision must have finite values within 1e+30, got {value:g} at frame 4, feature 2."
    with pytest.raises(UsageError, match=re.escape(message)):
        _validate(vision=frames, valid={"vision": mask})


def test_a_modality_that_the_bundle_lacks_is_refused() -> None:
    validator = InputValidator({"language": 4, "audio": 2})
    with pytest.raises(UsageError, match=r"This bundle has no modality vision. Available: language, audio"):
        validator.validate(language=None, audio=None, vision=np.zeros((1, 3)), valid=None)


def test_the_caller_s_arrays_are_not_modified() -> None:
    frames = np.ones((6, 4), np.float32)
    _validate(language=frames, valid={"language": np.arange(6) % 2 == 0})
    np.testing.assert_array_equal(frames, np.ones((6, 4)))
