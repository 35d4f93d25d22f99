from __future__ import annotations

from pathlib import Path

import pytest

from edge_msa.config.settings import PipelineRecipe, Settings, read_settings
from edge_msa.errors import UsageError
from edge_msa_export.errors import ProfileError


def settings_of(tmp_path: Path, text: str) -> Settings:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    return read_settings(path)


def test_the_pipeline_takes_either_teacher(tmp_path: Path) -> None:
    found = settings_of(tmp_path, '[pipeline]\nteacher = "almt"\n[almt]\nepochs = 2\n')
    assert (found.pipeline.teacher, found.almt) == ("almt", {"epochs": 2})
    with pytest.raises(UsageError, match=r"pipeline\.teacher is 'bert'; it is one of: hrlf, almt"):
        settings_of(tmp_path, '[pipeline]\nteacher = "bert"')


def test_without_a_file_everything_has_its_default() -> None:
    assert read_settings(None) == Settings()
    assert PipelineRecipe().targets == ("laptop", "jetson")


def test_tables_reach_their_steps(tmp_path: Path) -> None:
    found = settings_of(
        tmp_path,
        '[pipeline]\ntargets = ["laptop"]\nmax_drop = 2\nmethod = "minmax"\n[hrlf]\nepochs = 2\n[student]\nwidth = 8\n',
    )
    assert found.pipeline == PipelineRecipe(targets=("laptop",), max_drop=2.0, method="minmax")
    assert (found.hrlf, found.student) == ({"epochs": 2}, {"width": 8})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[teacher]\nepochs = 1", r"unknown table \[teacher\]"),
        ("[pipeline]\ntarget = 1", "did you mean 'targets'"),
        ('[pipeline]\nseed = "one"', "pipeline.seed is 'one'"),
        ('[pipeline]\ntargets = "laptop"', "pipeline.targets is 'laptop'"),
        ("[pipeline]\nmax_drop = true", "pipeline.max_drop is True"),
        ('[pipeline]\nmethod = "magic"', "pipeline.method is 'magic'"),
        ('[pipeline]\nprecision = "int4"', "pipeline.precision is 'int4'"),
        ("[pipeline]\nmax_drop = -1.0", "max_drop is -1.0"),
        ("[pipeline]\nnum_samples = 0", "num_samples is 0"),
        ("[pipeline]\nseed = -1", "seed is -1"),
        ("[pipeline]\ntargets = []", "targets is empty"),
        ("pipeline = 3", "pipeline is 3"),
        ("hrlf = 3", "hrlf is 3"),
        ("epochs = 3", r"unknown table \[epochs\]"),
        ("[student]\nwidht = 3", "did you mean 'width'"),
        ('[pipeline]\ntargets = ["jetsen"]', "jetsen"),
        ("[pipeline\n", "is not TOML"),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_a_usage_error(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises((UsageError, ProfileError), match=said) as caught:
        settings_of(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_a_recipe_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_settings(tmp_path / "nothing.toml")
    with pytest.raises(UsageError, match="cannot be read"):
        read_settings(tmp_path)
