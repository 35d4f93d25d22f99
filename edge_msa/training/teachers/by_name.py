"""The teachers by name: which recipe each takes and which training it goes through."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from edge_msa.config.recipes import HrlfRecipe, almt_recipe, hrlf_recipe
from edge_msa.data.dataset import Dataset
from edge_msa.training.context import TrainingContext
from edge_msa.training.teachers.almt import AlmtRecipe, TrainedAlmt, train_almt
from edge_msa.training.teachers.hrlf import TrainedTeacher, train_hrlf

TeacherName = Literal["hrlf", "almt"]
TeacherRecipe = HrlfRecipe | AlmtRecipe


def teacher_recipe(
    model: TeacherName, table: Mapping[str, Any], data: str, *, epochs: int | None = None
) -> TeacherRecipe:
    """The recipe of that teacher on that data set, from a recipe file's table of its name; see `hrlf_recipe`."""
    chosen = almt_recipe if model == "almt" else hrlf_recipe
    return chosen(table, data, epochs=epochs)


def train_by_recipe(
    dataset: Dataset, recipe: TeacherRecipe, *, seed: int, context: TrainingContext, work_dir: Path
) -> TrainedTeacher | TrainedAlmt:
    """Train the teacher that the recipe is of; arguments and errors are those of `train_hrlf` and `train_almt`."""
    if isinstance(recipe, AlmtRecipe):
        return train_almt(dataset, recipe, seed=seed, context=context, work_dir=work_dir)
    return train_hrlf(dataset, recipe, seed=seed, context=context, work_dir=work_dir)
