"""What all trials of a search share: the data, the default recipe, the search space and the target's backend."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_msa.architecture_search.space import (
    DEFAULT_DIMENSIONS,
    LAYERS,
    PRECISION,
    TEXT_DIMENSIONS,
    Dimension,
    Params,
    Range,
    SearchSpace,
    flatten_recipe,
    nest_params,
    parse_space,
)
from edge_msa.artifacts.dry_run import end_dry_run
from edge_msa.artifacts.locks import wait_for_turn
from edge_msa.artifacts.runs import Run, load_run
from edge_msa.benchmark.machine import matches_profile, unavailable_reason
from edge_msa.config.recipes import student_recipe, teacher_recipe, text_recipe
from edge_msa.config.settings import PipelineRecipe, Settings, load_settings
from edge_msa.config.students import StudentRecipe, TextRecipe
from edge_msa.config.teachers import TeacherRecipe
from edge_msa.data.dataset import SPLITS, Dataset, Split, SplitName
from edge_msa.data.formats.archive import write_archive
from edge_msa.data.opening import open_and_report
from edge_msa.errors import UsageError
from edge_msa.models.text_encoders import TransformerTextEncoder
from edge_msa.training.text.load import load_text_input
from edge_msa_export.profiles import DeviceProfile, find_profile
from edge_msa_runtime.errors import BackendUnavailableError

DATA_PREFIX, TEACHER_FOLDER = "data-", "teacher"


@dataclass(frozen=True)
class SearchConfig:
    """The options of `edge-msa search`."""

    target: str
    """Device profile to search for."""
    data: str
    """Feature file, or `synthetic`."""
    trials: int
    """Total number of trials across all workers."""
    output_dir: Path
    """Folder for runs, bundles and the page."""
    storage: str | None = None
    """File or database URL that workers share. None for a file in `output_dir`."""
    teacher: Path | None = None
    """Run of the teacher: of `train`, or of a text model with an encoder, whose students take raw words. None to train
    one."""
    recipe: Path | Mapping[str, Any] | None = None
    """TOML file, or its tables, with the search space and the default student."""
    epochs: int | None = None
    """Epochs of each trial. None for those of the recipe."""
    train_samples: int | None = None
    """Number of training samples. None for all."""
    seeds: int = 3
    """Number of seeds that confirm the answer."""
    seed: int = 0
    """Seed of all random choices."""
    task: str | None = None
    """Name of the task. None for that of the data."""


@dataclass(frozen=True)
class SearchContext:
    """What all trials share.

    Attributes:
        config: Options of the search.
        settings: Content of the recipe file.
        data: Path of the data, or `synthetic`. With `train_samples`, a file that the search wrote.
        dataset: The same data, not normalized.
        profile: The target, with the only backend that is searched for.
        default_recipe: Recipe that the search starts from: of a student, or of a text model.
        space: The search space.
        inputs: Digests of everything that results depend on, by name.
        text_layers: Layers of the teacher's text encoder; 0 if the students take features.
    """

    config: SearchConfig
    settings: Settings
    data: str
    dataset: Dataset
    profile: DeviceProfile
    default_recipe: StudentRecipe | TextRecipe
    space: SearchSpace
    inputs: Mapping[str, str]
    text_layers: int = 0

    @property
    def pipeline(self) -> PipelineRecipe:
        """How students are calibrated, and what the accuracy gate allows."""
        return self.settings.pipeline

    @property
    def backend(self) -> str:
        """Name of the backend."""
        return self.profile.backends[0].name

    @property
    def teacher(self) -> Path:
        """Folder of the teacher's run: the one passed as an option, or the one that the search trains."""
        return self.config.teacher or self.config.output_dir / TEACHER_FOLDER

    @property
    def teacher_recipe(self) -> TeacherRecipe:
        """Recipe of the teacher that the search trains."""
        return _teacher_recipe(self.settings, self.config.data)

    @property
    def default_params(self) -> tuple[Params, ...]:
        """The default recipe at every precision, with the sizes that the search space contains."""
        fields = _fields(self.default_recipe, self.text_layers)
        sizes = {
            name: fields[name]
            for name, dimension in self.space.dimensions.items()
            if name != PRECISION and fields[name] in dimension
        }
        return tuple(sizes | {PRECISION: name} for name in self.space.dimensions[PRECISION].ends)

    @property
    def total_trials(self) -> int:
        """Number of trials: as configured, but at most the number of points in the search space."""
        outside = sum(len(params) < len(self.space.dimensions) for params in self.default_params)
        size = self.space.size
        return self.config.trials if size is None else min(self.config.trials, size + outside)

    def recipe_for(self, params: Params) -> StudentRecipe | TextRecipe:
        """Return the recipe of a trial.

        Raises:
            UsageError: A value is not valid in a recipe.
        """
        return self.default_recipe.updated(nest_params(params), where="search.space")

    def layers_for(self, params: Params) -> int | None:
        """Return the number of layers that a trial's text encoder keeps; None if the students take features."""
        return int(params.get(LAYERS, self.text_layers)) or None


