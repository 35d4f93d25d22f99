from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge_msa.config.recipes import long_demo_recipe, quick_demo_recipe, teacher_recipe
from edge_msa.config.settings import PipelineRecipe, Settings, load_settings
from edge_msa.errors import UsageError
from edge_msa_export.errors import ProfileError


def load(tmp_path: Path, text: str) -> Settings:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    return load_settings(path)


def test_settings_without_a_file_are_the_defaults() -> None:
    assert load_settings(None) == Settings()
    assert PipelineRecipe().targets == ("laptop", "jetson")


def test_pipeline_table_is_validated(tmp_path: Path) -> None:
    settings = load(tmp_path, '[pipeline]\ntargets = ["laptop"]\nmax_drop = 2\nmethod = "minmax"\nteacher = "almt"\n')
    assert settings.pipeline == PipelineRecipe(targets=("laptop",), max_drop=2.0, method="minmax", teacher="almt")


def test_other_tables_are_passed_on(tmp_path: Path) -> None:
    settings = load(tmp_path, "[hrlf]\nepochs = 2\n[almt]\nepochs = 3\n[student]\nwidth = 8\n")
    assert (settings.hrlf, settings.almt, settings.student) == ({"epochs": 2}, {"epochs": 3}, {"width": 8})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[teacher]\nepochs = 1", r"unknown table \[teacher\]"),
        ("[pipeline]\ntarget = 1", r"Unknown key 'target' in \[pipeline\]\. Did you mean 'targets'\?"),
        ('[pipeline]\nteacher = "bert"', r"pipeline\.teacher must be one of hrlf, almt, got 'bert'"),
        ('[pipeline]\nseed = "one"', r"pipeline\.seed must be an integer"),
        ("[pipeline]\nseed = -1", r"pipeline\.seed must be at least 0"),
        ('[pipeline]\ntargets = "laptop"', r"pipeline\.targets must be a list"),
        ("[pipeline]\ntargets = []", r"pipeline\.targets must be a non-empty list"),
        ('[pipeline]\ntargets = ["jetsen"]', "jetsen"),
        ("[pipeline]\nmax_drop = true", r"pipeline\.max_drop must be a number"),
        ("[pipeline]\nmax_drop = -1.0", r"pipeline\.max_drop must be at least 0"),
        ('[pipeline]\nmethod = "magic"', r"pipeline\.method must be one of .*, got 'magic'"),
        (
            '[pipeline]\nprecision = "int2"',
            r"pipeline\.precision must be one of auto, fp32, .*, int4, got 'int2'",
        ),
        ("[pipeline]\nnum_samples = 0", r"pipeline\.num_samples must be at least 1"),
        ("pipeline = 3", "pipeline must be a table"),
        ("[student]\nwidht = 3", r"Unknown key 'widht' in \[student\]\. Did you mean 'width'\?"),
        ("[pipeline\n", "is not valid TOML"),
    ],
)
def test_invalid_settings_raise_one_line(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises((UsageError, ProfileError), match=message) as caught:
        load(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_unreadable_settings_raise_an_error(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.toml", tmp_path):
        with pytest.raises(UsageError, match="Cannot read"):
            load_settings(path)


@pytest.mark.parametrize(
    ("recipe", "data"), [(quick_demo_recipe(), "synthetic-quick"), (long_demo_recipe(), "synthetic-long")]
)
def test_recipes_of_the_demos_are_valid(recipe: dict[str, Any], data: str) -> None:
    settings = load_settings(recipe)
    assert settings.pipeline.data == data
    teacher_recipe(settings.pipeline.teacher, getattr(settings, settings.pipeline.teacher), data)
