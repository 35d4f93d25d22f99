from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from tests.locations import REPOSITORY
from tests.unit.runtime import fake_bundles, toy_text

LoadExample = Callable[[str], ModuleType]


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


@pytest.fixture
def load_example(monkeypatch: pytest.MonkeyPatch) -> LoadExample:
    """Import an example by its path, as a module that is forgotten after the test."""

    def load(name: str) -> ModuleType:
        path = REPOSITORY / "examples" / name
        spec = importlib.util.spec_from_file_location(f"example_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        return module

    return load
