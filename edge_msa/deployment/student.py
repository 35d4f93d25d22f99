"""Load a student run for deployment: everything that calibration and export need, in one object."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_msa.artifacts.model_spec import ModelSpec
from edge_msa.artifacts.runs import Run
from edge_msa.data.dataset import Dataset, FloatArray
from edge_msa.models.student import Student
from edge_msa.models.text_encoders import EmbeddingTableEncoder
from edge_msa.quantization.calibration_files import Calibration, load_calibration
from edge_msa.training.load import load_student
from edge_msa.training.text.load import load_text_input
from edge_msa_export.text import ExportableText, TextGraph, TextTable


@dataclass(frozen=True)
class DeployableStudent:
    """A student and everything that its deployment needs."""

    run: Run
    """The run that the student comes from."""
    network: Student
    """The network in evaluation mode, on the CPU."""
    text: ExportableText | None
    """The tokenizer and text encoder in the form that export takes; None if the student takes language features."""
    calibration: Calibration | None
    """The calibration; None if the run is not calibrated, so that INT8 is not available."""
    dataset: Dataset
    """Raw data with the modalities of the student. Language frames are those of its text encoder if it has one."""

    @property
    def spec(self) -> ModelSpec:
        """What the student expects of its data."""
        return self.run.spec

    @property
    def gap_frames(self) -> dict[str, FloatArray]:
        """The gap frames (d,) of the modalities that have one, not normalized."""
        return {name: self.spec.normalization.mean[name] for name in self.network.config.gap_frames}


def load_deployable_student(run: Run, dataset: Dataset) -> DeployableStudent:
    """Load a student or calibration run.

    Args:
        run: The run.
        dataset: Raw data, with the language frames of the run's text encoder if it has one.

    Raises:
        RunError: A file of the run is missing or damaged, or its weights do not fit the network.
        DataError: The dataset does not fit the model.
    """
    return DeployableStudent(
        run, load_student(run), _load_text(run), load_calibration(run), run.spec.select_inputs(dataset)
    )


def _load_text(run: Run) -> ExportableText | None:
    if run.spec.text_input is None:
        return None
    text_input = load_text_input(run)
    tokenizer, text_encoder = text_input.tokenizer, text_input.text_encoder
    if isinstance(text_encoder, EmbeddingTableEncoder):
        rows = np.asarray(text_encoder.table.weight.detach().numpy(), np.float32)
        return TextTable(tokenizer.tokenizer, rows, tokenizer.max_tokens)
    return TextGraph(
        tokenizer.tokenizer, text_encoder.exportable(), text_encoder.dim, tokenizer.max_tokens, tokenizer.context
    )
