"""The space of a search: what a recipe may say, and which points there are."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from edge_msa.errors import UsageError
from edge_msa.search.space import (
    PRECISION,
    Between,
    Choices,
    Space,
    flat_fields,
    key_of,
    nested,
    read_space,
)


@dataclass(frozen=True)
class Inner:
    width: int = 4
    share: float = 0.5


@dataclass(frozen=True)
class Recipe:
    width: int = 32
    hidden: int = 64
    rate: float = 2e-3
    patience: int | None = None
    audio: Inner = field(default_factory=Inner)


FIELDS = flat_fields(Recipe())
PRECISIONS = ("fp32", "int8")


def test_fields_of_a_recipe_inside_another_are_named_with_a_dot() -> None:
    assert FIELDS == {
        "width": 32,
        "hidden": 64,
        "rate": 2e-3,
        "patience": None,
        "audio.width": 4,
        "audio.share": 0.5,
    }
    tables = nested({"width": 8, "audio.width": 2, PRECISION: "int8"})
    assert tables == {"width": 8, "audio": {"width": 2}}


def test_the_default_space_has_the_fields_that_the_recipe_has_and_the_backends_precisions() -> None:
    space = read_space({}, FIELDS, PRECISIONS)
    assert set(space.dimensions) == {"width", "hidden", PRECISION}
    assert space.dimensions[PRECISION] == Choices(PRECISIONS)


def test_a_table_replaces_the_default_space() -> None:
    table = {"width": [8, 16], "rate": {"low": 1e-3, "high": 1e-2, "log": True}, "audio.width": {"low": 1, "high": 3}}
    space = read_space(table, FIELDS, PRECISIONS)
    assert set(space.dimensions) == {"width", "rate", "audio.width", PRECISION}
    assert space.dimensions["audio.width"] == Between(1, 3)
    assert space.size is None


def test_the_precision_alone_leaves_the_default_sizes() -> None:
    space = read_space({PRECISION: ["int8"]}, FIELDS, PRECISIONS)
    assert space.dimensions[PRECISION] == Choices(("int8",))
    assert {"width", "hidden"} < set(space.dimensions)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"widht": [8]}, "unknown field 'widht' (did you mean 'width'?)"),
        ({"precision": ["int4"]}, "precision has 'int4'; the target's backend takes: fp32, int8"),
        ({"width": []}, "search.space.width is []; give a list"),
        ({"width": 8}, "search.space.width is 8; give a list"),
        ({"width": {"low": 8}}, "give a list of values"),
        ({"width": {"low": 8, "high": 8}}, "low must be below high"),
        ({"width": {"low": 8, "high": 16, "step": 0}}, "a step above 0"),
        ({"width": {"low": 8, "high": 16, "step": 0.5}}, "whole numbers take a whole step"),
        ({"width": {"low": "8", "high": 16}}, "they must be numbers"),
        ({"rate": {"low": 0.0, "high": 1.0, "log": True}}, "a low above 0"),
        ({"rate": {"low": 0.1, "high": float("inf")}}, "low must be below high"),
    ],
)
def test_what_cannot_be_searched_is_refused_in_one_line(table: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_space(table, FIELDS, PRECISIONS)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_range_ends_at_its_last_step() -> None:
    space = read_space({"width": {"low": 8, "high": 30, "step": 8}}, FIELDS, PRECISIONS)
    assert space.dimensions["width"] == Between(8, 24, 8)
    assert space.size == 3 * len(PRECISIONS)


@pytest.mark.parametrize(
    ("dimension", "inside", "outside"),
    [
        (Between(8, 24, 8), [8, 16, 24], [7, 12, 32, 8.0, "8", True]),
        (Between(0.1, 0.5, 0.2), [0.1, 0.3, 0.5], [0.2, 0.6]),
        (Choices((1, "a")), [1, "a"], [True, 2]),
    ],
)
def test_a_dimension_knows_its_values(
    dimension: Between | Choices, inside: list[object], outside: list[object]
) -> None:
    assert all(value in dimension for value in inside)
    assert not any(value in dimension for value in outside)


def test_unseen_points_are_found_to_the_last_one() -> None:
    space = Space({"width": Between(1, 3), PRECISION: Choices(PRECISIONS)})
    seen: list[dict[str, int | float | str | bool]] = []
    while point := space.unseen(seen, random.Random(0)):  # noqa: S311
        seen.append(point)
    assert len({key_of(point) for point in seen}) == len(seen) == space.size == 6


def test_a_point_of_a_continuous_space_lies_in_it() -> None:
    space = Space({"rate": Between(1e-3, 1e-1, log=True), "share": Between(0.1, 0.5, 0.2)})
    for seed in range(20):
        point = space.unseen([], random.Random(seed))  # noqa: S311
        assert point is not None
        assert all(point[name] in space.dimensions[name] for name in point)
