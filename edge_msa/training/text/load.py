"""Load the text model of a run."""

from __future__ import annotations

from edge_msa.artifacts.model_spec import ModelSpec, TextInputSpec
from edge_msa.artifacts.runs import Run
from edge_msa.errors import RunUsageError
from edge_msa.models.text_encoders import TextModel
from edge_msa.training.load import load_student
from edge_msa.training.text.text_input import TextInput, load_text_input_files


def load_text_input(run: Run) -> TextInput:
    """Return the tokenizer and text encoder of a run, in evaluation mode on the CPU.

    Raises:
        RunUsageError: The run has no text encoder.
        RunError: Its files are damaged.
    """
    return load_text_input_files(run.path, require_text_input(run).digest)


def require_text_input(run: Run) -> TextInputSpec:
    """Return how a run computes its language frames from text.

    Raises:
        RunUsageError: The run takes language features instead.
    """
    if run.spec.text_input is None:
        raise RunUsageError(f"{run.path} must take text, but it takes features. Pass a run of edge-msa text.")
    return run.spec.text_input


def require_text_model(run: Run) -> ModelSpec:
    """Return the spec of a run that takes text; errors are those of `require_text_input`."""
    require_text_input(run)
    return run.spec


def load_text_model(run: Run) -> tuple[TextModel, TextInput]:
    """Return the text model of a run, in evaluation mode, and its text input; errors are those of `load_text_input`."""
    text_input = load_text_input(run)
    return TextModel(text_input.text_encoder, load_student(run)).eval(), text_input
