from __future__ import annotations

from typing import Any

import pytest

from edge_msa.arguments import layers_of
from edge_msa.errors import UsageError


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, None), (3, 3), ("3", 3), ("0,4,8", (0, 4, 8)), ("0, 4", (0, 4)), ("5,", (5,)), ([0, 4], (0, 4))],
)
def test_layers_are_a_number_or_indices(value: object, expected: object) -> None:
    assert layers_of(value) == expected


@pytest.mark.parametrize(
    "value", [0, -1, True, 1.5, "", "x", "²", "4,2", "1,1", "-1,2", "0,4,,8", [], [1, 1], [0.5], [-1]]
)
def test_other_layers_are_rejected(value: Any) -> None:
    with pytest.raises(UsageError, match=r"--layers must be the number of first layers, such as 3, or increasing ind"):
        layers_of(value)
