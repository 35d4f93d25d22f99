from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import pytest

from tests.unit.runtime import fake_cascades


@pytest.fixture(scope="session")
def make_cascade(
    make_text_bundle: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """Write a cascade of a table and an encoder, and return its folder; see `fake_cascades.write_cascade`."""
    members = {"small": make_text_bundle("table"), "large": make_text_bundle("encoder")}

    def make(**options: Any) -> Path:
        folder: Path = tmp_path_factory.mktemp("fake") / "cascade"
        fake_cascades.write_cascade(folder, members, **options)
        return folder

    return make


@pytest.fixture(scope="session")
def shared_cascade(make_cascade: Callable[..., Path]) -> Path:
    """The default cascade, for tests that do not change it."""
    return make_cascade()
