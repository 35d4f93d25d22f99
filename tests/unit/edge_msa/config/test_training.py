from __future__ import annotations

import pytest

from edge_msa.config.teachers import AlmtRecipe, HrlfRecipe
from edge_msa.config.training import TrainingSchedule


def test_schedule_has_the_optimizer_settings_of_the_recipe() -> None:
    recipe = HrlfRecipe(batch_size=7, warmup=0.5, cosine=False, weight_decay=0.25, clip=2.0, patience=3)
    assert recipe.schedule(4, 0.125) == TrainingSchedule(
        epochs=4,
        learning_rate=0.125,
        batch_size=7,
        warmup=0.5,
        cosine=False,
        weight_decay=0.25,
        clip=2.0,
        patience=3,
    )


def test_schedule_contains_no_other_settings() -> None:
    recipe = AlmtRecipe(tokens=3)
    assert recipe.schedule(recipe.epochs, recipe.learning_rate) == AlmtRecipe().schedule(200, 1e-4)


@pytest.mark.case("E2")
def test_auxiliary_weights_of_hrlf_grow_linearly() -> None:
    recipe = HrlfRecipe(ramp=0.5)
    assert [recipe.ramp_at(epoch, 8) for epoch in range(8)] == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0]
    assert [recipe.ramp_at(epoch, 1) for epoch in range(1)] == [0.0]
    assert [HrlfRecipe(ramp=0.0).ramp_at(epoch, 3) for epoch in range(3)] == [1.0, 1.0, 1.0]
