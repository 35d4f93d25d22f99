from __future__ import annotations

import json
from typing import Any

import pytest

from edge_msa_runtime.features import (
    FeatureSource,
    features_to_json,
    fill_features,
    mismatch_warning,
    parse_features,
)

COVAREP = FeatureSource("COVAREP", "1.4.2", 100.0, ("F0", "VUV"), ("Hz", ""))
FACE = FeatureSource("face", "1", parameters={"margin": 0.25, "bins": 40, "choice": "largest"}, model_sha256="ab" * 32)


def test_features_survive_json() -> None:
    features = {"language": FeatureSource("GloVe", "840B 300d"), "audio": COVAREP, "vision": FACE}
    assert parse_features(json.loads(json.dumps(features_to_json(features))), "features") == features


def test_missing_fields_are_unknown() -> None:
    assert parse_features({"audio": {"rate_hz": 25}, "vision": {}}, "features") == {"audio": FeatureSource(rate_hz=25)}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "features must be an object"),
        ({"video": {}}, "features must be for language, audio, vision, got 'video'"),
        ({"audio": "COVAREP"}, r"features\.audio must be an object"),
        ({"audio": {"extractr": "x"}}, r"features\.audio\.extractr is not a known field"),
        ({"audio": {"extractor": 3}}, r"features\.audio\.extractor must be a string, got 3"),
        ({"audio": {"extractor": "a\x1b[31m"}}, r"features\.audio\.extractor must be printable text"),
        ({"audio": {"rate_hz": 0}}, r"features\.audio\.rate_hz must be a positive number in Hz, got 0"),
        ({"audio": {"rate_hz": float("nan")}}, r"rate_hz must be a finite number"),
        ({"audio": {"names": ["a", "a"]}}, r"features\.audio\.names must be a different name for each feature"),
        ({"audio": {"names": ["a", ""]}}, r"features\.audio\.names must be a different name for each feature"),
        ({"audio": {"names": ["a"], "units": ["Hz", "dB"]}}, r"features\.audio\.units must be 1 texts"),
        ({"audio": {"parameters": [1]}}, r"features\.audio\.parameters must be an object, got \[1\]"),
        ({"audio": {"parameters": {"x": True}}}, r"parameters\.x must be a finite number or a string, got true"),
        ({"audio": {"parameters": {"x": float("inf")}}}, r"parameters\.x must be a finite number or a string, got inf"),
        ({"audio": {"parameters": {"": 1}}}, r"parameters must have a name for each value, got an empty name"),
        ({"audio": {"parameters": {"a\n": 1}}}, r"features\.audio\.parameters must be printable text, got 'a\\n'"),
        ({"audio": {"parameters": {"a": "\x1b"}}}, r"features\.audio\.parameters must be printable text"),
        (
            {"audio": {"model_sha256": "ab" * 31}},
            r"features\.audio\.model_sha256 must be 64 hexadecimal digits, got 'ab",
        ),
    ],
)
def test_invalid_features_are_refused(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_features(value, "features")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (FeatureSource("FACET 4.2"), FeatureSource("Facet", "4.2")),
        (FeatureSource("FACET"), FeatureSource("FACET_4.2")),
        (FeatureSource("OpenFace", "2.0"), FeatureSource()),
        (FeatureSource("openSMILE", rate_hz=29.97), FeatureSource("openSMILE", "3.0", 30.0)),
        (COVAREP, FeatureSource("COVAREP", rate_hz=100.0)),
        (FACE, FeatureSource("face", parameters={"bins": 40.0, "rate": 15})),
        (FACE, FeatureSource("face", model_sha256="ab" * 32)),
    ],
)
def test_what_is_not_stated_is_no_difference(one: FeatureSource, other: FeatureSource) -> None:
    assert one.differences(other) == other.differences(one) == []


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (FeatureSource("librosa", "0.10"), "librosa 0.10 instead of COVAREP 1.4.2"),
        (FeatureSource("COVAREP", "1.4.3"), "COVAREP 1.4.3 instead of COVAREP 1.4.2"),
        (FeatureSource(rate_hz=50.0), "50 Hz instead of 100 Hz"),
        (FeatureSource(names=("VUV", "F0")), "name of feature 0: VUV instead of F0"),
        (FeatureSource(names=("F0",)), "1 names instead of 2"),
        (FeatureSource(units=("Hz", "dB")), "unit of feature 1: dB instead of none"),
    ],
)
def test_contradictions_are_differences(other: FeatureSource, message: str) -> None:
    assert COVAREP.differences(other) == [message]


def test_other_parameters_and_models_are_differences() -> None:
    other = FeatureSource("face", parameters={"margin": 0.5, "choice": "left"}, model_sha256="cd" * 32)
    assert FACE.differences(other) == [
        "margin=0.5 instead of margin=0.25",
        "choice=left instead of choice=largest",
        "model cdcdcdcdcdcd instead of abababababab",
    ]


def test_a_source_is_completed_with_parameters_and_model() -> None:
    stated = FeatureSource("face", parameters={"bins": 40})
    assert stated.filled_from(FACE) == FACE
    assert FeatureSource("face X").filled_from(FACE) == FeatureSource("face X")
    assert len({FACE, stated}) == 2  # a source has a hash


def test_a_warning_names_every_modality_that_differs() -> None:
    expected = {"language": FeatureSource("GloVe"), "audio": COVAREP, "vision": FeatureSource("FACET")}
    actual = {"language": FeatureSource("GloVe"), "audio": FeatureSource("librosa", rate_hz=50.0)}
    assert mismatch_warning(expected, expected, "x.npz") is None
    warning = mismatch_warning(expected, {**actual, "vision": FeatureSource("OpenFace")}, "x.npz")
    assert warning is not None
    assert warning.startswith("x.npz has other features than the model was trained on")
    assert (
        "(audio: librosa instead of COVAREP 1.4.2, 50 Hz instead of 100 Hz; vision: OpenFace instead of FACET)"
        in warning
    )


def test_only_unknown_fields_are_filled() -> None:
    known = {"audio": FeatureSource("COVAREP"), "vision": FeatureSource("FACET")}
    filled = fill_features(known, {"audio": COVAREP, "vision": FeatureSource("OpenFace", "2.0", 30.0)})
    assert filled == {"audio": COVAREP, "vision": FeatureSource("FACET")}


def test_a_description_shows_what_is_known() -> None:
    assert FeatureSource().describe() == "unknown"
    assert FeatureSource(rate_hz=12.5).describe() == "unknown extractor, 12.5 Hz"
    assert COVAREP.describe() == "COVAREP 1.4.2, 100 Hz, F0 (Hz) VUV"
    assert FACE.describe() == "face 1, margin=0.25 bins=40 choice=largest, model abababababab"
    many = {str(number): number for number in range(8)}
    assert FeatureSource("x", parameters=many).describe() == "x, 0=0 1=1 2=2 3=3 4=4 5=5 and 2 more parameters"
    assert FeatureSource("x", names=tuple("abcdef")).describe() == "x, a b c d and 2 more features"
