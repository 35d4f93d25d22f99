from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_msa.data.assemble import assemble
from edge_msa.data.dataset import Dataset
from edge_msa.data.features import complete_features, load_features, replace_features, unknown_modalities
from edge_msa.data.tasks import MOSI
from edge_msa.errors import DataError, UsageError
from edge_msa_runtime.features import FeatureSource
from edge_msa_runtime.inputs.frames import RawFrames, RawSplit

COVAREP = FeatureSource("COVAREP", "1.4", 100.0)


def _dataset(**features: FeatureSource) -> Dataset:
    raw = RawSplit(["a"], np.zeros(1), {"audio": RawFrames(values=np.ones((1, 3, 2)))})
    return assemble("corpus", MOSI, {"test": raw}, digest="d", features=features)


def _toml(folder: Path, text: str) -> Path:
    path = folder / "features.toml"
    path.write_text(text, "utf-8")
    return path


def test_a_toml_file_states_features(tmp_path: Path) -> None:
    text = '[audio]\nextractor = "COVAREP"\nversion = "1.4"\nrate_hz = 100\nnames = ["F0", "VUV"]\nunits = ["Hz", ""]\n'
    text += f'model_sha256 = "{"0F" * 32}"\n[audio.parameters]\nwindow_ms = 25\nwindow = "povey"\n'
    parameters: dict[str, float | str] = {"window_ms": 25, "window": "povey"}
    expected = FeatureSource("COVAREP", "1.4", 100, ("F0", "VUV"), ("Hz", ""), parameters, "0f" * 32)
    assert load_features(_toml(tmp_path, text)) == {"audio": expected}
    assert load_features({"audio": {"extractor": "COVAREP", "version": "1.4"}}) == {
        "audio": FeatureSource("COVAREP", "1.4")
    }
    assert load_features(None) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[audio\n", "does not state features"),
        ('[audio]\nextractr = "x"\n', r"audio\.extractr is not a known field\).*\[audio\] with some of extractor"),
        ("[video]\n", "must be for language, audio, vision, got 'video'"),
    ],
)
def test_an_invalid_toml_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        load_features(_toml(tmp_path, text))
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="Cannot read"):
        load_features(tmp_path / "missing.toml")


def test_a_statement_completes_what_is_known() -> None:
    completed = complete_features({"audio": FeatureSource("COVAREP")}, {"audio": COVAREP}, {"audio": 2}, "x.pkl")
    assert completed == {"audio": COVAREP}


def test_a_statement_must_not_contradict_the_data() -> None:
    with pytest.raises(UsageError, match=r"contradicts x\.pkl \(audio: librosa instead of COVAREP 1\.4\)"):
        complete_features({"audio": COVAREP}, {"audio": FeatureSource("librosa")}, {"audio": 2}, "x.pkl")


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"vision": COVAREP}, r"must be for modalities of corpus \(audio\), got vision"),
        ({"audio": FeatureSource(names=("F0",))}, r"audio\.names must be 2 texts, one per feature, got 1"),
    ],
)
def test_a_statement_must_fit_the_data(stated: dict[str, FeatureSource], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        replace_features(_dataset(), stated)


def test_a_statement_replaces_a_wrong_one_with_a_note() -> None:
    dataset = replace_features(_dataset(audio=COVAREP), {"audio": FeatureSource("librosa")})
    assert dataset.features == {"audio": FeatureSource("librosa")}
    assert dataset.notes == ("--features replaces what the file states (audio: librosa instead of COVAREP 1.4)",)
    assert replace_features(_dataset(), {"audio": COVAREP}).notes == ()


def test_a_description_must_fit_the_features() -> None:
    with pytest.raises(DataError, match=r"corpus is wrong: audio\.names must be 2 texts, one per feature, got 1"):
        _dataset(audio=FeatureSource(names=("F0",)))


def test_unknown_extractors_are_found() -> None:
    features = {"audio": COVAREP, "vision": FeatureSource(rate_hz=30.0)}
    assert unknown_modalities(features, {"language": 3, "audio": 2, "vision": 4}) == ["language", "vision"]


def test_dropping_a_modality_drops_its_description() -> None:
    assert _dataset(audio=COVAREP).without(["audio"]).features == {}
