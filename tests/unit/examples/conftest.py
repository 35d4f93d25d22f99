from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.runtime import fake_bundles, toy_text


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bundle with language, audio and vision."""
    folder = tmp_path_factory.mktemp("examples") / "bundle"
    fake_bundles.write_bundle(folder)
    return folder


@pytest.fixture(scope="session", params=["table", "encoder"])
def text_bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bundle that accepts text and audio."""
    folder = tmp_path_factory.mktemp("examples") / "bundle"
    fake_bundles.write_bundle(folder, names=("language", "audio"))
    toy_text.add_text_encoder(folder, request.param)
    return folder
