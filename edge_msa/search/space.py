"""What a search may change: fields of the student's recipe and the precision, each with what it may be.

A field inside another is named with a dot, as `msm.inter`. The precision is a dimension like the others, so that a
plan by any other name would be one more of its choices.
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

from edge_msa.errors import UsageError

PRECISION = "precision"
Value = int | float | str | bool
Params = Mapping[str, Value]
_GRID = 10_000
"""Points up to which a space is listed rather than drawn from."""


@dataclass(frozen=True)
class Choices:
    """One of these, without an order."""

    values: tuple[Value, ...]

    def __contains__(self, value: object) -> bool:
        return any(value == item and isinstance(value, bool) == isinstance(item, bool) for item in self.values)

    @property
    def ends(self) -> tuple[Value, ...]:
        """Values that stand for all when they are checked."""
        return self.values

    @property
    def grid(self) -> tuple[Value, ...] | None:
        """All values."""
        return self.values

    def draw(self, generator: random.Random) -> Value:
        """One of them."""
        return generator.choice(self.values)


@dataclass(frozen=True)
class Between:
    """A number from `low` to `high`, both included, in steps of `step` from `low`; whole where both are.

    `log` spreads it by ratios, and takes no step.
    """

    low: float
    high: float
    step: float | None = None
    log: bool = False

    @property
    def whole(self) -> bool:
        """Whether it is an integer."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def __contains__(self, value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not self.low <= value <= self.high:
            return False
        if self.whole:
            return isinstance(value, int) and (value - self.low) % (self.step or 1) == 0
        steps = (value - self.low) / self.step if self.step else 0.0
        return math.isclose(steps, round(steps), abs_tol=1e-9)

    @property
    def ends(self) -> tuple[Value, ...]:
        """The lowest and the highest."""
        return (self.low, self.high)

    @property
    def grid(self) -> tuple[Value, ...] | None:
        """All values, of whole numbers."""
        return tuple(range(int(self.low), int(self.high) + 1, int(self.step or 1))) if self.whole else None

    def draw(self, generator: random.Random) -> Value:
        """One of them, each as likely as the others."""
        if self.grid:
            return generator.choice(self.grid)
        if self.log:
            return math.exp(generator.uniform(math.log(self.low), math.log(self.high)))
        if self.step:
            return self.low + self.step * generator.randint(0, math.floor((self.high - self.low) / self.step))
        return generator.uniform(self.low, self.high)


Dimension = Choices | Between

DEFAULT: Mapping[str, Dimension] = {
    "width": Between(8, 48, step=8),
    "blocks": Between(1, 4),
    "kernel": Between(2, 5),
    "tokens": Between(1, 6),
    "hidden": Between(16, 96, step=16),
}
"""The sizes of the student; the precisions of the backend come beside them."""


@dataclass(frozen=True)
class Space:
    """Dimensions by name, the precision among them."""

    dimensions: Mapping[str, Dimension]

    @property
    def size(self) -> int | None:
        """How many points it has; None where a dimension is continuous."""
        grids = [dimension.grid for dimension in self.dimensions.values()]
        return None if any(grid is None for grid in grids) else math.prod(len(grid or ()) for grid in grids)

    def unseen(self, seen: Collection[Params], generator: random.Random) -> dict[str, Value] | None:
        """A random point that is none of `seen`; None where all are."""
        known = {key_of(params) for params in seen}
        points = self._listed() if (self.size or _GRID + 1) <= _GRID else self._drawn(generator)
        fresh = [point for point in points if key_of(point) not in known]
        return generator.choice(fresh) if fresh else None

    def _listed(self) -> Iterator[dict[str, Value]]:
        grids = [dimension.grid or () for dimension in self.dimensions.values()]
        for values in itertools.product(*grids):
            yield dict(zip(self.dimensions, values, strict=True))

    def _drawn(self, generator: random.Random) -> Iterator[dict[str, Value]]:
        for _ in range(100):
            yield {name: dimension.draw(generator) for name, dimension in self.dimensions.items()}

    def to_json(self) -> dict[str, Any]:
        """Plain values, in a fixed order."""
        return {name: dataclasses.asdict(self.dimensions[name]) for name in sorted(self.dimensions)}


