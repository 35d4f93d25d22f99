"""From a run folder back to a network in evaluation mode."""

from __future__ import annotations

from typing import TypeVar

import torch

from edge_msa.artifacts.runs import INFO_NAME, Run
from edge_msa.errors import RunError
from edge_msa.models.almt import AlmtConfig
from edge_msa.models.hrlf import HrlfConfig
from edge_msa.models.student import Student, StudentConfig
from edge_msa.training.predict import Readable, almt_from_weights, hrlf_from_weights

Config = TypeVar("Config", HrlfConfig, AlmtConfig, StudentConfig)


def model_of(run: Run, device: torch.device | None = None) -> Readable:
    """The run's network on that device (the CPU if none is named); of HRLF, the robust one.

    Raises:
        RunError: the weights are not those of the network that the run describes.
    """
    place = device or torch.device("cpu")
    if run.info.model == "hrlf":
        return hrlf_from_weights(_config(HrlfConfig, run), run.weights).to(place)
    if run.info.model == "almt":
        return almt_from_weights(_config(AlmtConfig, run), run.weights).to(place)
    return student_of(run).to(place)


def student_of(run: Run) -> Student:
    """The student of a student or calibration run, on the CPU.

    Raises:
        RunError: it is another run, or its weights do not fit.
    """
    if run.info.model != "student":
        raise RunError(f"{run.path} holds a {run.info.model}, this needs a student: edge-msa distill makes one")
    student = Student(_config(StudentConfig, run))
    try:
        student.load_state_dict({name: torch.from_numpy(value) for name, value in run.weights.items()})
    except RuntimeError as error:
        last = str(error).splitlines()[-1].strip()
        raise RunError(f"the weights of {run.path} do not fit its network ({last}): distill it again") from None
    return student.eval()


def _config(kind: type[Config], run: Run) -> Config:
    try:
        return kind(**run.info.config)
    except (TypeError, ValueError) as error:
        raise RunError(f"the config in {run.path / INFO_NAME} cannot be read ({error}): make the run again") from None
