from __future__ import annotations

from pathlib import Path

import pytest

from edge_msa.config.recipes import (
    SIZES,
    almt_preset,
    hrlf_preset,
    load_tables,
    preset_names,
    student_recipe,
    teacher_recipe,
    text_recipe,
)
from edge_msa.config.students import ModalityRecipe, StudentRecipe
from edge_msa.config.teachers import AlmtRecipe, HrlfRecipe
from edge_msa.data.tasks import MOSI
from edge_msa.errors import UsageError
from edge_msa.models.student import StudentConfig, untrained_student

DIMS = {"language": 64, "audio": 74, "vision": 47}


def test_available_presets() -> None:
    assert preset_names("hrlf") == (
        "default",
        "demo",
        "paper-iemocap",
        "paper-mosei",
        "paper-mosi",
        "synthetic",
    )
    assert preset_names("almt") == ("default", "demo", "mosei", "mosi", "sims")
    assert preset_names("student") == ("default", "demo")
    assert preset_names("text") == ("encoder", "table")
    assert set(preset_names("size")) == set(SIZES)


@pytest.mark.parametrize("name", preset_names("hrlf"))
def test_every_hrlf_preset_is_valid(name: str) -> None:
    assert isinstance(teacher_recipe("hrlf", {"preset": name}, "films.npz"), HrlfRecipe)


@pytest.mark.parametrize("name", preset_names("almt"))
def test_every_almt_preset_is_valid(name: str) -> None:
    assert isinstance(teacher_recipe("almt", {"preset": name}, "films.npz"), AlmtRecipe)


@pytest.mark.parametrize("name", preset_names("student"))
def test_every_student_preset_is_valid(name: str) -> None:
    assert student_recipe({"preset": name}, "films.npz")


@pytest.mark.parametrize("name", preset_names("text"))
def test_every_text_preset_is_valid(name: str) -> None:
    assert text_recipe({"preset": name}, "table")


@pytest.mark.case("E2")
@pytest.mark.parametrize(
    ("name", "learning_rate", "batch_size", "epochs", "heads"),
    [
        ("paper-mosi", 1e-3, 128, 50, 10),
        ("paper-mosei", 2e-3, 16, 20, 8),
        ("paper-iemocap", 4e-3, 32, 30, 10),
    ],
)
def test_paper_presets_of_hrlf_are_literal(
    name: str, learning_rate: float, batch_size: int, epochs: int, heads: int
) -> None:
    recipe = hrlf_preset(name)
    assert (recipe.learning_rate, recipe.batch_size, recipe.heads, recipe.d) == (learning_rate, batch_size, heads, 40)
    assert (recipe.epochs, recipe.robust_epochs, recipe.patience) == (epochs, epochs, None)
    # L = L_task + L_FRF + L_HMI + L_HAL + L_KL
    assert (recipe.frf, recipe.hmi, recipe.hal, recipe.kl) == (1.0, 1.0, 1.0, 1.0)
    assert (recipe.frf_distance, recipe.hal_schedule, recipe.init_from_teacher) == ("norm", "reverse", False)
    # Adam with a constant learning rate
    assert (recipe.weight_decay, recipe.clip, recipe.warmup, recipe.cosine) == (0.0, 0.0, 0.0, False)
    # Z is the last element; none of this project's additions
    assert (recipe.pooling, recipe.input_dropout) == ("last", 0.0)
    if name != "paper-iemocap":  # emotions always use cross-entropy
        assert recipe.score_loss == "mse"


@pytest.mark.case("E2")
def test_only_the_paper_presets_are_called_published() -> None:
    defaults = {name: hrlf_preset(name) for name in preset_names("hrlf") if not name.startswith("paper-")}
    assert {recipe.hal_schedule for recipe in defaults.values()} == {"alternate"}
    assert {recipe.frf_distance for recipe in defaults.values()} == {"relative"}


def test_almt_presets_have_the_published_values() -> None:
    recipe = almt_preset("default")
    assert (recipe.learning_rate, recipe.weight_decay, recipe.batch_size, recipe.epochs) == (1e-4, 1e-4, 64, 200)
    assert (recipe.warmup, recipe.cosine, recipe.score_loss, recipe.robust) == (0.1, True, "mse", False)
    assert [almt_preset(name).fusion_depth for name in ("mosi", "mosei", "sims")] == [2, 4, 4]


def test_preset_depends_on_the_data() -> None:
    assert teacher_recipe("hrlf", {}, "synthetic") == hrlf_preset("demo")
    assert teacher_recipe("hrlf", {}, "films.npz") == hrlf_preset("default")
    assert teacher_recipe("almt", {}, "synthetic") == almt_preset("demo")
    assert student_recipe({}, "synthetic") == student_recipe({"preset": "demo"}, "films.npz")


def test_epochs_option_takes_precedence_over_the_recipe() -> None:
    hrlf = teacher_recipe("hrlf", {"preset": "paper-mosei", "epochs": 7, "hal": 0.0}, "films.npz", epochs=2)
    assert hrlf == hrlf_preset("paper-mosei").updated({"epochs": 2, "robust_epochs": 2, "hal": 0.0}, where="hrlf")
    student = student_recipe({"epochs": 7, "width": 16}, "films.npz", epochs=2)
    assert student == StudentRecipe(epochs=2, qat_epochs=2, width=16)


