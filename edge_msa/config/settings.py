"""The settings of a whole pipeline: the `pipeline` table, and the tables of the commands that it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from edge_msa.arguments import AnyPath
from edge_msa.config.recipes import load_tables, student_recipe
from edge_msa.config.section import RecipeSection
from edge_msa.config.teachers import TeacherName
from edge_msa_calibrate.ranges import Method
from edge_msa_export.errors import ProfileError
from edge_msa_export.profiles import find_profile


class PipelineRecipe(RecipeSection):
    """The `pipeline` table of a recipe file. The other tables belong to the commands of the same name."""

    data: str = "synthetic"
    """A feature file, or `synthetic` for the built-in synthetic task."""
    task: str | None = None
    """Name of the task; omit it to use the task that the file states."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of all random choices."""
    teacher: TeacherName = "hrlf"
    """The teacher that the student is distilled from."""
    epochs: Annotated[int, Field(ge=1)] | None = None
    """Number of epochs of each training stage, instead of those in the tables of the models."""
    device: str = "auto"
    """Device to train on: auto, cpu or cuda."""
    targets: Annotated[tuple[str, ...], Field(min_length=1, strict=False)] = ("laptop", "jetson")
    """Device profiles to export for."""
    precision: Literal["auto", "fp32", "fp16", "int8", "int4"] = "auto"
    """Precision of the bundles. `auto` measures all but int4, and chooses one that passes the accuracy gate."""
    max_drop: Annotated[float, Field(ge=0)] = 1.0
    """Accuracy that a precision may lose, in points of the gate's metric."""
    allow_worse_than_constant: bool = False
    """Whether to export a student that does not beat a constant on validation."""
    method: Method = "mse"
    """How quantization ranges are computed from statistics."""
    num_samples: Annotated[int, Field(ge=1)] = 512
    """Number of training samples to collect statistics from."""
    title: str = "edge-msa: accuracy and latency"
    """Heading of the report."""

    @field_validator("targets")
    @classmethod
    def _check_targets(cls, targets: tuple[str, ...]) -> tuple[str, ...]:
        for target in targets:
            try:
                find_profile(target)  # an unknown target must fail before anything is trained
            except ProfileError as error:
                raise ValueError(str(error)) from None
        return targets


@dataclass(frozen=True)
class Settings:
    """A recipe file: the validated `pipeline` table, and the other tables as they are."""

    pipeline: PipelineRecipe = field(default_factory=PipelineRecipe)
    hrlf: Mapping[str, Any] = field(default_factory=dict)
    almt: Mapping[str, Any] = field(default_factory=dict)
    student: Mapping[str, Any] = field(default_factory=dict)
    text: Mapping[str, Any] = field(default_factory=dict)
    search: Mapping[str, Any] = field(default_factory=dict)


def load_settings(recipe: AnyPath | Mapping[str, Any] | None) -> Settings:
    """Return the settings of a recipe, a TOML file or a mapping of its tables; the defaults if it is None.

    Raises:
        UsageError: The file cannot be read, or has an unknown key or an invalid value.
    """
    tables = load_tables(recipe)
    pipeline = PipelineRecipe().updated(tables.get("pipeline", {}), where="pipeline")
    student_recipe(tables.get("student", {}), pipeline.data)  # an invalid table must fail before the teacher is trained
    return Settings(pipeline, **{name: tables.get(name, {}) for name in ("hrlf", "almt", "student", "text", "search")})
