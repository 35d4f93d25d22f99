from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.inputs.validation import InputValidator

VALIDATOR = InputValidator({"language": 4, "audio": 2, "vision": 3})


def _validate(*, valid: Any = None, **inputs: Any) -> dict[str, Any]:
    return VALIDATOR.validate(**{"language": None, "audio": None, "vision": None, **inputs}, valid=valid)[0]


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
        ({"audio": [[1.0, 2.0], [1.0]]}, "audio must be an array, but a list cannot be converted: "),
        ({"language": "i love it"}, "language must be an array, got a string. Pass words as text=."),
        ({"audio": [[1e300, 0.0]]}, "audio must have finite values within 1e+30, got 1e+300 at frame 0, feature 0."),
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


class Tensor:
    """Behaves like a tensor of torch that needs a gradient, has a type unknown to NumPy, and is not on the CPU."""

    dtype = "torch.bfloat16"

    def __init__(self, values: Any, *, convertible: bool = False) -> None:
        self._values, self._convertible = values, convertible

    def __array__(self, *_: Any, **__: Any) -> Any:
        if not self._convertible:
            raise TypeError("can't convert this tensor to numpy\nsee the manual")
        return np.asarray(self._values, np.float32)

    def detach(self) -> Tensor:
        return self

    def cpu(self) -> Tensor:
        return self

    def float(self) -> Tensor:
        return Tensor(self._values, convertible=True)


class OnlyDlpack:
    """An array of another library."""

    def __init__(self, values: Any) -> None:
        self._values = np.asarray(values, np.float32)

    def __dlpack__(self, **options: Any) -> Any:
        return self._values.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._values.__dlpack_device__()


class Raises:
    """An object whose conversion fails."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise self._error


@pytest.mark.case("F16")
@pytest.mark.parametrize(
    "frames",
    [
        Tensor([[1, 2], [3, 4]]),
        OnlyDlpack([[1, 2], [3, 4]]),
        memoryview(bytes([1, 2, 3, 4])).cast("B", (2, 2)),
        np.asfortranarray(np.array([[1, 2], [3, 4]], "f4")),
        np.array([[1, 9, 2], [3, 9, 4]], "f4")[:, ::2],
    ],
    ids=["tensor", "dlpack", "buffer", "fortran", "strided"],
)
def test_arrays_of_other_libraries_are_converted(frames: Any) -> None:
    if isinstance(frames, OnlyDlpack) and not hasattr(np, "from_dlpack"):
        pytest.skip("this NumPy has no DLPack")
    validated = _validate(audio=frames)["audio"]
    assert validated.dtype == np.float32
    assert validated.tolist() == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.case("F16")
def test_a_frame_with_a_masked_value_is_not_valid() -> None:
    frames = np.ma.masked_array(
        np.array([[1, 2], [np.nan, 4], [5, 6], [7, 8]], "f4"), np.array([[0, 0], [1, 0], [0, 0], [0, 0]], bool)
    )
    assert _validate(audio=frames)["audio"].tolist() == [[1, 2], [5, 6], [7, 8]]
    mask = [True, True, True, False]
    assert _validate(audio=frames, valid={"audio": mask})["audio"].tolist() == [[1, 2], [5, 6]]
    assert type(_validate(audio=frames)["audio"]) is np.ndarray
    assert "audio" not in _validate(audio=np.ma.masked_array(np.zeros((2, 2), "f4"), np.ones((2, 2), bool)))


@pytest.mark.case("F16")
@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (b"abc", "audio must be an array, got bytes. Convert the bytes with numpy.frombuffer"),
        (bytearray(8), "audio must be an array, got bytearray."),
        (
            Raises(RuntimeError("broken\nvery")),
            "audio must be an array, but a Raises cannot be converted: broken. Pass",
        ),
        (np.array([[1j, 2]]), "got complex128. Pass magnitudes"),
        (np.array([[None, 2]]), "got object. Pass rows of equal length as one array of numbers."),
        (np.array([[True, False]]), "got bool. Convert them with astype(numpy.float32)."),
        (np.ma.masked_array([["a", "b"]], np.array([[True, False]])), "got <U1. Convert"),
    ],
)
def test_an_input_that_is_not_an_array_of_numbers_is_one_error_line(frames: Any, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        _validate(audio=frames)
    assert "\n" not in str(caught.value)


@pytest.mark.case("F16")
@pytest.mark.parametrize(
    "mask", [[True, False], np.array([True, False]), np.ma.masked_array([True, True], [False, True])]
)
def test_a_mask_may_be_a_list_or_a_masked_array(mask: Any) -> None:
    assert _validate(audio=[[1, 2], [3, 4]], valid={"audio": mask})["audio"].tolist() == [[1, 2]]


@pytest.mark.case("F16")
@pytest.mark.parametrize(
    ("valid", "message"),
    [
        ([True, False], "valid must be a mapping of masks by modality, got list."),
        ({"audio": "ab"}, "The mask of audio must be an array, got a string."),
        (
            {"audio": Raises(ValueError("no"))},
            "The mask of audio must be an array, but a Raises cannot be converted: no",
        ),
        ({"audio": [1, 0]}, "The mask of audio must be bool of shape (2,), one value per frame, got int64"),
    ],
)
def test_an_invalid_mask_is_one_error_line(valid: Any, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        _validate(audio=[[1, 2], [3, 4]], valid=valid)


def test_large_valid_values_are_accepted_without_a_warning() -> None:
    frames = np.full((3, 2), 1e30, np.float32)
    assert _validate(audio=frames)["audio"] is frames
    assert _validate(audio=np.zeros((0, 2), np.float32), valid={"audio": []}) == {}
