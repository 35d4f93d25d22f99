from __future__ import annotations

from pathlib import Path
from typing import Callable, Iterator

import pytest

from edge_msa_runtime import Session, load


@pytest.fixture(scope="module")
def session(shared_bundle: Path) -> Iterator[Session]:
    """A session of the default bundle, which states no frame rates."""
    with load(shared_bundle, "onnxruntime") as opened:
        yield opened


@pytest.fixture(scope="module", params=["table", "encoder"])
def text_session(request: pytest.FixtureRequest, make_text_bundle: Callable[[str], Path]) -> Iterator[Session]:
    """A session that accepts text, for each kind of text encoder."""
    with load(make_text_bundle(request.param), "onnxruntime") as opened:
        yield opened
