"""Recipes: everything that decides how a model is trained, as frozen dataclasses that a TOML table can fill."""

from __future__ import annotations

import dataclasses
import math
import sys
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from edge_msa.config.student_recipe import StudentRecipe
from edge_msa.data.opening import SYNTHETIC
from edge_msa.errors import UsageError
from edge_msa.models.hrlf import Pooling
from edge_msa.training.loop import FitPlan
from edge_msa.training.losses import SCORE_LOSSES
from edge_msa.training.missing_modalities import MsmConfig
from edge_msa.training.teachers.almt import AlmtRecipe
from edge_msa.training.text.train import Stage, TextRecipe

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

RecipeType = TypeVar("RecipeType")

TABLES = ("pipeline", "hrlf", "almt", "student", "language", "variants", "search")


@dataclass(frozen=True)
class HrlfRecipe:
    """How HRLF is trained. Defaults without a source are ours: the paper prints no loss weights and no MSM rates."""

    epochs: int = 12
    """Of stage 1, the teacher on complete samples."""
    robust_epochs: int = 30
    """Of stage 2, the same structure under MSM."""
    batch_size: int = 128
    """Samples a step, in both stages."""
    learning_rate: float = 2e-3
    """Adam's, at its highest."""
    warmup: float = 0.05
    """Share of a stage's steps in which the learning rate rises."""
    cosine: bool = True
    """Whether the learning rate falls to 0 along a cosine after that."""
    weight_decay: float = 0.1
    """Decoupled; 0 is the paper's plain Adam."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    patience: int | None = None
    """Epochs without a better validation metric after which a stage ends; leave it out to run all epochs."""
    score_loss: str = "l1"
    """Task loss of scores: l1, smooth_l1 or mse. The reported metric is MAE, whose optimum l1 has."""
    d: int = 40
    """Width of Z (the paper's)."""
    heads: int = 10
    """Attention heads (the paper's for MOSI)."""
    layers: int = 1
    """Transformer layers a modality; the paper does not say."""
    dropout: float = 0.1
    """Share of dropped activations; the paper does not say."""
    input_dropout: float = 0.0
    """Share of dropped input features (ours: word vectors of a small corpus are soon known by heart)."""
    pooling: Pooling = "last"
    """What of the Transformer's frames is Z: `last`, as published, or `max` (ours), for small corpora."""
    frf: float = 0.02
    """Weight of L_FRF, the factorization's three reconstruction terms; 0 switches FRF off. At 0.1 the
    reconstruction is learned before the task, and a teacher on the embedded data stays a constant."""
    hmi: float = 0.01
    """Weight of L_HMI, mutual information with the teacher's features; 0 switches HMI off."""
    hal: float = 0.01
    """Weight of L_HAL, the adversarial alignment of features; 0 switches HAL off."""
    kl: float = 1.0
    """Weight of L_KL, the divergence from the teacher's answers; 0 switches it off."""
    from_teacher: bool = True
    """Whether stage 2 starts from the teacher's weights rather than from new ones."""
    msm: MsmConfig = field(default_factory=lambda: MsmConfig(intra=0.5))
    """Probabilities of missing modalities and frames in stage 2."""

    def __post_init__(self) -> None:
        self.plan(self.epochs)
        self.plan(self.robust_epochs)
        if self.score_loss not in SCORE_LOSSES:
            raise UsageError(f"score_loss is {self.score_loss!r}; it is one of: {', '.join(SCORE_LOSSES)}")
        if self.heads < 1 or self.d < 2 or self.d % 2 or self.d % self.heads:
            raise UsageError(f"d is {self.d} with heads {self.heads}; d must be even and a multiple of heads")
        if self.layers < 1:
            raise UsageError(f"layers is {self.layers}; a stream has at least 1")
        for name in ("dropout", "input_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; it is at least 0 and below 1")
        for name in ("frf", "hmi", "hal", "kl"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UsageError(f"{name} is {getattr(self, name)}; a loss weight is finite, at least 0 (0: off)")

    def plan(self, epochs: int) -> FitPlan:
        """The loop's plan of a stage of that many epochs."""
        return FitPlan(
            epochs,
            self.batch_size,
            self.learning_rate,
            self.warmup,
            self.cosine,
            self.weight_decay,
            self.clip,
            self.patience,
        )


_PAPERS = HrlfRecipe(warmup=0.0, cosine=False, weight_decay=0.0, dropout=0.3)

_EMBEDDED = HrlfRecipe(epochs=2, robust_epochs=6, score_loss="smooth_l1", kl=4.0, msm=MsmConfig(inter=0.5, intra=0.3))

PRESETS: dict[str, HrlfRecipe] = {
    "demo": _EMBEDDED,
    "synthetic": dataclasses.replace(_EMBEDDED, epochs=5, robust_epochs=16),
    "default": HrlfRecipe(epochs=15, robust_epochs=20, batch_size=64, dropout=0.3, pooling="max", kl=4.0),
    "mosi": dataclasses.replace(_PAPERS, epochs=50, robust_epochs=50, batch_size=128, learning_rate=1e-3, heads=10),
    "mosei": dataclasses.replace(_PAPERS, epochs=20, robust_epochs=20, batch_size=16, learning_rate=2e-3, heads=8),
    "iemocap": dataclasses.replace(_PAPERS, epochs=30, robust_epochs=30, batch_size=32, learning_rate=4e-3, heads=10),
}
"""`demo` is tuned for the embedded data on two CPU cores and a minute, `synthetic` for accuracy there; `default` is for
small corpora of real features. The others have the paper's optimizer, epochs, batch size, learning rate and heads for
that corpus; what it leaves out is ours."""


ALMT_PRESETS: dict[str, AlmtRecipe] = {
    "demo": AlmtRecipe(epochs=4, learning_rate=1e-3, robust=True),
    "default": AlmtRecipe(),
    "mosi": AlmtRecipe(),
    "mosei": AlmtRecipe(fusion_depth=4),
    "sims": AlmtRecipe(fusion_depth=4),
}
"""`demo` is small, for the embedded data on two CPU cores; the others are the published ones of that corpus."""


STUDENT_PRESETS: dict[str, StudentRecipe] = {
    "demo": StudentRecipe(epochs=4, batch_size=128, learning_rate=4e-3, dropout=0.1),
    "default": StudentRecipe(),
}


TEXT_PRESETS: dict[str, TextRecipe] = {
    "encoder": TextRecipe(),
    "table": TextRecipe(
        recurrence="gru",
        dropout=0.3,
        unknown=0.05,
        transfer=Stage(14, 2e-3),
        final=Stage(6, 5e-4, 0.5),
        batch_size=64,
    ),
}
"""By the kind of text encoder."""


STUDENT_SIZES: dict[str, dict[str, Any]] = {
    "nano": {"width": 16, "blocks": 2, "tokens": 2, "hidden": 32, "audio": {"stride": 4}, "vision": {"stride": 4}},
    "tiny": {"width": 32, "blocks": 3, "tokens": 3, "hidden": 48, "audio": {"stride": 2}, "vision": {"stride": 2}},
    "small": {"width": 64, "blocks": 3, "tokens": 4, "hidden": 64, "audio": {"stride": 2}, "vision": {"stride": 2}},
}
"""A student's sizes by name; everything else of the recipe's `student` table may change them."""


def read_recipe(path: Path) -> dict[str, Any]:
    """The tables of a recipe file.

    Raises:
        UsageError: it cannot be read, is not TOML, or has a table of another name.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror or error}): give a recipe in TOML") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML ({error}): correct it there") from None
    for name, table in tables.items():
        if name not in TABLES:
            there = ", ".join(f"[{item}]" for item in TABLES)
            raise UsageError(f"{path}: unknown table [{name}]{_closest(name, TABLES)}; a recipe has {there}")
        if not isinstance(table, Mapping):
            raise UsageError(f"{path}: {name} is {table!r}; it must be a table, [{name}]")
    return tables


def hrlf_recipe(table: Mapping[str, Any], data: str, *, epochs: int | None = None) -> HrlfRecipe:
    """The recipe of a teacher on that data set.

    Args:
        table: a recipe file's `hrlf` table. Its `preset` names where to start from; without it that is `demo` for the
            embedded data and `default` for everything else.
        data: what it will be trained on, as `--data` says it.
        epochs: instead of the recipe's, of both stages.

    Raises:
        UsageError: an unknown key or preset, or a value that cannot be used.
    """
    changes = dict(table)
    name = changes.pop("preset", _preset_of(data))
    if epochs is not None:
        changes |= {"epochs": epochs, "robust_epochs": epochs}
    return recipe_from(preset(str(name), PRESETS), changes, where="hrlf")


def almt_recipe(table: Mapping[str, Any], data: str, *, epochs: int | None = None) -> AlmtRecipe:
    """The recipe of an ALMT on that data set, from a recipe file's `almt` table; as `hrlf_recipe` otherwise."""
    return _single_stage(ALMT_PRESETS, table, data, epochs, where="almt")


def student_recipe(table: Mapping[str, Any], data: str, *, epochs: int | None = None) -> StudentRecipe:
    """The recipe of a student on that data set, from a recipe file's `student` table; as `hrlf_recipe` otherwise.

    The table's `size` is one of `STUDENT_SIZES`.
    """
    changes = dict(table)
    if "size" in changes:
        size = str(changes.pop("size"))
        if size not in STUDENT_SIZES:
            there = ", ".join(STUDENT_SIZES)
            raise UsageError(f"student.size is {size!r}{_closest(size, STUDENT_SIZES)}; there are: {there}")
        changes = merged(STUDENT_SIZES[size], changes)
    if epochs is not None:
        changes["qat_epochs"] = epochs
    return _single_stage(STUDENT_PRESETS, changes, data, epochs, where="student")


def text_recipe(table: Mapping[str, Any], kind: str) -> TextRecipe:
    """The recipe of a language reader, from a recipe file's `language` table.

    Args:
        table: its `preset` names where to start from; without it that is `kind`.
        kind: of the text encoder, `encoder` or `table`.

    Raises:
        UsageError: an unknown key or preset, or a value that cannot be used.
    """
    changes = dict(table)
    name = changes.pop("preset", kind)
    return recipe_from(preset(str(name), TEXT_PRESETS), changes, where="language")


def preset(name: str, presets: Mapping[str, RecipeType]) -> RecipeType:
    """The recipe of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in presets:
        raise UsageError(f"unknown preset {name!r}{_closest(name, presets)}; there are: {', '.join(presets)}")
    return presets[name]


def _single_stage(
    presets: Mapping[str, RecipeType], table: Mapping[str, Any], data: str, epochs: int | None, *, where: str
) -> RecipeType:
    changes = dict(table)
    name = changes.pop("preset", _preset_of(data))
    if epochs is not None:
        changes |= {"epochs": epochs}
    return recipe_from(preset(str(name), presets), changes, where=where)


def _preset_of(data: str) -> str:
    return "demo" if data == SYNTHETIC else "default"


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Both tables in one, tables inside them too; `above` goes before."""
    both = {name for name in below if isinstance(below[name], Mapping) and isinstance(above.get(name), Mapping)}
    return {**below, **above, **{name: merged(below[name], above[name]) for name in both}}


def recipe_from(base: RecipeType, table: Mapping[str, Any], *, where: str = "recipe") -> RecipeType:
    """`base` with the values of a TOML table, checked against the field types.

    Args:
        base: a recipe (any dataclass), whose values stay where the table says nothing.
        table: keys are fields; a table for a field that is itself a dataclass.
        where: what messages call the table.

    Raises:
        UsageError: an unknown key, or a value of the wrong type or range.
    """
    types_ = typing.get_type_hints(type(base))
    changes: dict[str, Any] = {}
    for key, value in table.items():
        if key not in types_:
            raise UsageError(f"{where}: unknown key {key!r}{_closest(key, types_)}; it takes: {', '.join(types_)}")
        current = getattr(base, key)
        if dataclasses.is_dataclass(current) and isinstance(value, Mapping):
            changes[key] = recipe_from(current, value, where=f"{where}.{key}")
        else:
            changes[key] = _typed(value, types_[key], f"{where}.{key}")
    replaced: RecipeType = dataclasses.replace(base, **changes)  # type: ignore[type-var]
    return replaced


def _typed(value: Any, wanted: Any, where: str) -> Any:
    """The value as the field's type, where TOML's type allows that without loss."""
    choices = typing.get_args(wanted) if typing.get_origin(wanted) in {typing.Union, types.UnionType} else (wanted,)
    for choice in choices:
        if choice is float and isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
        if choice is int and isinstance(value, int) and not isinstance(value, bool):
            return value
        if choice in {bool, str} and isinstance(value, choice):
            return value
        if typing.get_origin(choice) is typing.Literal and value in typing.get_args(choice):
            return value
        if typing.get_origin(choice) is tuple and isinstance(value, (list, tuple)):
            return tuple(_typed(item, typing.get_args(choice)[0], where) for item in value)
    if typing.get_origin(wanted) is typing.Literal:
        raise UsageError(f"{where} is {value!r}; it is one of: {', '.join(typing.get_args(wanted))}")
    names = " or ".join(getattr(choice, "__name__", str(choice)) for choice in choices if choice is not type(None))
    raise UsageError(f"{where} is {value!r}; it must be of type {names}")


def _closest(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