def prepare_search(config: SearchConfig) -> SearchContext:
    """Load the recipe and the data, and check everything that could fail later. Train nothing.

    With `train_samples`, write the selected samples to a file in the output folder.

    Raises:
        UsageError: An option, a file or a field of the recipe is not valid.
        BackendUnavailableError: This machine cannot measure latencies for the target.
    """
    settings = load_settings(config.recipe)
    profile = _profile_with_one_backend(config.target)
    teacher_run = None if config.teacher is None else load_run(config.teacher, "teacher", "student")
    text_layers = 0 if teacher_run is None else _text_layers(teacher_run)
    default_recipe = (
        text_recipe(settings.text, "encoder", epochs=config.epochs)
        if text_layers
        else student_recipe(settings.student, config.data, epochs=config.epochs)
    )
    teacher = _teacher_recipe(settings, config.data)
    space = _search_space(settings, default_recipe, profile, text_layers)
    dataset = open_and_report(config.data, config.task, labeled=SPLITS)
    inputs = {
        "data": _digest(dataset.digest, dataclasses.asdict(dataset.task), config.train_samples, config.seed),
        "task": dataset.task.option,
        "target": _digest(profile.to_json()),
        "space": _digest(space.to_json()),
        "recipe": _digest(default_recipe.model_dump(), _relevant_part(settings.pipeline).model_dump()),
        "teacher": _digest(teacher.model_dump()) if teacher_run is None else teacher_run.digest,
        "seed": str(config.seed),
    }
    data = config.data
    if config.train_samples is not None:
        path = config.output_dir / f"{DATA_PREFIX}{inputs['data']}.npz"
        data = str(path)
        if not path.is_file():
            end_dry_run()  # everything else depends on the samples
        with wait_for_turn(path, "the training samples"):
            dataset = _select_training_samples(dataset, config.train_samples, config.seed, path)
    return SearchContext(config, settings, data, dataset, profile, default_recipe, space, inputs, text_layers)


def _text_layers(teacher: Run) -> int:
    """Return the number of layers of a teacher's text encoder; 0 for a teacher of features.

    Raises:
        RunUsageError: The teacher is a student that takes features.
        UsageError: The text model has a table, or its encoder is not built like BERT.
    """
    if teacher.info.kind == "teacher":
        return 0
    text_encoder = load_text_input(teacher).text_encoder
    if not isinstance(text_encoder, TransformerTextEncoder):
        raise UsageError(
            f"{teacher.path} has an embedding table, which has no layers to search over. Pass a text model with an "
            "encoder."
        )
    return text_encoder.layers


def _fields(default_recipe: StudentRecipe | TextRecipe, text_layers: int) -> dict[str, Any]:
    """Return the default values of everything that a search can vary, but the precision."""
    return ({LAYERS: text_layers} if text_layers else {}) | flatten_recipe(default_recipe)


def _default_dimensions(text_layers: int) -> Mapping[str, Dimension]:
    if not text_layers:
        return DEFAULT_DIMENSIONS
    return ({LAYERS: Range(1, text_layers)} if text_layers > 1 else {}) | dict(TEXT_DIMENSIONS)


def _search_space(
    settings: Settings, default_recipe: StudentRecipe | TextRecipe, profile: DeviceProfile, text_layers: int
) -> SearchSpace:
    unknown = sorted(set(settings.search) - {"space"})
    if unknown:
        raise UsageError(f"Unknown key {unknown[0]!r} in [search]. Available: space.")
    table = settings.search.get("space", {})
    if not isinstance(table, Mapping):
        raise UsageError(f"search.space must be a table, got {table!r}. Write [search.space].")
    precisions, default = profile.backends[0].precisions, _default_dimensions(text_layers)
    space = parse_space(table, _fields(default_recipe, text_layers), precisions, default)
    for name, dimension in space.dimensions.items():
        for value in dimension.ends:
            if name == LAYERS and (not isinstance(value, int) or not 1 <= value <= text_layers):
                raise UsageError(f"search.space.layers must be from 1 to {text_layers}, got {value!r}.")
            default_recipe.updated(nest_params({name: value}), where="search.space")
    return space


def _profile_with_one_backend(target: str) -> DeviceProfile:
    """Return the target's profile, with its first backend that is available on this machine as the only one."""
    profile = find_profile(target)
    if not matches_profile(profile.to_json()):
        raise BackendUnavailableError(
            f"This machine cannot measure latencies for {profile.name}, which is {profile.architecture}. "
            "Search on such a device, or for a target with this machine's architecture."
        )
    reasons = []
    for backend in profile.backends:
        reason = unavailable_reason(backend.name)
        if reason is None:
            return profile.with_backends(backend.name)
        reasons.append(reason)
    raise BackendUnavailableError(f"No backend of {profile.name} is available on this machine: {'; '.join(reasons)}")


def _select_training_samples(dataset: Dataset, count: int, seed: int, path: Path) -> Dataset:
    """Write random training samples and the validation split to a file, without the test split, and open it."""
    train = dataset.split("train")
    rows = np.sort(np.random.default_rng(seed).permutation(len(train))[:count])
    splits: dict[SplitName, Split] = {"train": train.select(rows), "valid": dataset.split("valid")}
    if not path.is_file():
        write_archive(dataclasses.replace(dataset, splits=splits), path)
    return open_and_report(str(path), None)


def _teacher_recipe(settings: Settings, data: str) -> TeacherRecipe:
    name = settings.pipeline.teacher
    return teacher_recipe(name, settings.hrlf if name == "hrlf" else settings.almt, data)


def _relevant_part(pipeline: PipelineRecipe) -> PipelineRecipe:
    """Return the pipeline settings with only the values that affect a trial, and defaults for the others."""
    return PipelineRecipe(
        teacher=pipeline.teacher,
        max_drop=pipeline.max_drop,
        method=pipeline.method,
        num_samples=pipeline.num_samples,
    )


def _digest(*values: Any) -> str:
    text = json.dumps(values, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
