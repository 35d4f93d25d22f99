from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge_msa_export.errors import ExportError
from edge_msa_export.text import TextGraph, TextTable, bucket_lengths, quantize_rows


def test_quantized_rows_are_within_half_a_step() -> None:
    rows = np.random.default_rng(2).normal(size=(20, 8)).astype(np.float32)
    rows[3] = 0
    integers, scales = quantize_rows(rows)
    assert (np.abs(integers * scales[:, None] - rows) <= scales[:, None] * 0.5001).all()
    assert (integers[3] == 0).all()


@pytest.mark.parametrize(
    ("longest", "lengths"), [(9, (9,)), (16, (16,)), (50, (16, 32, 50)), (200, (16, 32, 64, 128, 200))]
)
def test_bucket_lengths_end_with_the_longest(longest: int, lengths: tuple[int, ...]) -> None:
    assert bucket_lengths(longest) == lengths


def test_table_must_be_a_finite_matrix(text_table: TextTable) -> None:
    with pytest.raises(ExportError, match="must be finite"):
        replace(text_table, rows=np.full((3, 2), np.nan, np.float32))
    with pytest.raises(ExportError, match=r"must have shape \(tokens, features\), got \(3,\)"):
        replace(text_table, rows=np.ones(3, np.float32))


def test_max_tokens_must_be_positive(text_table: TextTable, text_encoder: TextGraph) -> None:
    with pytest.raises(ExportError, match="max_tokens must be at least 1, got 0"):
        replace(text_encoder, max_tokens=0)
    with pytest.raises(ExportError, match="max_tokens must be at least 1, got -3"):
        replace(text_table, max_tokens=-3)


def test_parameters_count_every_learned_number(text_table: TextTable, text_encoder: TextGraph) -> None:
    assert text_table.parameters == 13 * 16
    assert text_encoder.parameters == 300 * 16 + 2 * (16 * 16 + 16) + 2 * 16
