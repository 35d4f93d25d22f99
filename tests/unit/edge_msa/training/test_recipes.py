from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from edge_msa.config.recipes import (
    PRESETS,
    STUDENT_PRESETS,
    STUDENT_SIZES,
    HrlfRecipe,
    hrlf_recipe,
    preset,
    read_recipe,
    recipe_from,
    student_recipe,
    text_recipe,
)
from edge_msa.config.student_recipe import StudentRecipe
from edge_msa.data.tasks import MOSI
from edge_msa.errors import UsageError
from edge_msa.models.student import ModalitySizes, StudentConfig, untrained_student
from edge_msa.training.missing_modalities import MsmConfig


def test_published_hyper_parameters_are_the_papers() -> None:
    found = {
        name: (recipe.learning_rate, recipe.batch_size, recipe.epochs, recipe.heads, recipe.d)
        for name, recipe in PRESETS.items()
    }
    assert found["mosi"] == (1e-3, 128, 50, 10, 40)
    assert found["mosei"] == (2e-3, 16, 20, 8, 40)
    assert found["iemocap"] == (4e-3, 32, 30, 10, 40)


def test_a_data_set_selects_its_preset_and_an_option_goes_before_the_file() -> None:
    assert hrlf_recipe({}, "synthetic") == PRESETS["demo"]
    assert hrlf_recipe({}, "films.npz") == PRESETS["default"]
    assert student_recipe({}, "synthetic") == STUDENT_PRESETS["demo"]
    chosen = hrlf_recipe({"preset": "mosei", "epochs": 7, "hal": 0.0}, "films.npz", epochs=2)
    assert chosen == dataclasses.replace(PRESETS["mosei"], epochs=2, robust_epochs=2, hal=0.0)
    assert student_recipe({"epochs": 7, "width": 16}, "films.npz", epochs=2) == StudentRecipe(
        epochs=2, qat_epochs=2, width=16
    )


def test_a_table_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("[hrlf]\nepochs = 3\nlearning_rate = 1\nhal = 0.0\npatience = 4\nmsm = {ratios = [0.5, 1]}\n")
    recipe = recipe_from(HrlfRecipe(), read_recipe(path)["hrlf"])
    assert recipe == HrlfRecipe(
        epochs=3, learning_rate=1.0, hal=0.0, patience=4, msm=MsmConfig(intra=0.5, ratios=(0.5, 1.0))
    )


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"learning_rat": 1}, "did you mean 'learning_rate'"),
        ({"msm": {"intr": 1}}, r"recipe\.msm: unknown key 'intr'.*'int"),
        ({"epochs": 1.5}, r"recipe\.epochs is 1\.5; it must be of type int"),
        ({"epochs": True}, "must be of type int"),
        ({"cosine": 1}, "must be of type bool"),
        ({"heads": 7}, "multiple of heads"),
        ({"epochs": 0}, "epochs is 0"),
        ({"hmi": -1}, "hmi is -1"),
        ({"kl": float("nan")}, "kl is nan"),
        ({"weight_decay": float("nan")}, "weight_decay is nan"),
        ({"score_loss": "l2"}, "l1, smooth_l1, mse"),
        ({"dropout": 1.0}, "dropout is 1"),
        ({"layers": 0}, "layers is 0"),
    ],
)
def test_what_cannot_be_used_is_named(table: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        recipe_from(HrlfRecipe(), table)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"score_loss": "l3"}, r"student\.score_loss is 'l3'; it is one of: l1, smooth_l1, mse"),
        ({"learning_rate": 0}, "learning_rate is 0"),
        ({"weight_decay": -1}, "weight_decay is -1"),
        ({"hmi": -1}, "student.hmi is -1"),
        ({"curriculum": 1.5}, "student.curriculum is 1.5"),
        ({"teacher_weights": [1.0, 0.0]}, r"student\.teacher_weights is \[1\.0, 0\.0\]"),
        ({"language": {"stride": 0}}, r"student\.language\.stride is 0"),
        ({"audio": {"widht": 3}}, r"recipe\.audio: unknown key 'widht' \(did you mean 'width'\?\)"),
        ({"recurrence": "lstm"}, "recipe.recurrence is 'lstm'; it is one of: none, gru"),
        ({"vision": {"recurrence": "lstm"}}, "recipe.vision.recurrence is 'lstm'"),
    ],
)
def test_what_a_student_cannot_use_is_named(table: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        recipe_from(StudentRecipe(), table)


def test_a_size_is_where_widths_start_from_and_every_field_goes_before_it() -> None:
    tiny = student_recipe({"size": "tiny"}, "films.npz")
    assert (tiny.width, tiny.tokens, tiny.audio.stride, tiny.epochs) == (32, 3, 2, StudentRecipe().epochs)
    changed = student_recipe(
        {"size": "tiny", "hidden": 7, "audio": {"width": 20}, "language": {"recurrence": "gru"}}, "x"
    )
    assert changed == dataclasses.replace(
        tiny, hidden=7, audio=ModalitySizes(stride=2, width=20), language=ModalitySizes(recurrence="gru")
    )
    config = changed.config({"language": 5, "audio": 4}, MOSI)
    assert (config.encoder("audio").width, config.encoder("language").width) == (20, 32)
    assert (config.encoder("audio").stride, config.encoder("language").recurrence) == (2, "gru")


@pytest.mark.parametrize("size", list(STUDENT_SIZES))
def test_every_size_makes_a_network_and_the_names_are_in_order_of_its_parameters(size: str) -> None:
    dims = {"language": 64, "audio": 74, "vision": 47}
    counts = {name: _parameters(student_recipe({"size": name}, "x").config(dims, MOSI)) for name in STUDENT_SIZES}
    assert list(counts.values()) == sorted(counts.values())
    assert counts["tiny"] < 64_000
    assert student_recipe({"size": size}, "x").config(dims, MOSI).encoder("language").stride == 1


def test_an_unknown_size_is_one_line() -> None:
    with pytest.raises(UsageError, match=r"student\.size is 'tinny' \(did you mean 'tiny'\?\); there are: nano, tiny"):
        student_recipe({"size": "tinny"}, "x")


def test_an_unknown_preset_is_named() -> None:
    with pytest.raises(UsageError, match="did you mean 'mosei'"):
        preset("moseii", PRESETS)


def test_a_file_that_is_no_recipe_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("[hrlf\n")
    for name in ("bad.toml", "none.toml"):
        with pytest.raises(UsageError, match=name):
            read_recipe(tmp_path / name)


def _parameters(config: StudentConfig) -> int:
    return sum(weight.numel() for weight in untrained_student(config, 0).parameters())


@pytest.mark.parametrize("stage", ["transfer", "final"])
def test_rates_of_both_stages_of_a_reader_are_checked_before_the_first(stage: str) -> None:
    with pytest.raises(UsageError, match="learning_rate is -1"):
        text_recipe({stage: {"epochs": 1, "learning_rate": -1.0}}, "table")
    assert text_recipe({stage: {"epochs": 0, "learning_rate": -1.0}}, "table")
