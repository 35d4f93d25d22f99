"""Train a teacher. The type of the recipe selects the network."""

from __future__ import annotations

from pathlib import Path

from edge_msa.config.teachers import AlmtRecipe, TeacherRecipe
from edge_msa.data.dataset import Dataset
from edge_msa.training.context import TrainingContext
from edge_msa.training.teachers.almt import TrainedAlmt, train_almt
from edge_msa.training.teachers.hrlf import TrainedHrlf, train_hrlf


def train_by_recipe(
    dataset: Dataset, recipe: TeacherRecipe, *, seed: int, context: TrainingContext, work_dir: Path
) -> TrainedHrlf | TrainedAlmt:
    """Train the teacher of a recipe. Arguments and errors are those of `train_hrlf` and `train_almt`."""
    if isinstance(recipe, AlmtRecipe):
        return train_almt(dataset, recipe, seed=seed, context=context, work_dir=work_dir)
    return train_hrlf(dataset, recipe, seed=seed, context=context, work_dir=work_dir)
