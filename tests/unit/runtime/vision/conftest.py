from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from edge_msa_runtime.vision.front_end import FaceFrontEnd


@pytest.fixture(scope="session")
def front_end(face_model: Path) -> FaceFrontEnd:
    pytest.importorskip("ai_edge_litert")
    from edge_msa_runtime.vision.front_end import FaceFrontEnd

    return FaceFrontEnd(face_model)