def test_recipe_file_has_one_table_per_model(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text('[almt]\npreset = "mosei"\nepochs = 7\nrobust = true\nmsm = {inter = 0.5}\n')
    recipe = teacher_recipe("almt", load_tables(path)["almt"], "films.npz", epochs=3)
    assert isinstance(recipe, AlmtRecipe)
    assert (recipe.epochs, recipe.robust, recipe.fusion_depth, recipe.msm.inter) == (3, True, 4, 0.5)
    assert load_tables(load_tables(path)) == load_tables(path)
    assert load_tables(None) == {}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("score_loss", "l2"),
        ("tokens", 0),
        ("fusion_depth", 0),
        ("scales", 4),
        ("without", ["text"]),
        ("fusion", "sum"),
    ],
)
def test_invalid_almt_value_raises_an_error(key: str, value: object) -> None:
    with pytest.raises(UsageError, match=rf"almt\.{key}.* must be"):
        teacher_recipe("almt", {key: value}, "films.npz")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"teacher_share": 1.5}, r"student\.teacher_share must be at most 1"),
        ({"curriculum": -0.5}, r"student\.curriculum must be at least 0"),
        ({"teacher_weights": [1.0, 0.0]}, r"student\.teacher_weights\[1\] must be above 0"),
        ({"language": {"stride": 0}}, r"student\.language\.stride must be at least 1"),
        ({"audio": {"widht": 3}}, r"Unknown key 'widht' in \[student\.audio\]\. Did you mean 'width'\?"),
        ({"recurrence": "lstm"}, r"student\.recurrence must be one of none, gru, got 'lstm'"),
        ({"vision": {"recurrence": "lstm"}}, r"student\.vision\.recurrence must be one of none, gru"),
        ({"size": "tinny"}, r"Unknown student\.size 'tinny'\. Did you mean 'tiny'\?"),
    ],
)
def test_invalid_student_value_raises_an_error(table: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        student_recipe(table, "films.npz")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"unknown_rate": 1.0}, r"text\.unknown_rate must be below 1"),
        ({"max_tokens": 2}, r"text\.max_tokens must be at least 3"),
        ({"final": {"epochs": 1, "learning_rate": -1.0}}, r"text\.final\.learning_rate must be above 0"),
        ({"transfer": {"epochs": 0}, "final": {"epochs": 0}}, r"text: transfer\.epochs and final\.epochs are both 0"),
    ],
)
def test_invalid_text_value_raises_an_error(table: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        text_recipe(table, "table")


def test_other_keys_take_precedence_over_the_size() -> None:
    tiny = student_recipe({"size": "tiny"}, "films.npz")
    assert (tiny.width, tiny.tokens, tiny.audio.stride, tiny.epochs) == (32, 3, 2, StudentRecipe().epochs)
    table = {"size": "tiny", "hidden": 7, "audio": {"width": 20}, "language": {"recurrence": "gru"}}
    changed = student_recipe(table, "films.npz")
    assert changed.hidden == 7
    assert changed.audio == ModalityRecipe(stride=2, width=20)
    config = changed.network_config({"language": 5, "audio": 4}, MOSI, takes_text=False)
    assert (config.encoder("audio").width, config.encoder("language").width) == (20, 32)
    assert (config.encoder("audio").stride, config.encoder("language").recurrence) == (2, "gru")


def test_texts_have_no_gap_frames() -> None:
    recipe = student_recipe({}, "synthetic")
    assert recipe.network_config(DIMS, MOSI, takes_text=False).gap_frames == tuple(DIMS)
    assert recipe.network_config(DIMS, MOSI, takes_text=True).gap_frames == ("audio", "vision")
    assert student_recipe({}, "films.npz").network_config(DIMS, MOSI, takes_text=False).gap_frames == ()


def test_sizes_are_in_the_order_of_parameters() -> None:
    counts = [
        count_parameters(student_recipe({"size": name}, "x").network_config(DIMS, MOSI, takes_text=False))
        for name in SIZES
    ]
    assert counts == sorted(counts)
    assert counts[SIZES.index("tiny")] < 64_000


def test_unknown_preset_raises_an_error() -> None:
    with pytest.raises(UsageError, match=r"Unknown preset 'moseii' of \[almt\]\. Did you mean 'mosei'\?"):
        almt_preset("moseii")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[hrlf\n", "is not valid TOML"),
        ("[teacher]\nepochs = 1\n", r"unknown table \[teacher\].* Available: \[pipeline\]"),
        ("[studnt]\nepochs = 1\n", r"unknown table \[studnt\]\. Did you mean 'student'\?"),
        ("epochs = 3\n", r"epochs is not in a table"),
        ("hrlf = 3\n", r"hrlf must be a table, got 3\. Write \[hrlf\]"),
    ],
)
def test_invalid_recipe_file_raises_an_error(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text(content)
    with pytest.raises(UsageError, match=rf"bad\.toml.*{message}"):
        load_tables(tmp_path / "bad.toml")


def test_missing_recipe_file_raises_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Cannot read .*none\.toml"):
        load_tables(tmp_path / "none.toml")


def count_parameters(config: StudentConfig) -> int:
    return sum(weight.numel() for weight in untrained_student(config, 0).parameters())


def test_epochs_of_a_text_model_replace_those_of_both_stages() -> None:
    recipe = text_recipe({"final": {"learning_rate": 0.5}}, "table", epochs=3)
    assert (recipe.transfer.epochs, recipe.final.epochs, recipe.final.learning_rate) == (3, 3, 0.5)
