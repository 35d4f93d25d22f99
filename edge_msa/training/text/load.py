"""From a language run back to its reader."""

from __future__ import annotations

from edge_msa.artifacts.model_spec import ModelSpec
from edge_msa.artifacts.runs import Run
from edge_msa.errors import RunUsageError
from edge_msa.models.text_encoders import TextModel
from edge_msa.training.load import student_of
from edge_msa.training.text.text_input import TextInput, read_text_input


def text_input_of(run: Run) -> TextInput:
    """The tokenizer and text encoder of a run that reads words, in evaluation mode on the CPU.

    Raises:
        RunUsageError: it reads features.
        RunError: its files cannot be used.
    """
    language = spec_of_text_model(run).text_input
    assert language is not None  # noqa: S101 - spec_of_text_model sees to it
    return read_text_input(run.path, language.digest)


def spec_of_text_model(run: Run) -> ModelSpec:
    """The spec of a run that reads words.

    Raises:
        RunUsageError: it reads features.
    """
    spec = run.spec
    if spec.text_input is None:
        raise RunUsageError(f"{run.path} reads features, not words: give a run of edge-msa text train or distill")
    return spec


def text_model_of(run: Run) -> tuple[TextModel, TextInput]:
    """The reader of such a run, whatever else the run reads; errors are those of `text_input_of`."""
    text_input = text_input_of(run)
    return TextModel(text_input.text_encoder, student_of(run)).eval(), text_input
