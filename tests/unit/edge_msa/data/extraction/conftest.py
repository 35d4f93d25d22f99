from __future__ import annotations

import pytest

from tests.unit.edge_msa.data.extraction import stand_ins


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_ins.install(monkeypatch)
