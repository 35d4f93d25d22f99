"""The model that an export starts from: teacher, student and calibration, each skipped where it is up to date."""

from __future__ import annotations

from pathlib import Path

from edge_msa.artifacts.processes import refuse_several
from edge_msa.config.settings import Settings
from edge_msa.console import step
from edge_msa.training.context import Hardware
from edge_msa.workflows.calibrate import calibrate_student
from edge_msa.workflows.distill import distill_student
from edge_msa.workflows.train import train_teacher


def make_model(output_dir: Path, settings: Settings | None = None) -> None:
    """The runs `teacher`, `student` and `calibrated` under a folder."""
    refuse_several("the way from data to a calibrated student")
    given = settings or Settings()
    own = given.pipeline
    teacher, student = output_dir / "teacher", output_dir / "student"
    hardware = Hardware(own.device)
    step("train")
    train_teacher(
        own.data,
        teacher,
        model=own.teacher,
        recipe={"hrlf": given.hrlf, "almt": given.almt},
        seed=own.seed,
        hardware=hardware,
        task=own.task,
        in_pipeline=True,
    )
    step("distill")
    distill_student(
        own.data,
        [teacher],
        student,
        recipe={"student": given.student},
        seed=own.seed,
        hardware=hardware,
        task=own.task,
        in_pipeline=True,
    )
    step("calibrate")
    calibrate_student(
        own.data,
        student,
        output_dir / "calibrated",
        method=own.method,
        num_samples=own.num_samples,
        seed=own.seed,
        task=own.task,
        in_pipeline=True,
    )
