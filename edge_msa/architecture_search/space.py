"""The search space: which fields of the student recipe a search varies, and which values it tries.

A field of a nested recipe has a dotted name, e.g. `msm.inter`. The precision is a dimension like any other.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from edge_msa.config.section import RecipeSection
from edge_msa.errors import UsageError

PRECISION, LAYERS = "precision", "layers"
"""Dimensions that are no fields of a recipe: the precision, and the number of layers that a text encoder keeps."""
Value = int | float | str | bool
Params = Mapping[str, Value]
_MAX_LISTED = 10_000
"""Size up to which all points of a space are listed. Larger spaces are sampled."""
_SAMPLES = 100
"""Number of points sampled from a larger space."""


@dataclass(frozen=True)
class Choices:
    """An unordered set of values."""

    values: tuple[Value, ...]

    def __contains__(self, value: object) -> bool:
        return any(value == item and isinstance(value, bool) == isinstance(item, bool) for item in self.values)

    @property
    def ends(self) -> tuple[Value, ...]:
        """Values that represent all values in validity checks."""
        return self.values

    @property
    def grid(self) -> tuple[Value, ...] | None:
        """All values."""
        return self.values

    def sample(self, generator: random.Random) -> Value:
        """Return one of the values at random."""
        return generator.choice(self.values)


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included.

    Attributes:
        low: Smallest value.
        high: Largest value. If both are integers, all values are integers.
        step: Distance between values, which start at `low`. None for a continuous range, or for all integers.
        log: Whether to sample uniformly on a logarithmic scale. Cannot be combined with a step.
    """

    low: float
    high: float
    step: float | None = None
    log: bool = False

    def __contains__(self, value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not self.low <= value <= self.high:
            return False
        if self.is_integer:
            return isinstance(value, int) and (value - self.low) % (self.step or 1) == 0
        steps = (value - self.low) / self.step if self.step else 0.0
        return math.isclose(steps, round(steps), abs_tol=1e-9)

    @property
    def is_integer(self) -> bool:
        """Whether all values are integers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def ends(self) -> tuple[Value, ...]:
        """The smallest and the largest value."""
        return (self.low, self.high)

    @property
    def grid(self) -> tuple[Value, ...] | None:
        """All values of an integer range, else None."""
        return tuple(range(int(self.low), int(self.high) + 1, int(self.step or 1))) if self.is_integer else None

    def sample(self, generator: random.Random) -> Value:
        """Return one of the values at random."""
        if self.grid:
            return generator.choice(self.grid)
        if self.log:
            return math.exp(generator.uniform(math.log(self.low), math.log(self.high)))
        if self.step:
            return self.low + self.step * generator.randint(0, math.floor((self.high - self.low) / self.step))
        return generator.uniform(self.low, self.high)


Dimension = Choices | Range

DEFAULT_DIMENSIONS: Mapping[str, Dimension] = {
    "width": Range(8, 48, step=8),
    "blocks": Range(1, 4),
    "kernel": Range(2, 5),
    "tokens": Range(1, 6),
    "hidden": Range(16, 96, step=16),
}
"""Sizes of the student. The precisions of the backend are added to them."""

_SHARES = Choices((0.0, 0.25, 0.5, 0.75))
TEXT_DIMENSIONS: Mapping[str, Dimension] = {"prune.heads": _SHARES, "prune.neurons": _SHARES}
"""Shares of heads and neurons that a text encoder loses. The numbers of layers and the precisions are added to them."""


@dataclass(frozen=True)
class SearchSpace:
    """Dimensions by name, including the precision."""

    dimensions: Mapping[str, Dimension]

    @property
    def size(self) -> int | None:
        """Number of points, or None if a dimension is continuous."""
        grids = [dimension.grid for dimension in self.dimensions.values()]
        return None if any(grid is None for grid in grids) else math.prod(len(grid or ()) for grid in grids)

    def sample_new(self, known: Collection[Params], generator: random.Random) -> dict[str, Value] | None:
        """Return a random point that is not in `known`, or None if there is none."""
        known_keys = {params_key(params) for params in known}
        points = self._list_points() if (self.size or _MAX_LISTED + 1) <= _MAX_LISTED else self._sample(generator)
        new = [point for point in points if params_key(point) not in known_keys]
        return generator.choice(new) if new else None

    def to_json(self) -> dict[str, Any]:
        """Return plain values in a fixed order."""
        return {name: dataclasses.asdict(self.dimensions[name]) for name in sorted(self.dimensions)}

    def _list_points(self) -> Iterator[dict[str, Value]]:
        grids = [dimension.grid or () for dimension in self.dimensions.values()]
        for values in itertools.product(*grids):
            yield dict(zip(self.dimensions, values, strict=True))

    def _sample(self, generator: random.Random) -> Iterator[dict[str, Value]]:
        for _ in range(_SAMPLES):
            yield {name: dimension.sample(generator) for name, dimension in self.dimensions.items()}


def params_key(params: Params) -> tuple[tuple[str, Value], ...]:
    """Return a hashable key that is equal for equal points."""
    return tuple(sorted(params.items()))


def parse_space(
    table: Mapping[str, Any],
    fields: Mapping[str, Any],
    precisions: Sequence[str],
    default: Mapping[str, Dimension] = DEFAULT_DIMENSIONS,
) -> SearchSpace:
    """Return the search space of a recipe's `search.space` table.

    Args:
        table: For each dimension a list of values, or a table with `low`, `high` and optionally `step` or `log`. An
            empty table selects `default`.
        fields: Values of the default recipe, as `flatten_recipe` returns them, and of dimensions that are no fields.
        precisions: Precisions of the target's backend.
        default: The space of an empty table, without the precision.

    Raises:
        UsageError: A name is not a field of the recipe, or a dimension is not valid.
    """
    dimensions = {name: _parse_dimension(name, value) for name, value in table.items()}
    if set(dimensions) <= {PRECISION}:
        dimensions = {name: value for name, value in default.items() if name in fields} | dimensions
    dimensions.setdefault(PRECISION, Choices(tuple(precisions)))
    for name, dimension in dimensions.items():
        if name != PRECISION and name not in fields:
            available = [*fields, PRECISION]
            close = get_close_matches(name, available, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise UsageError(f"Unknown field {name!r} in search.space.{hint} Available: {', '.join(available)}.")
        unknown = [value for value in dimension.ends if name == PRECISION and value not in precisions]
        if unknown:
            raise UsageError(
                f"search.space.precision must contain precisions of the target's backend, got {unknown[0]!r}. "
                f"Available: {', '.join(precisions)}."
            )
    return SearchSpace(dimensions)


def flatten_recipe(recipe: RecipeSection) -> dict[str, Any]:
    """Return the plain values of a recipe by name, with dotted names for nested recipes."""
    fields: dict[str, Any] = {}
    for field, value in recipe:
        if isinstance(value, RecipeSection):
            fields |= {f"{field}.{name}": item for name, item in flatten_recipe(value).items()}
        elif value is None or isinstance(value, (int, float, str)):
            fields[field] = value
    return fields


def nest_params(params: Params) -> dict[str, Any]:
    """Return values with dotted names as nested tables of a recipe, without those that are no fields of it."""
    tables: dict[str, Any] = {}
    for name, value in params.items():
        *path, last = name.split(".")
        table = tables
        for part in path:
            table = table.setdefault(part, {})
        if name not in (PRECISION, LAYERS):
            table[last] = value
    return tables


def _parse_dimension(name: str, value: Any) -> Dimension:
    where = f"search.space.{name}"
    if isinstance(value, list) and value and all(isinstance(item, (int, float, str)) for item in value):
        return Choices(tuple(dict.fromkeys(value)))
    if isinstance(value, Mapping) and {"low", "high"} <= set(value) <= {"low", "high", "step", "log"}:
        return _parse_range(where, value)
    raise UsageError(
        f"{where} must be a list of values or a range such as {{low = 8, high = 32, step = 8}}, got {value!r}."
    )


def _parse_range(where: str, value: Mapping[str, Any]) -> Range:
    low, high, step, log = value["low"], value["high"], value.get("step"), value.get("log", False)
    numbers = [item for item in (low, high, step) if item is not None]
    actual = f"got low {low!r}, high {high!r}, step {step!r}"
    if any(isinstance(item, bool) or not isinstance(item, (int, float)) for item in numbers):
        raise UsageError(f"low, high and step of {where} must be numbers, {actual}.")
    if not (low < high and math.isfinite(low) and math.isfinite(high)) or (step is not None and not step > 0):
        raise UsageError(f"{where} must have low below high and a step above 0, {actual}.")
    if not isinstance(log, bool):
        raise UsageError(f"log of {where} must be true or false, got {log!r}.")
    if log and (step is not None or low <= 0):
        raise UsageError(f"{where} with log = true must have low above 0 and no step, {actual}.")
    if isinstance(low, int) and isinstance(high, int) and not isinstance(step, (int, type(None))):
        raise UsageError(f"{where} must have an integer step if low and high are integers, {actual}.")
    if step is not None:
        high = low + math.floor((high - low) / step + 1e-9) * step
    return Range(low, high, step, log)
