from __future__ import annotations

import random

import pytest

from edge_msa.architecture_search.space import (
    PRECISION,
    Choices,
    Params,
    Range,
    SearchSpace,
    flatten_recipe,
    nest_params,
    params_key,
    parse_space,
)
from edge_msa.config.section import RecipeSection
from edge_msa.errors import UsageError


class Inner(RecipeSection):
    width: int = 4
    share: float = 0.5


class Recipe(RecipeSection):
    width: int = 32
    hidden: int = 64
    rate: float = 2e-3
    patience: int | None = None
    audio: Inner = Inner()


FIELDS = flatten_recipe(Recipe())
PRECISIONS = ("fp32", "int8")


def test_nested_fields_have_dotted_names() -> None:
    assert FIELDS == {
        "width": 32,
        "hidden": 64,
        "rate": 2e-3,
        "patience": None,
        "audio.width": 4,
        "audio.share": 0.5,
    }


def test_dotted_names_become_tables_without_precision() -> None:
    tables = nest_params({"width": 8, "audio.width": 2, PRECISION: "int8"})
    assert tables == {"width": 8, "audio": {"width": 2}}


def test_the_default_space_has_the_fields_of_the_recipe() -> None:
    space = parse_space({}, FIELDS, PRECISIONS)
    assert set(space.dimensions) == {"width", "hidden", PRECISION}
    assert space.dimensions[PRECISION] == Choices(PRECISIONS)


def test_a_table_replaces_the_default_space() -> None:
    table = {"width": [8, 16], "rate": {"low": 1e-3, "high": 1e-2, "log": True}, "audio.width": {"low": 1, "high": 3}}
    space = parse_space(table, FIELDS, PRECISIONS)
    assert set(space.dimensions) == {"width", "rate", "audio.width", PRECISION}
    assert space.dimensions["audio.width"] == Range(1, 3)
    assert space.size is None


def test_a_precision_alone_keeps_the_default_sizes() -> None:
    space = parse_space({PRECISION: ["int8"]}, FIELDS, PRECISIONS)
    assert space.dimensions[PRECISION] == Choices(("int8",))
    assert {"width", "hidden"} < set(space.dimensions)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"widht": [8]}, "Unknown field 'widht' in search.space. Did you mean 'width'?"),
        (
            {"precision": ["int4"]},
            "precisions of the target's backend, got 'int4'. Available: fp32, int8.",
        ),
        ({"width": []}, "search.space.width must be a list of values or a range"),
        ({"width": 8}, "search.space.width must be a list of values or a range"),
        ({"width": {"low": 8}}, "must be a list of values or a range"),
        ({"width": {"low": 8, "high": 8}}, "must have low below high"),
        ({"width": {"low": 8, "high": 16, "step": 0}}, "a step above 0"),
        ({"width": {"low": 8, "high": 16, "step": 0.5}}, "must have an integer step"),
        ({"width": {"low": "8", "high": 16}}, "must be numbers, got low '8'"),
        ({"rate": {"low": 0.0, "high": 1.0, "log": True}}, "must have low above 0 and no step"),
        ({"rate": {"low": 0.1, "high": 1.0, "log": 1}}, "log of search.space.rate must be true or false, got 1."),
        ({"rate": {"low": 0.1, "high": float("inf")}}, "must have low below high"),
    ],
)
def test_an_invalid_space_is_rejected_in_one_line(table: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_space(table, FIELDS, PRECISIONS)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_range_ends_at_its_last_step() -> None:
    space = parse_space({"width": {"low": 8, "high": 30, "step": 8}}, FIELDS, PRECISIONS)
    assert space.dimensions["width"] == Range(8, 24, 8)
    assert space.size == 3 * len(PRECISIONS)


@pytest.mark.parametrize(
    ("dimension", "inside", "outside"),
    [
        (Range(8, 24, 8), [8, 16, 24], [7, 12, 32, 8.0, "8", True]),
        (Range(0.1, 0.5, 0.2), [0.1, 0.3, 0.5], [0.2, 0.6]),
        (Choices((1, "a")), [1, "a"], [True, 2]),
    ],
)
def test_a_dimension_contains_its_values(
    dimension: Range | Choices, inside: list[object], outside: list[object]
) -> None:
    assert all(value in dimension for value in inside)
    assert not any(value in dimension for value in outside)


def test_every_point_of_a_space_is_sampled_once() -> None:
    space = SearchSpace({"width": Range(1, 3), PRECISION: Choices(PRECISIONS)})
    known: list[Params] = []
    while point := space.sample_new(known, random.Random(0)):  # noqa: S311
        known.append(point)
    assert len({params_key(point) for point in known}) == len(known) == space.size == 6


def test_samples_of_a_continuous_space_lie_in_it() -> None:
    space = SearchSpace({"rate": Range(1e-3, 1e-1, log=True), "share": Range(0.1, 0.5, 0.2)})
    for seed in range(20):
        point = space.sample_new([], random.Random(seed))  # noqa: S311
        assert point is not None
        assert all(point[name] in space.dimensions[name] for name in point)
