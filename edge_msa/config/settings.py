"""Recipe files: the `pipeline` table, and those of the commands that it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from edge_msa.config.recipes import read_recipe, recipe_from, student_recipe
from edge_msa.errors import UsageError
from edge_msa.training.teachers.by_name import TeacherName
from edge_msa_calibrate.ranges import Method
from edge_msa_export.profiles import find_profile


@dataclass(frozen=True)
class PipelineRecipe:
    """The `pipeline` table of a recipe; the tables `hrlf`, `almt` and `student` are of their commands."""

    data: str = "synthetic"
    """A feature file, or the embedded default."""
    task: str | None = None
    """Instead of the file's own."""
    seed: int = 0
    """Of everything random."""
    teacher: TeacherName = "hrlf"
    """Which one the student learns from; its own table says how it is trained."""
    device: str = "auto"
    """Where to train."""
    targets: tuple[str, ...] = ("laptop", "jetson")
    """What to export for."""
    precision: Literal["auto", "fp32", "fp16", "int8"] = "auto"
    """auto measures; the others are held against the gate."""
    max_drop: float = 1.0
    """Points of the gate's metric that a precision may lose."""
    method: Method = "mse"
    """How ranges follow from statistics."""
    num_samples: int = 512
    """Training samples that statistics are gathered over."""

    def __post_init__(self) -> None:
        for name, least in (("seed", 0), ("max_drop", 0), ("num_samples", 1)):
            if not getattr(self, name) >= least:
                raise UsageError(f"pipeline.{name} is {getattr(self, name)}; it must be at least {least}")
        if not self.targets:
            raise UsageError('pipeline.targets is empty; name at least one device, as in ["laptop"]')
        for target in self.targets:
            find_profile(target)  # now, not after everything was trained


@dataclass(frozen=True)
class Settings:
    """A whole recipe file."""

    pipeline: PipelineRecipe = field(default_factory=PipelineRecipe)
    hrlf: Mapping[str, Any] = field(default_factory=dict)
    almt: Mapping[str, Any] = field(default_factory=dict)
    student: Mapping[str, Any] = field(default_factory=dict)
    search: Mapping[str, Any] = field(default_factory=dict)


def read_settings(path: Path | None) -> Settings:
    """The recipe file, or the defaults.

    Raises:
        UsageError: it cannot be read, or has an unknown key or value.
    """
    if path is None:
        return Settings()
    tables = read_recipe(path)
    own = recipe_from(PipelineRecipe(), tables.get("pipeline", {}), where="pipeline")
    student_recipe(tables.get("student", {}), own.data)  # now, not after the teacher was trained
    own_tables = {name: tables.get(name, {}) for name in ("hrlf", "almt", "student", "search")}
    return Settings(own, **own_tables)
