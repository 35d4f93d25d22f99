from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any, Callable

import pytest

from edge_msa_runtime.bundle.loader import open_bundle
from edge_msa_runtime.errors import PackageImportError, UsageError
from edge_msa_runtime.features import FeatureSource
from edge_msa_runtime.live.opening import (
    PICTURE_RATE,
    check_features,
    check_media_bundle,
    open_front_ends,
    picture_rate,
)
from tests.unit.runtime.live.stand_ins import AudioStandIn
from tests.unit.runtime.toy_text import add_text_encoder

NAMED = dataclasses.replace(AudioStandIn.source, names=("level", "pitch"))


class Named(AudioStandIn):
    source = NAMED


def manifest_with(bundle: Path, **sources: FeatureSource) -> Any:
    """Return the manifest of a bundle with other feature sources."""
    manifest = open_bundle(bundle).manifest
    specs = {
        name: dataclasses.replace(spec, features=sources.get(name, spec.features))
        for name, spec in manifest.modalities.items()
    }
    return dataclasses.replace(manifest, modalities=specs)


def test_the_same_features_are_accepted(shared_bundle: Path) -> None:
    assert check_features(manifest_with(shared_bundle, audio=NAMED), Named()) == []


def test_unknown_features_of_the_same_width_are_accepted_with_a_note(shared_bundle: Path) -> None:
    (note,) = check_features(manifest_with(shared_bundle), Named())
    assert note == "the bundle does not state what computed its audio features; stand-in audio 1 is assumed"


@pytest.mark.parametrize(
    ("stated", "difference"),
    [
        (FeatureSource("COVAREP", "1.4"), "stand-in audio 1 instead of COVAREP 1.4"),
        (dataclasses.replace(NAMED, rate_hz=25.0), "100 Hz instead of 25 Hz"),
        (dataclasses.replace(NAMED, names=("level", "energy")), "name of feature 1: pitch instead of energy"),
    ],
)
def test_other_features_are_refused_in_one_line(shared_bundle: Path, stated: FeatureSource, difference: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_features(manifest_with(shared_bundle, audio=stated), Named())
    message = str(caught.value)
    assert message.startswith(f"The bundle fake was trained on audio features of {stated.title}, but this command ")
    assert difference in message
    assert "\n" not in message


def test_another_width_is_refused(shared_bundle: Path) -> None:
    class Wide(AudioStandIn):
        source = dataclasses.replace(NAMED, names=("a", "b", "c"))

    with pytest.raises(UsageError, match="3 features instead of 2"):
        check_features(manifest_with(shared_bundle), Wide())


def test_a_bundle_of_language_frames_alone_is_refused(make_bundle: Callable[..., Path]) -> None:
    bundle = make_bundle(names=("language",))
    with pytest.raises(UsageError, match="takes language frames only, and has no text encoder for words"):
        check_media_bundle(open_bundle(bundle).manifest)
    add_text_encoder(bundle, "table")
    check_media_bundle(open_bundle(bundle).manifest)


def test_nothing_is_opened_for_a_modality_that_is_not_used(
    make_bundle: Callable[..., Path], shared_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("kaldi_native_fbank", "ai_edge_litert"):
        monkeypatch.setitem(sys.modules, name, None)
    language = open_bundle(make_bundle(names=("language",))).manifest
    assert open_front_ends(language) == open_front_ends(
        open_bundle(shared_bundle).manifest, sound=False, pictures=False
    )
    with pytest.raises(PackageImportError, match="edge-msa-runtime"):
        open_front_ends(open_bundle(shared_bundle).manifest, pictures=False)


def test_a_missing_face_model_is_refused(shared_bundle: Path, tmp_path: Path) -> None:
    manifest = manifest_with(shared_bundle)
    with pytest.raises(UsageError, match="curl"):
        open_front_ends(manifest, sound=False, face_model=tmp_path / "missing.task")


def test_pictures_have_the_rate_of_the_training(shared_bundle: Path) -> None:
    assert picture_rate(manifest_with(shared_bundle)) == PICTURE_RATE
    assert picture_rate(manifest_with(shared_bundle, vision=FeatureSource("face", "1", 10.0))) == 10.0
