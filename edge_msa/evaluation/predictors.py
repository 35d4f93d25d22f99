"""Predict whole splits with a run in torch, or with a bundle through the runtime of the device."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_msa.artifacts.model_spec import drop_unused_modalities, wrong_width
from edge_msa.artifacts.runs import Run
from edge_msa.data.dataset import Dataset, FloatArray, Split
from edge_msa.data.tasks import describe_mismatch, task_from_spec
from edge_msa.data.tokenization import TextTokenizer
from edge_msa.errors import DataError
from edge_msa.evaluation.evaluate import Source
from edge_msa.evaluation.intervals import StatedIntervals
from edge_msa.evaluation.subsets import Predict
from edge_msa.training.context import TrainingContext
from edge_msa.training.load import load_model
from edge_msa.training.predict import predict
from edge_msa.training.text.encode_dataset import mark_texts, print_truncation_notes
from edge_msa_export.parity.reference_backend import open_measuring_backend
from edge_msa_export.provenance import Provenance
from edge_msa_runtime.backends import open_backend
from edge_msa_runtime.bundle.loader import Bundle
from edge_msa_runtime.classes import PredictionSets
from edge_msa_runtime.errors import BackendUnavailableError
from edge_msa_runtime.features import mismatch_warning
from edge_msa_runtime.graphs import Graphs
from edge_msa_runtime.intervals import Intervals
from edge_msa_runtime.modalities import Subset
from edge_msa_runtime.session import Session


def run_predictor(run: Run, context: TrainingContext | None = None) -> Predict:
    """Return a function that predicts with the run's network in torch. Its splits must not be normalized.

    It uses the context's device, or the CPU without a context.
    """
    model = load_model(run, context.device if context else None)
    spec = run.spec

    def predict_split(split: Split, subset: Subset) -> FloatArray:
        return _squeeze_scores(predict(model, spec.normalize_split(split), subset))

    return predict_split


def session_predictor(session: Session) -> Predict:
    """Return a function that predicts sample by sample through the runtime. Its splits must not be normalized.

    A bundle with text input gets texts instead of language frames. Logits of classes are divided by the temperature of
    the bundle.
    """
    calibration = session.manifest.class_calibration
    temperature = np.float32(1 if calibration is None else calibration.temperature)

    def predict_split(split: Split, subset: Subset) -> FloatArray:
        predictions = np.empty((len(split), session.bundle.manifest.task.outputs), np.float32)
        for row in range(len(split)):
            predictions[row] = session.predict(**session_inputs(session, split, row, subset)).outputs
        return _squeeze_scores(predictions / temperature)

    return predict_split


def session_inputs(session: Session, split: Split, row: int, subset: Subset) -> dict[str, Any]:
    """Return the arguments of `Session.predict` for the modalities of a sample that are in a subset."""
    sample, masks = split.masked_sample(row)
    inputs: dict[str, Any] = {name: sample[name] for name in subset.modalities if name in sample}
    text = session.manifest.language
    if text is not None and "language" in inputs:
        del inputs["language"]
        inputs["text"] = split.texts[row]
        if text.context and split.earlier:
            inputs["context"] = split.earlier[row]
    return {**inputs, "valid": {name: mask for name, mask in masks.items() if name in inputs}}


def open_session(bundle: Bundle, backend: str, precision: str, *, exact: bool = False) -> Session:
    """Return a session on the graphs for one backend. If it is not available here, another backend runs them.

    The graphs for TensorRT are ONNX files, which ONNX Runtime can run, so their accuracy can be measured without a GPU.
    The `backend` of the session is the one that runs the graphs. With `exact`, it computes in the types that the graphs
    state, which ONNX Runtime does not do for float16; that is slow.
    """
    manifest = bundle.manifest
    try:
        executing = open_backend(backend)
        graphs = manifest.graphs
    except BackendUnavailableError:
        measured_by = Provenance.from_json(manifest.provenance).parity_measured_by or {}
        executing = open_measuring_backend(measured_by.get(backend, {}).get(precision if exact else "fp32", backend))
        graphs = tuple(
            dataclasses.replace(spec, backend=executing.name) for spec in manifest.graphs if spec.backend == backend
        )
    if manifest.intervals is not None:
        manifest = dataclasses.replace(manifest, intervals=manifest.intervals.renamed(backend, executing.name))
    classes = manifest.class_calibration
    if classes is not None and classes.sets is not None:
        classes = dataclasses.replace(classes, sets=classes.sets.renamed(backend, executing.name))
        manifest = dataclasses.replace(manifest, class_calibration=classes)
    executable = dataclasses.replace(bundle, manifest=dataclasses.replace(manifest, graphs=graphs))
    return Session(executable, Graphs(executable, executing, precision, strict=False))


def session_intervals(session: Session) -> StatedIntervals | None:
    """Return the prediction intervals or sets that the bundle of a session states; None if it states none."""
    intervals = _find_intervals(session)
    if intervals is None:
        return None
    text = session.manifest.language

    def count_frames(split: Split) -> dict[str, NDArray[np.int64]]:
        counts = {name: frames.lengths for name, frames in split.modalities.items()}
        if text is not None and "language" in counts:
            tokens = [min(session.count_tokens(item), text.max_tokens) for item in split.texts]
            counts["language"] = np.array(tokens, np.int64)
        return counts

    return StatedIntervals(intervals, session.backend, session.precision, count_frames, takes_text=text is not None)


def _find_intervals(session: Session) -> Intervals | PredictionSets | None:
    """Return the intervals or sets of a bundle if it has them for the backend and precision of a session."""
    intervals, classes = session.manifest.intervals, session.manifest.class_calibration
    if intervals is not None and session.precision in intervals.half_widths.get(session.backend, ()):
        return intervals
    sets = None if classes is None else classes.sets
    return sets if sets is not None and session.precision in sets.thresholds.get(session.backend, ()) else None


def session_source(session: Session, backend: str) -> Source:
    """Return the source of the predictions of `open_session`. Its device names the backend that ran the graphs."""
    device = session.device if session.backend == backend else f"{session.backend}, {session.device}"
    title = session.manifest.describe_precision(session.backend, session.precision)
    return Source(session.manifest.name, "bundle", session.precision, backend, device, title)


def select_session_inputs(session: Session, dataset: Dataset) -> Dataset:
    """Return the dataset with only the modalities that the bundle takes.

    Notes name each modality that was dropped, and features that differ from those of the training.

    Raises:
        DataError: The number of features or the kind of labels differs, or the dataset has none of the modalities.
    """
    manifest = session.bundle.manifest
    if manifest.language is not None:
        text = manifest.language
        tokenizer = TextTokenizer(
            (session.bundle.path / text.tokenizer).read_text(encoding="utf-8"),
            text.max_tokens,
            special=text.text_encoder == "encoder",
        )
        dataset = mark_texts(dataset, manifest.modalities["language"].dim)
        print_truncation_notes(tokenizer, dataset)
    for name, dim in dataset.dims.items():
        spec = manifest.modalities.get(name)
        if spec is not None and spec.dim != dim:
            raise DataError(wrong_width(name, spec.dim, dim, dataset.name))
    task = task_from_spec(manifest.task)
    if not task.fits(dataset.task):
        raise DataError(describe_mismatch(task, dataset.task, dataset.name))
    selected = drop_unused_modalities(dataset, tuple(manifest.modalities))
    expected = {name: spec.features for name, spec in manifest.modalities.items()}
    if (warning := mismatch_warning(expected, selected.features, dataset.name)) is not None:
        selected = dataclasses.replace(selected, notes=(*selected.notes, warning))
    return selected


def _squeeze_scores(predictions: FloatArray) -> FloatArray:
    """Return scores (N, 1) as (N,); logits of emotions or classes stay (N, outputs)."""
    return predictions[:, 0] if predictions.shape[1] == 1 else predictions
