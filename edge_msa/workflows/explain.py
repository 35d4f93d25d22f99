"""`edge-msa explain`: explain a run with one HTML page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edge_msa.arguments import AnyPath, check_choice, describe_value, optional_source, path_of
from edge_msa.artifacts.files import write_text
from edge_msa.artifacts.runs import Run, load_run
from edge_msa.console import activity
from edge_msa.data.dataset import Dataset, FloatArray, Frames, Split, SplitName
from edge_msa.data.labels import one_hot
from edge_msa.errors import DataError, RunError, UsageError
from edge_msa.evaluation.metrics.units import assign_units, describe_unit
from edge_msa.models.almt import Almt
from edge_msa.models.student import Student
from edge_msa.reporting.explain.attention import (
    AttentionKind,
    EmbeddingShares,
    FrameAttention,
    attention_over_frames,
    format_shares,
    mean_embedding_shares,
    mean_guided_weights,
)
from edge_msa.reporting.explain.baseline_check import check_against_baselines
from edge_msa.reporting.explain.importance import (
    ModalityCells,
    NoiseCells,
    SampleExplanation,
    Segments,
    average_cells,
    segment_effects,
    segment_frames,
)
from edge_msa.reporting.explain.interventions import (
    MAX_FEATURES,
    Intervention,
    compute_interventions,
    feature_groups,
)
from edge_msa.reporting.explain.noise import NoiseEffect, NoiseExperiment, NoiseSample
from edge_msa.reporting.explain.page import (
    Explanation,
    Figure,
    noise_sentence,
    render_explanation,
    summary_cards,
)
from edge_msa.reporting.explain.plots import guided_weights_plot
from edge_msa.reporting.explain.projections import ProjectionFigure, project_streams, project_subsets
from edge_msa.reporting.explain.record import (
    interventions_record,
    noise_record,
    predictions_record,
    removal_record,
    sample_record,
)
from edge_msa.reporting.explain.removal import (
    Predictions,
    Removal,
    compute_removals,
    predict_all_subsets,
    prediction_rows,
    removal_table,
    samples_table,
    subset_without,
    to_predictions,
)
from edge_msa.reporting.explain.samples import Rows, aligned_words, has_modality, random_rows, select_rows
from edge_msa.result_tables import Row, Table
from edge_msa.text_tables import text_table
from edge_msa.training.load import load_model
from edge_msa.training.predict import Model, predict
from edge_msa.training.run_data import open_dataset_for_run
from edge_msa.training.split_introspection import (
    compute_attention_maps,
    compute_mean_tokens,
    compute_representations,
)
from edge_msa.training.text.load import load_text_input
from edge_msa.workflows.api import OnProgress, api
from edge_msa.workflows.outputs import output_file
from edge_msa_runtime.features import UNKNOWN
from edge_msa_runtime.modalities import MODALITIES, Subset

MAX_SAMPLES = 500
"""Maximum number of samples in interventions on features, in the noise experiment, in averages of attention and in the
t-SNE projection."""
MAX_STREAM_SAMPLES = 250
"""Maximum number of samples in the projection of the streams, which has four points per sample."""


@dataclass(frozen=True)
class _Subject:
    """What is explained: a run on a split.

    Attributes:
        run: The run.
        model: Its network.
        dataset: The data before normalization.
        split_name: Name of the split.
        split: The split before normalization.
        rows: Rows of the samples to show.
        selection: How the samples were selected.
    """

    run: Run
    model: Model
    dataset: Dataset
    split_name: SplitName
    split: Split
    rows: Rows
    selection: str

    @property
    def kind(self) -> str:
        """`hrlf`, `almt` or `student`."""
        return self.run.info.model

    @property
    def attention_kind(self) -> AttentionKind:
        """How the network attends to frames."""
        if isinstance(self.model, Student):
            return AttentionKind(has_learned_tokens=False, attends_gaps=bool(self.model.config.gap_frames))
        return AttentionKind(has_learned_tokens=isinstance(self.model, Almt), attends_gaps=True)

    def normalized_samples(self, rows: Rows) -> Split:
        """Return samples as the network expects them."""
        return self.run.spec.normalize_split(self.split.select(rows))

    def predict(self, split: Split, subset: Subset = Subset.LAV) -> FloatArray:
        """Return the predictions for a split before normalization, (N, outputs): scores or probabilities."""
        return self.predict_normalized(self.run.spec.normalize_split(split), subset)

    def predict_normalized(self, split: Split, subset: Subset = Subset.LAV) -> FloatArray:
        """Return the predictions for a normalized split, (N, outputs): scores or probabilities."""
        return to_predictions(predict(self.model, split, subset), self.dataset.task)

    def attention(self, split: Split, rows: Rows) -> list[dict[str, FrameAttention]]:
        """Return the attention over frames by modality, of normalized samples that are these rows of the split."""
        maps = compute_attention_maps(self.model, split)
        return [
            attention_over_frames(maps.frames, maps.guided, self.split, int(row), index, self.attention_kind)
            for index, row in enumerate(rows)
        ]


@dataclass(frozen=True)
class _Results:
    """Results that both the page and the JSON record contain."""

    predictions: Predictions
    removals: Sequence[Removal]
    interventions: Sequence[Intervention]
    noise: Sequence[NoiseEffect]
    shown: Sequence[SampleExplanation]
    shares: Sequence[EmbeddingShares]
    guided: Mapping[str, FloatArray]
    joint: ProjectionFigure
    streams: ProjectionFigure | None


@dataclass(frozen=True, repr=False)
class ExplanationPage(Table):
    """A page that explains a run, and what removing each modality changes."""

    path: Path
    """The HTML page."""
    content: Explanation
    """What the page shows."""
    record: Mapping[str, Any]
    """The results as plain JSON values."""

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        """Return the path and the subject."""
        return f"<ExplanationPage {self.path}: {self.content.subtitle}>"

    def __str__(self) -> str:
        """Return the comparison with the baselines, the effect of each modality, and what noise does, for people."""
        removal = self.content.removal
        lines = [self.content.quality.sentence, text_table(removal.header, removal.rows)]
        lines += [f"{card.question} {card.headline}." for card in summary_cards(self.content)[2:]]
        return "\n".join([*lines, *map(noise_sentence, self.content.noise)])

    @property
    def rows(self) -> tuple[Row, ...]:
        """One row per modality: what changes without it."""
        return tuple(
            {
                "modality": modality,
                "samples": item["samples"],
                "mean_change": item["mean_change"],
                "error": item["error"],
                "error_without": item["error_without"],
            }
            for modality, item in self.record["removal"].items()
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**self.record, "page": str(self.path)}


@api
def explain(
    run: AnyPath,
    *,
    data: AnyPath | None = None,
    output: AnyPath = "explain.html",
    split: SplitName = "valid",
    samples: Sequence[str] = (),
    task: str | None = None,
    overwrite: bool = False,
    verbose: bool = False,
    on_progress: OnProgress | None = None,
) -> ExplanationPage:
    """Write a page that explains the predictions of a run. The page works offline.

    It shows which words and frames matter in single samples, what each feature and each modality changes, what noise
    does on the frames that the model attends to, and a t-SNE projection of the representations. Prefer the validation
    split: choices made after looking at the test split are biased.

    Args:
        run: Any run.
        data: Feature file, or `"synthetic"` (default: the data that the run was trained on).
        output: HTML file to write. An existing one is replaced.
        split: Split to explain: `"train"`, `"valid"` or `"test"`.
        samples: Ids of the samples to show (default: samples across the range of labels).
        task: What the labels mean (default: what the data states).
        overwrite: Whether to replace an existing file whose name does not end in `.html`.
        verbose: Whether to print progress and notes.
        on_progress: Not called: the explanation is one step.

    Returns:
        The page, and a table of what removing each modality changes.

    Raises:
        RunUsageError: `run` is not a run.
        DataError: The data does not match the run, or no sample of the split has a valid frame.
        RunError: A prediction is not finite.
        UsageError: An argument is invalid, or the split has no sample with one of the ids.

    Examples:
        >>> em.explain(teacher, data="mosi.pkl", samples=["03bSnISJMiM_1"], output="explain.html")
    """
    path, source = path_of(run, "run", "a run or the path of its folder"), optional_source(data)
    check_choice(split, "split", SplitName)
    if isinstance(samples, str) or not all(isinstance(item, str) for item in samples):
        raise UsageError(f"samples must be a list of ids, got {describe_value(samples)}.")
    page = output_file(output, "output", [path, source], replaceable="*.html")
    subject = _load_subject(path, source, split, samples, task)
    predictions = predict_all_subsets(subject.predict, subject.split)
    if not all(np.isfinite(values).all() for values in predictions.values()):
        raise RunError(f"The predictions of {path} must be finite, got NaN or infinite values. Train the model again.")
    shares, guided = _average_attention(subject)
    noise, shown = _explain_frames(subject)
    results = _Results(
        predictions,
        compute_removals(predictions, subject.split),
        _intervene(subject, predictions),
        noise,
        shown,
        shares,
        guided,
        _project_joint(subject),
        _project_streams(subject),
    )
    content = _explanation(subject, results)
    record = _to_json(subject, results, content)
    write_text(page, render_explanation(content, record))
    return ExplanationPage(page, content, record)


def _load_subject(
    path: Path, data: str | None, split_name: SplitName, samples: Sequence[str], task: str | None
) -> _Subject:
    """Load the run and the data, and check them before the computation."""
    run = load_run(path)
    dataset = run.spec.select_inputs(open_dataset_for_run(run, data, task))
    split = dataset.split(split_name)
    if not any(has_modality(split, name).any() for name in MODALITIES):
        raise DataError(
            f"No sample of the {split_name} split of {dataset.name} has a valid frame. Pass another --split or --data."
        )
    if dataset.task.kind == "classes":
        split = replace(split, labels=one_hot(dataset.task, split.labels))
    rows, selection = select_rows(split, dataset.task, samples)
    return _Subject(run, load_model(run), dataset, split_name, split, rows, selection)


def _explanation(subject: _Subject, results: _Results) -> Explanation:
    split, task = subject.split, subject.dataset.task
    sampled = _describe_selection(MAX_SAMPLES, len(split))
    return Explanation(
        title=f"edge-msa: explanation of {subject.run.path.resolve().name}",
        subtitle=(
            f"{_model_title(subject.kind)} · {subject.dataset.name}, {subject.split_name} split, {len(split)} samples"
        ),
        model=subject.kind,
        task=task,
        quality=check_against_baselines(subject.dataset, split, results.predictions[Subset.LAV]),
        removals=results.removals,
        removal=removal_table(results.removals, task),
        interventions=results.interventions,
        interventions_over=sampled,
        skipped_features=tuple(_skipped_features(subject)),
        noise=results.noise,
        noise_over=sampled,
        interval_unit=describe_unit(assign_units(split.groups)[1]),
        selection=subject.selection,
        predictions=prediction_rows(split, subject.rows, results.predictions, task),
        samples=samples_table(split, subject.rows, results.predictions, task),
        explained=results.shown,
        averaged_over=sampled,
        streams_over=_describe_selection(MAX_STREAM_SAMPLES, len(split)),
        guided=Figure(guided_weights_plot(results.guided)) if results.guided else Figure(),
        embedding_shares=results.shares,
        joint=Figure(results.joint.svg, results.joint.notes),
        streams=Figure() if results.streams is None else Figure(results.streams.svg, results.streams.notes),
        omissions=tuple(_omissions(subject, results)),
        provenance=_provenance(subject),
    )


def _intervene(subject: _Subject, predictions: Predictions) -> list[Intervention]:
    """Return the effect of replacing each feature, and of removing each modality, on the same samples."""
    rows = random_rows(len(subject.split), MAX_SAMPLES)
    raw, normalized = subject.split.select(rows), subject.normalized_samples(rows)
    available = [name for name in subject.run.spec.dims if has_modality(raw, name).any()]
    groups = []
    for name in available:
        source = subject.run.spec.features.get(name) or subject.dataset.features.get(name, UNKNOWN)
        groups += feature_groups(name, subject.run.spec.dims[name], source.names, source.units)
    with activity("Replacing features by their means"):
        return compute_interventions(
            normalized,
            {name: raw.modalities[name].valid for name in available},
            groups,
            predict=subject.predict_normalized,
            predictions=predictions[Subset.LAV][rows],
            without={name: predictions[subset_without(name)][rows] for name in available},
            is_score=subject.dataset.task.is_score,
        )


def _skipped_features(subject: _Subject) -> Iterator[str]:
    for name, dim in subject.run.spec.dims.items():
        frames = subject.split.modalities.get(name)
        if frames is None or not frames.valid.any():
            continue
        if frames.encoder is not None:
            yield f"A text encoder computes the frames of {name}, so its features are not replaced."
        elif dim > MAX_FEATURES and len(subject.run.spec.features.get(name, UNKNOWN).names) != dim:
            yield f"The {dim} features of {name} have no names, so they are replaced only together."


def _explain_frames(subject: _Subject) -> tuple[list[NoiseEffect], list[SampleExplanation]]:
    """Return the noise experiment over the split, and words and frames of the shown samples."""
    sampled = random_rows(len(subject.split), MAX_SAMPLES)
    rows = np.union1d(sampled, subject.rows)
    raw = subject.split.select(rows)

    def attend(split: Split, selected: Rows) -> dict[str, FloatArray]:
        attention = subject.attention(split, rows[selected])
        arrays = {}
        for name in subject.run.spec.dims:
            if name in raw.modalities:
                valid = raw.modalities[name].valid[selected]
                arrays[name] = np.full(valid.shape, np.nan, np.float32)
                for index, sample in enumerate(attention):
                    if name in sample:
                        weights = sample[name].weights[0, : valid.shape[1]]
                        arrays[name][index, : len(weights)] = np.where(valid[index, : len(weights)], weights, np.nan)
        return arrays

    with activity("Replacing frames by noise"):
        experiment = NoiseExperiment(
            subject.run.spec.normalize_split(raw),
            {name: frames.valid for name, frames in raw.modalities.items()},
            subject.run.spec.normalization.limit,
            attend=attend,
            predict=subject.predict_normalized,
        )
        effects = list(experiment.effects(np.searchsorted(rows, sampled)))
        noisy = experiment.samples(np.searchsorted(rows, subject.rows))
    attention = subject.attention(subject.normalized_samples(subject.rows), subject.rows)
    predictions = subject.predict(subject.split.select(subject.rows))
    words = _word_finder(subject)
    with activity("Removing words and frames"):
        shown = [
            _explain_sample(subject, int(row), predictions[index], attention[index], noisy[index], words(int(row)))
            for index, row in enumerate(subject.rows)
        ]
    return effects, shown


def _explain_sample(
    subject: _Subject,
    row: int,
    prediction: FloatArray,
    attention: Mapping[str, FrameAttention],
    noise: Mapping[str, NoiseSample],
    words: Sequence[str],
) -> SampleExplanation:
    split, task = subject.split, subject.dataset.task
    explained = int(prediction.argmax())
    modalities = {}
    for name, item in attention.items():
        valid = split.modalities[name].valid[row]
        count = int(np.flatnonzero(valid)[-1]) + 1
        segments = segment_frames(count)
        weights = np.full(count, np.nan, np.float32)
        known = min(count, item.weights.shape[1])
        weights[:known] = np.where(valid[:known], item.weights[0, :known], np.nan)
        effects = segment_effects(split, row, name, segments, subject.predict)[:, explained]
        modalities[name] = ModalityCells(
            frames=count,
            segments=segments,
            words=words if name == "language" and len(words) == len(segments) else (),
            attention=average_cells(weights, segments),
            effect=[
                round(float(effect), 4) if valid[first:last].any() else None
                for effect, (first, last) in zip(effects, segments, strict=True)
            ],
            note=_attention_note(subject, name, item, int(valid.sum())),
            noise=_noise_cells(noise[name], segments, count, explained) if name in noise else None,
        )
    labels = [float(value) if np.isfinite(value) else None for value in split.labels[row].reshape(-1)]
    return SampleExplanation(
        name=split.ids[row],
        text=split.texts[row] if split.texts else "",
        output="" if task.is_score else task.labels[explained],
        label=labels,
        prediction=[float(value) for value in prediction],
        explained=explained,
        modalities=modalities,
    )


def _noise_cells(noise: NoiseSample, segments: Segments, count: int, explained: int) -> NoiseCells:
    cell = next(number for number, (first, last) in enumerate(segments) if first <= noise.frame < last)
    attention = average_cells(noise.after[:count], segments)
    return NoiseCells(cell, noise.frame + 1, attention, float(noise.disturbed[explained]))


def _attention_note(subject: _Subject, name: str, attention: FrameAttention, frames: int) -> str:
    if frames == 1:
        return f"This sample has a single {name} frame, so all attention on frames goes to it."
    if isinstance(subject.model, Almt):
        return f"Of all attention, {format_shares(attention)}."
    if attention.padding > 0.005:
        return f"{100 * attention.padding:.0f} % of the attention goes to missing frames between valid ones."
    return ""


def _word_finder(subject: _Subject) -> Callable[[int], Sequence[str]]:
    """Return what gives the word of each language frame of a sample: tokens if the run takes text."""
    frames = subject.split.modalities.get("language")
    if subject.run.spec.text_input is None or frames is None or frames.ids is None:
        return lambda row: aligned_words(subject.split, row) if frames is not None and _is_prefix(frames, row) else ()
    vocabulary, ids = load_text_input(subject.run).tokenizer.vocabulary, frames.ids
    return lambda row: (
        tuple(vocabulary[token] for token in ids[row][frames.valid[row]]) if _is_prefix(frames, row) else ()
    )


def _is_prefix(frames: Frames, row: int) -> bool:
    """Return whether the valid frames of a sample come first."""
    return bool(frames.valid[row, : frames.lengths[row]].all())


def _project_joint(subject: _Subject) -> ProjectionFigure:
    selected = subject.split.select(random_rows(len(subject.split), MAX_SAMPLES))
    spec = subject.run.spec
    return project_subsets(
        lambda split, subset: compute_representations(subject.model, spec.normalize_split(split), subset),
        selected,
        subject.dataset.task,
    )


def _project_streams(subject: _Subject) -> ProjectionFigure | None:
    if not isinstance(subject.model, Almt):
        return None
    rows = random_rows(len(subject.split), MAX_STREAM_SAMPLES)
    streams = compute_mean_tokens(subject.model, subject.normalized_samples(rows))
    return project_streams(streams, subject.split.select(rows), subject.dataset.task)


def _average_attention(subject: _Subject) -> tuple[list[EmbeddingShares], Mapping[str, FloatArray]]:
    """Return the mean attention of ALMT's embeddings and of AHL. Both are empty for other models."""
    if not isinstance(subject.model, Almt):
        return [], {}
    rows = random_rows(len(subject.split), MAX_SAMPLES)
    attention = compute_attention_maps(subject.model, subject.normalized_samples(rows))
    guided = mean_guided_weights(attention.guided, subject.split, rows)
    return mean_embedding_shares(attention.frames, subject.split.modalities, rows.tolist()), guided