def key_of(params: Params) -> tuple[tuple[str, Value], ...]:
    """What two equal points share."""
    return tuple(sorted(params.items()))


def read_space(table: Mapping[str, Any], fields: Mapping[str, Any], precisions: Sequence[str]) -> Space:
    """The space of a recipe's `search.space` table; the default one where the table is empty.

    Args:
        table: by name, a list of values, or a table with `low`, `high` and maybe `step` or `log`.
        fields: the default recipe's values by name, as `flat_fields` gives them.
        precisions: what the backend of the target may be given.

    Raises:
        UsageError: a name that is no field of the recipe, or a dimension that cannot be read.
    """
    chosen = {name: _dimension(name, value) for name, value in table.items()}
    if set(chosen) <= {PRECISION}:
        chosen = {name: value for name, value in DEFAULT.items() if name in fields} | chosen
    chosen.setdefault(PRECISION, Choices(tuple(precisions)))
    for name, dimension in chosen.items():
        if name != PRECISION and name not in fields:
            known = [*fields, PRECISION]
            close = get_close_matches(name, known, n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            raise UsageError(f"search.space: unknown field {name!r}{hint}; it takes: {', '.join(known)}")
        unknown = [value for value in dimension.ends if name == PRECISION and value not in precisions]
        if unknown:
            there = ", ".join(precisions)
            raise UsageError(f"search.space.precision has {unknown[0]!r}; the target's backend takes: {there}")
    return Space(chosen)


def flat_fields(recipe: Any) -> dict[str, Any]:
    """A recipe's values by name, those of a recipe inside it with a dot; what is no plain value is left out."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(recipe):
        value = getattr(recipe, field.name)
        if dataclasses.is_dataclass(value):
            found |= {f"{field.name}.{name}": item for name, item in flat_fields(value).items()}
        elif value is None or isinstance(value, (int, float, str)):
            found[field.name] = value
    return found


def nested(params: Params) -> dict[str, Any]:
    """Values by dotted name as the tables of a recipe; the precision is none of its fields."""
    tables: dict[str, Any] = {}
    for name, value in params.items():
        *path, last = name.split(".")
        table = tables
        for part in path:
            table = table.setdefault(part, {})
        if name != PRECISION:
            table[last] = value
    return tables


def _dimension(name: str, value: Any) -> Dimension:
    where = f"search.space.{name}"
    if isinstance(value, list) and value and all(isinstance(item, (int, float, str)) for item in value):
        return Choices(tuple(dict.fromkeys(value)))
    if isinstance(value, Mapping) and {"low", "high"} <= set(value) <= {"low", "high", "step", "log"}:
        return _range(where, value)
    raise UsageError(f"{where} is {value!r}; give a list of values, or {{low = 8, high = 32, step = 8}}")


def _range(where: str, value: Mapping[str, Any]) -> Between:
    low, high, step, log = value["low"], value["high"], value.get("step"), value.get("log", False)
    numbers = [item for item in (low, high, step) if item is not None]
    if any(isinstance(item, bool) or not isinstance(item, (int, float)) for item in numbers):
        raise UsageError(f"{where} has low {low!r}, high {high!r}, step {step!r}; they must be numbers")
    if not (low < high and math.isfinite(low) and math.isfinite(high)) or (step is not None and not step > 0):
        raise UsageError(f"{where} goes from {low} to {high} by {step}; low must be below high, a step above 0")
    if not isinstance(log, bool) or (log and (step is not None or low <= 0)):
        raise UsageError(f"{where} has log = {log!r}; that is true or false, and takes no step and a low above 0")
    if isinstance(low, int) and isinstance(high, int) and not isinstance(step, (int, type(None))):
        raise UsageError(f"{where} goes from {low} to {high} by {step}; whole numbers take a whole step")
    if step is not None:
        high = low + math.floor((high - low) / step + 1e-9) * step
    return Between(low, high, step, log)
