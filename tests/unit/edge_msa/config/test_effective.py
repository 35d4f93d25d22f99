"""Complete recipes as TOML: the same recipe when they are loaded again."""

from __future__ import annotations

import itertools
import sys
from typing import Any

import pytest

from edge_msa.config.effective import ModelTable, format_model, format_pipeline
from edge_msa.config.recipes import preset_names, student_recipe, teacher_recipe, text_recipe
from edge_msa.config.section import RecipeSection
from edge_msa.config.settings import PipelineRecipe

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TABLES: tuple[ModelTable, ...] = ("hrlf", "almt", "student", "text")
PRESETS = [(table, name) for table in TABLES for name in preset_names(table)]


def load(table: ModelTable, values: dict[str, Any], data: str) -> RecipeSection:
    if table == "text":
        return text_recipe(values, "encoder")
    return student_recipe(values, data) if table == "student" else teacher_recipe(table, values, data)


@pytest.mark.parametrize(("table", "preset"), PRESETS)
def test_a_shown_preset_is_the_same_recipe(table: ModelTable, preset: str) -> None:
    text = format_model(table, {"preset": preset}, "synthetic")
    values = tomllib.loads(text)[table]
    assert values["preset"] == preset
    # The data of the other command does not matter: the file names its preset.
    assert load(table, values, "mosi.pkl") == load(table, {"preset": preset}, "synthetic")


@pytest.mark.parametrize("table", TABLES)
def test_every_key_has_a_comment_and_lines_are_short(table: ModelTable) -> None:
    lines = format_model(table, {}, "mosi.pkl").splitlines()
    assert max(map(len, lines)) <= 80
    for before, line in itertools.pairwise(lines):
        if " = " in line and not line.startswith("# "):
            assert before.startswith("# "), line
    assert "One of: l1, smooth_l1, mse." in " ".join(line.removeprefix("# ") for line in lines)


def test_changes_and_sizes_are_part_of_the_recipe() -> None:
    text = format_model("student", {"size": "nano", "blocks": 1, "audio": {"width": 8}, "patience": 4}, "mosi.pkl")
    values = tomllib.loads(text)["student"]
    assert (values["width"], values["blocks"], values["patience"]) == (16, 1, 4)
    assert values["audio"] == {"stride": 4, "width": 8}
    assert "# patience = (not set)" in format_model("student", {}, "mosi.pkl")


def test_the_pipeline_table_has_the_data() -> None:
    values = tomllib.loads(format_pipeline({"seed": 3}, data="mosi.pkl"))["pipeline"]
    assert PipelineRecipe().updated(values, where="pipeline") == PipelineRecipe(seed=3, data="mosi.pkl")
