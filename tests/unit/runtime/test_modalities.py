from __future__ import annotations

import pytest

from edge_msa_runtime.modalities import Subset, subsets_of


def test_the_order_of_modalities_does_not_matter() -> None:
    assert Subset.of(["vision", "language"]) is Subset.LV
    assert Subset.LV.modalities == ("language", "vision")


def test_a_student_of_two_modalities_has_three_subsets() -> None:
    assert subsets_of({"audio": 2, "language": 4}) == (Subset.L, Subset.A, Subset.LA)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["smell"], "Unknown modality 'smell'. Available: language"),
        ([], "A subset must have at least one modality, got none"),
    ],
)
def test_an_unknown_or_empty_subset_raises(names: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Subset.of(names)
