"""`edge-msa explain`: explain a run with one HTML page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edge_msa.arguments import AnyPath, check_choice, describe_value, optional_source, path_of
from edge_msa.artifacts.files import write_text
from edge_msa.artifacts.runs import Run, load_run
from edge_msa.data.dataset import Dataset, Split, SplitName
from edge_msa.data.labels import one_hot
from edge_msa.errors import DataError, UsageError
from edge_msa.evaluation.predictors import run_predictor
from edge_msa.models.almt import Almt
from edge_msa.models.student import Student
from edge_msa.reporting.explain.attention import (
    AttentionFigure,
    almt_figure,
    embedding_shares_table,
    masked_figure,
    mean_embedding_shares,
    mean_guided_weights,
)
from edge_msa.reporting.explain.baseline_check import check_against_baselines
from edge_msa.reporting.explain.page import Explanation, Figure, SampleSection, render_explanation
from edge_msa.reporting.explain.plots import guided_weights_plot, predictions_plot
from edge_msa.reporting.explain.projections import ProjectionFigure, project_streams, project_subsets
from edge_msa.reporting.explain.removal import (
    Predictions,
    Removal,
    compute_removals,
    format_output,
    output_axis_label,
    predict_all_subsets,
    prediction_rows,
    removal_sentences,
    removal_table,
    samples_table,
)
from edge_msa.reporting.explain.samples import Rows, has_modality, random_rows, select_rows
from edge_msa.reporting.templates import Table as HtmlTable
from edge_msa.result_tables import Row, Table
from edge_msa.text_tables import text_table
from edge_msa.training.load import load_model
from edge_msa.training.predict import Model
from edge_msa.training.run_data import open_dataset_for_run
from edge_msa.training.split_introspection import (
    AttentionMaps,
    compute_attention_maps,
    compute_mean_tokens,
    compute_representations,
)
from edge_msa.workflows.api import OnProgress, api
from edge_msa.workflows.outputs import output_file
from edge_msa_runtime.modalities import MODALITIES, Subset

MAX_SAMPLES = 500
"""Maximum number of samples in the t-SNE projection and in averages of attention."""
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

    def normalized_samples(self, rows: Rows) -> Split:
        """Return samples as the network expects them."""
        return self.run.spec.normalize_split(self.split.select(rows))


@dataclass(frozen=True)
class _Results:
    """Results that both the page and the JSON record contain."""

    predictions: Predictions
    removals: Sequence[Removal]
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
        """Return the comparison with the baselines, and the effect of removing each modality, for people."""
        removal = self.content.removal
        return f"{self.content.summary[0]}\n{text_table(removal.header, removal.rows)}"

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

    It shows what removing a modality changes, attention maps, and a t-SNE projection of the representations. Prefer the
    validation split: choices made after looking at the test split are biased.

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
    predictions = predict_all_subsets(run_predictor(subject.run), subject.split, subject.dataset.task)
    removals = compute_removals(predictions, subject.split)
    results = _Results(predictions, removals, _project_joint(subject), _project_streams(subject))
    content = _explanation(subject, results)
    write_text(page, render_explanation(content))
    return ExplanationPage(page, content, _to_json(subject, results))


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
    name = subject.run.path.resolve().name
    attention = compute_attention_maps(subject.model, subject.normalized_samples(subject.rows))
    guided, embedding_shares = _average_attention(subject)
    rows = prediction_rows(split, subject.rows, results.predictions, task)
    return Explanation(
        title=f"edge-msa: explanation of {name}",
        subtitle=(
            f"{_model_title(subject.kind)} · {subject.dataset.name}, {subject.split_name} split, {len(split)} samples"
        ),
        model=subject.kind,
        summary=(_check_baselines(subject, results.predictions), *removal_sentences(results.removals, split, task)),
        removal=removal_table(results.removals, task),
        selection=subject.selection,
        predictions=Figure(predictions_plot(rows, output_axis_label(task))),
        samples=samples_table(split, subject.rows, results.predictions, task),
        sections=list(_sample_sections(subject, results.predictions, attention)),
        averaged_over=_describe_selection(MAX_SAMPLES, len(split)),
        streams_over=_describe_selection(MAX_STREAM_SAMPLES, len(split)),
        guided=guided,
        embedding_shares=embedding_shares,
        joint=Figure(results.joint.svg, results.joint.notes),
        streams=Figure() if results.streams is None else Figure(results.streams.svg, results.streams.notes),
        omissions=tuple(_omissions(subject, attention, results)),
        provenance=_provenance(subject),
    )


def _check_baselines(subject: _Subject, predictions: Predictions) -> str:
    return check_against_baselines(subject.dataset, subject.split, predictions[Subset.LAV])


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


def _average_attention(subject: _Subject) -> tuple[Figure, HtmlTable | None]:
    """Return the mean attention of AHL and of the embeddings. Both are empty for models other than ALMT."""
    if not isinstance(subject.model, Almt):
        return Figure(), None
    rows = random_rows(len(subject.split), MAX_SAMPLES)
    attention = compute_attention_maps(subject.model, subject.normalized_samples(rows))
    guided = mean_guided_weights(attention.guided, subject.split, rows)
    shares = mean_embedding_shares(attention.frames, subject.split.modalities, rows.tolist())
    return Figure(guided_weights_plot(guided)) if guided else Figure(), embedding_shares_table(shares)


def _sample_sections(subject: _Subject, predictions: Predictions, attention: AttentionMaps) -> Iterator[SampleSection]:
    task, split = subject.dataset.task, subject.split
    for index, row in enumerate(subject.rows):
        outputs = [format_output(float(value), task) for value in predictions[Subset.LAV][row]]
        labels = [format_output(float(value), task) for value in split.labels[row].reshape(-1)]
        names = ("",) if task.is_score else task.labels
        description = "; ".join(
            f"{name} label {label}, prediction {output}".strip()
            for name, label, output in zip(names, labels, outputs, strict=True)
        )
        figure = _attention_figure(subject, attention, int(row), index)
        text = split.texts[row] if split.texts else ""
        yield SampleSection(split.ids[row], text, description, Figure(figure.svg, figure.notes))


def _attention_figure(subject: _Subject, attention: AttentionMaps, row: int, index: int) -> AttentionFigure:
    if isinstance(subject.model, Almt):
        return almt_figure(attention.frames, attention.guided, subject.split, row, index)
    if isinstance(subject.model, Student):
        row_name, attends_gaps = "pooled token", bool(subject.model.config.gap_frames)
    else:
        row_name, attends_gaps = "head", True
    return masked_figure(attention.frames, subject.split, row, index, row_name=row_name, attends_gaps=attends_gaps)


def _omissions(subject: _Subject, attention: AttentionMaps, results: _Results) -> Iterator[str]:
    if not isinstance(subject.model, Almt):
        yield "Attention of AHL and the hyper-modality: only ALMT has them."
    elif not attention.guided:
        yield "Attention of AHL and the hyper-modality: this ALMT was trained without AHL."
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


def _to_json(subject: _Subject, results: _Results) -> dict[str, Any]:
    return {
        "record": "explanation",
        "run": str(subject.run.path),
        "model": subject.kind,
        "dataset": subject.dataset.name,
        "split": subject.split_name,
        "samples": len(subject.split),
        "removal": {
            item.modality: {
                "samples": item.samples,
                "mean_change": item.change.value,
                "error": item.error,
                "error_without": item.error_without,
                "difference": (
                    None
                    if item.error_increase is None
                    else [item.error_increase.value, item.error_increase.low, item.error_increase.high]
                ),
            }
            for item in results.removals
        },
        "predictions": {
            subject.split.ids[row]: {subset.value: results.predictions[subset][row].tolist() for subset in Subset}
            for row in subject.rows
        },
        "neighbor_accuracy": {
            "joint": results.joint.neighbor_accuracy,
            "streams": {} if results.streams is None else results.streams.neighbor_accuracy,
        },
    }