def _omissions(subject: _Subject, results: _Results) -> Iterator[str]:
    if not isinstance(subject.model, Almt):
        yield "Attention of AHL and the hyper-modality: only ALMT has them."
    elif not results.guided:
        yield "Attention of AHL and the hyper-modality: this ALMT was trained without AHL."
    if not results.noise:
        yield "Noise on the frame with the most attention: no sample has two frames of a modality."
    if not results.joint.svg:
        yield f"t-SNE of the joint representation. {' '.join(results.joint.notes)}"
    if results.streams is not None and not results.streams.svg:
        yield f"t-SNE of the hyper-modality. {' '.join(results.streams.notes)}"
    missing = [name for name in subject.run.spec.dims if not has_modality(subject.split, name).any()]
    if missing:
        yield f"Results on {' and '.join(missing)}: the split has no frames of it."
    if not subject.split.texts:
        yield "Texts of the samples: the data does not contain them."


def _describe_selection(max_samples: int, count: int) -> str:
    return f"{max_samples} random samples of {count}" if max_samples < count else f"all {count} samples"


def _model_title(kind: str) -> str:
    return {"hrlf": "HRLF", "almt": "ALMT"}.get(kind, kind)


def _provenance(subject: _Subject) -> dict[str, str]:
    info = subject.run.info
    provenance = {
        "run": f"{subject.run.digest[:12]}, seed {info.seed}, revision {(info.git_revision or 'unknown')[:12]}",
        "data": f"{subject.dataset.name}, SHA-256 {subject.dataset.digest}",
        "t-SNE": (
            "scikit-learn, seed 0, initialized with the principal components, "
            "perplexity 30 or a third of the number of samples"
        ),
    }
    notes = (*subject.dataset.notes, *subject.run.spec.normalization.notes)
    return provenance | ({"notes": "; ".join(notes)} if notes else {})


def _to_json(subject: _Subject, results: _Results, content: Explanation) -> dict[str, Any]:
    split = subject.split
    return {
        "record": "explanation",
        "run": str(subject.run.path),
        "model": subject.kind,
        "dataset": subject.dataset.name,
        "split": subject.split_name,
        "samples": len(split),
        "summary": [
            {"question": card.question, "headline": card.headline, "facts": list(card.facts)}
            for card in summary_cards(content)
        ],
        "removal": removal_record(results.removals),
        "interventions": interventions_record(results.interventions),
        "noise": noise_record(results.noise),
        "predictions": predictions_record(split, subject.rows, results.predictions),
        "shown": [sample_record(sample) for sample in results.shown],
        "ahl": {name: weights.tolist() for name, weights in results.guided.items()},
        "shares": {
            item.modality: {
                "frames": item.frames,
                "learned": item.learned,
                "padding": item.padding,
                "uniform": list(item.uniform),
            }
            for item in results.shares
        },
        "neighbor_accuracy": {
            "joint": results.joint.neighbor_accuracy,
            "streams": {} if results.streams is None else results.streams.neighbor_accuracy,
        },
    }
