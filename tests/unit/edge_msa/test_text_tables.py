from __future__ import annotations

import pytest

from edge_msa.text_tables import format_number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.31, "0.310"),
        (12.34, "12.3"),
        (812.4, "812"),
        (123456.0, "123456"),
        (3e-7, "3.0e-07"),
        (0, "0.00"),
    ],
)
def test_numbers_have_three_significant_digits(value: float | None, text: str) -> None:
    assert format_number(value) == text
