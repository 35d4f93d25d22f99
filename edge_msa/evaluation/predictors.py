"""Predictions of a whole split, by a run in torch or by a bundle through the device's own runtime."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from edge_msa.artifacts.model_spec import drop_unused_modalities
from edge_msa.artifacts.runs import Run
from edge_msa.data.dataset import Dataset, FloatArray, Split
from edge_msa.errors import DataError
from edge_msa.evaluation.evaluate import Predict, Source
from edge_msa.training.context import TrainingContext
from edge_msa.training.load import load_model
from edge_msa.training.predict import predict
from edge_msa.training.text.encode_dataset import mark_texts
from edge_msa_runtime.backends import open_backend
from edge_msa_runtime.bundle.loader import Bundle
from edge_msa_runtime.errors import BackendUnavailableError
from edge_msa_runtime.graphs import Graphs
from edge_msa_runtime.modalities import Subset
from edge_msa_runtime.session import Session


def by_run(run: Run, context: TrainingContext | None = None) -> Predict:
    """The run's network asked in torch, on the CPU unless a context has a device; splits are raw."""
    model = load_model(run, context.device if context else None)
    spec = run.spec

    def read(split: Split, subset: Subset) -> FloatArray:
        return _columns(predict(model, spec.normalization.normalize_split(split), subset))

    return read


def by_session(session: Session) -> Predict:
    """A bundle asked sample by sample, exactly as a device does; splits are raw, words are given as words."""
    text_input = session.manifest.language is not None

    def read(split: Split, subset: Subset) -> FloatArray:
        predictions = np.empty((len(split), session.bundle.manifest.task.outputs), np.float32)
        for row in range(len(split)):
            sample = split.sample(row)
            given: dict[str, Any] = {name: sample[name] for name in subset.modalities if name in sample}
            if text_input and "language" in given:
                del given["language"]
                given["text"] = split.texts[row]
            predictions[row] = session.predict(**given).outputs
        return _columns(predictions)

    return read


def session_of(bundle: Bundle, backend: str, precision: str) -> Session:
    """A session on a bundle's graphs for one backend, by a stand-in where that backend cannot execute here.

    TensorRT's graphs are ONNX files that ONNX Runtime reads: their accuracy can be known without a GPU. The session's
    `backend` is the one that executes.
    """
    manifest = bundle.manifest
    try:
        opened = open_backend(backend)
        graphs = manifest.graphs
    except BackendUnavailableError:
        opened = open_backend(str(manifest.provenance["parity_measured_by"][backend]))
        graphs = tuple(
            dataclasses.replace(spec, backend=opened.name) for spec in manifest.graphs if spec.backend == backend
        )
    as_read = dataclasses.replace(bundle, manifest=dataclasses.replace(manifest, graphs=graphs))
    return Session(as_read, Graphs(as_read, opened, precision, strict=False), threads=1)


def source_of(session: Session, backend: str) -> Source:
    """What to call the predictions of `session_of`; the device says so where another backend executed."""
    device = session.device if session.backend == backend else f"{session.backend}, {session.device}"
    return Source(session.manifest.name, "bundle", session.precision, backend, device)


def readable_by(session: Session, dataset: Dataset) -> Dataset:
    """What of that dataset a bundle reads, words as words; a note names each modality that it was made without.

    Raises:
        DataError: another width, none of the bundle's modalities, or labels of another kind.
    """
    manifest = session.bundle.manifest
    if manifest.language is not None:
        dataset = mark_texts(dataset, manifest.modalities["language"].dim)
    for name, dim in dataset.dims.items():
        spec = manifest.modalities.get(name)
        if spec is not None and spec.dim != dim:
            raise DataError(f"{name} of {dataset.name} has {dim} features a frame, the bundle takes {spec.dim}")
    if (manifest.task.kind == "emotions") == dataset.task.is_score or manifest.task.outputs != dataset.task.outputs:
        raise DataError(f"{dataset.name} is a {dataset.task.kind} task, the bundle is for {manifest.task.kind}")
    return drop_unused_modalities(dataset, tuple(manifest.modalities))


def _columns(predictions: FloatArray) -> FloatArray:
    """(N, 1) scores as (N,), as metrics take them; logits of emotions stay (N, E)."""
    return predictions[:, 0] if predictions.shape[1] == 1 else predictions
