from __future__ import annotations

import pytest

from edge_msa.config.section import RecipeSection, merge_tables
from edge_msa.config.settings import PipelineRecipe
from edge_msa.config.students import ModalityRecipe, StudentRecipe, TextRecipe, TextStage
from edge_msa.config.teachers import AlmtRecipe, HrlfRecipe
from edge_msa.config.training import MsmConfig, TrainingSchedule
from edge_msa.errors import UsageError

SECTIONS = (
    HrlfRecipe,
    AlmtRecipe,
    StudentRecipe,
    ModalityRecipe,
    TextRecipe,
    TextStage,
    PipelineRecipe,
    MsmConfig,
    TrainingSchedule,
)


@pytest.mark.parametrize("section", SECTIONS)
def test_every_field_is_described_by_full_sentences(section: type[RecipeSection]) -> None:
    for name, field in section.model_fields.items():
        description = field.description or ""
        assert description[:1].isupper(), f"{section.__name__}.{name}"
        assert description.endswith("."), f"{section.__name__}.{name}"


def test_update_changes_only_the_named_values() -> None:
    recipe = HrlfRecipe().updated({"epochs": 3, "msm": {"ratios": [0.5, 1]}}, where="hrlf")
    assert recipe == HrlfRecipe(epochs=3, msm=MsmConfig(intra=0.5, ratios=(0.5, 1.0)))


def test_integers_are_accepted_for_floats() -> None:
    assert HrlfRecipe().updated({"learning_rate": 1}, where="hrlf").learning_rate == 1.0


def test_merge_combines_nested_tables() -> None:
    assert merge_tables({"a": 1, "t": {"x": 1, "y": 2}}, {"b": 2, "t": {"y": 3}}) == {
        "a": 1,
        "b": 2,
        "t": {"x": 1, "y": 3},
    }


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"learning_rat": 1}, r"Unknown key 'learning_rat' in \[hrlf\]\. Did you mean 'learning_rate'\?"),
        ({"msm": {"intr": 1}}, r"Unknown key 'intr' in \[hrlf\.msm\]\. Did you mean 'int(ra|er)'\?"),
        ({"epochs": 1.5}, r"hrlf\.epochs must be an integer, got 1\.5\."),
        ({"epochs": True}, r"hrlf\.epochs must be an integer, got True\."),
        ({"epochs": "3"}, r"hrlf\.epochs must be an integer, got '3'\."),
        ({"learning_rate": "fast"}, r"hrlf\.learning_rate must be a number, got 'fast'\."),
        ({"cosine": 1}, r"hrlf\.cosine must be true or false, got 1\."),
        ({"msm": 3}, r"hrlf\.msm must be a table, got 3\."),
        ({"msm": {"ratios": 0.5}}, r"hrlf\.msm\.ratios must be a list, got 0\.5\."),
        ({"msm": {"ratios": [0.0]}}, r"hrlf\.msm\.ratios\[0\] must be above 0, got 0\.0\."),
        ({"msm": {"ratios": []}}, r"hrlf\.msm\.ratios must be a non-empty list"),
        ({"msm": {"inter": 1.5}}, r"hrlf\.msm\.inter must be at most 1, got 1\.5\."),
        ({"msm": {"prefix": -0.1}}, r"hrlf\.msm\.prefix must be at least 0, got -0\.1\."),
        ({"msm": {"burst_length": 0}}, r"hrlf\.msm\.burst_length must be at least 1, got 0\."),
        ({"msm": {"outages": 0.1}}, r"Unknown key 'outages' in \[hrlf\.msm\]\. Did you mean 'outage'\?"),
        ({"heads": 7}, r"hrlf: d must be even and a multiple of heads, got d = 40 and heads = 7\."),
        ({"epochs": 0}, r"hrlf\.epochs must be at least 1, got 0\."),
        ({"patience": 0}, r"hrlf\.patience must be at least 1, got 0\."),
        ({"hmi": -1}, r"hrlf\.hmi must be at least 0, got -1\."),
        ({"kl": float("nan")}, r"hrlf\.kl must be"),
        ({"kl": float("inf")}, r"hrlf\.kl must be a finite number, got inf\."),
        ({"weight_decay": float("nan")}, r"hrlf\.weight_decay must be"),
        ({"warmup": 1.0}, r"hrlf\.warmup must be below 1, got 1\.0\."),
        ({"score_loss": "l2"}, r"hrlf\.score_loss must be one of l1, smooth_l1, mse, got 'l2'\."),
        ({"dropout": 1.0}, r"hrlf\.dropout must be below 1, got 1\.0\."),
    ],
)
def test_invalid_value_raises_one_line(table: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        HrlfRecipe().updated(table, where="hrlf")
    assert "\n" not in str(caught.value)
