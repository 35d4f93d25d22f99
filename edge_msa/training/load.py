"""Load the network of a run folder, in evaluation mode."""

from __future__ import annotations

from typing import TypeVar

import torch

from edge_msa.artifacts.runs import INFO_NAME, Run
from edge_msa.errors import RunError
from edge_msa.models.almt import AlmtConfig
from edge_msa.models.hrlf import HrlfConfig
from edge_msa.models.student import Student, StudentConfig
from edge_msa.training.predict import Model, almt_from_weights, hrlf_from_weights

Config = TypeVar("Config", HrlfConfig, AlmtConfig, StudentConfig)


def load_model(run: Run, device: torch.device | None = None) -> Model:
    """Return the network of a run. For HRLF, that is the robust network.

    Args:
        run: Run of any kind.
        device: Device of the network (default: the CPU).

    Raises:
        RunError: The weights do not fit the network that the run describes.
    """
    device = device or torch.device("cpu")
    if run.info.model == "hrlf":
        return hrlf_from_weights(_config(HrlfConfig, run), run.weights).to(device)
    if run.info.model == "almt":
        return almt_from_weights(_config(AlmtConfig, run), run.weights).to(device)
    return load_student(run).to(device)


def load_student(run: Run) -> Student:
    """Return the student of a student or calibration run, on the CPU.

    Raises:
        RunError: The run contains another network, or its weights do not fit.
    """
    if run.info.model != "student":
        raise RunError(f"{run.path} must contain a student, got {run.info.model}. Make one with edge-msa distill.")
    student = Student(_config(StudentConfig, run))
    try:
        student.load_state_dict({name: torch.from_numpy(value) for name, value in run.weights.items()})
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise RunError(f"The weights of {run.path} do not fit its network: {reason}. Distill it again.") from None
    return student.eval()


def _config(kind: type[Config], run: Run) -> Config:
    try:
        return kind(**run.info.config)
    except (TypeError, ValueError) as error:
        raise RunError(f"The config in {run.path / INFO_NAME} is invalid: {error}. Make the run again.") from None
