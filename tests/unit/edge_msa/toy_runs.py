"""Datasets and runs of untrained networks, for tests of distillation."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch

from edge_msa.artifacts.model_spec import ModelSpec
from edge_msa.artifacts.runs import RunInfo, new_run, write_run
from edge_msa.data.dataset import SPLITS, Dataset, Frames, Split
from edge_msa.data.formats.archive import write_archive
from edge_msa.data.tasks import MOSI, Task
from edge_msa.models.student import Student, StudentConfig
from edge_msa.training.context import Hardware
from edge_msa.training.predict import weights_to_numpy

DIMS = {"language": 4, "audio": 3, "vision": 2}
SMALL = {"student": {"width": 16, "blocks": 1, "tokens": 1, "hidden": 4, "epochs": 1, "batch_size": 8}}
CONTEXT = Hardware("cpu").start()


def write_dataset(path: Path, dims: dict[str, int] | None = None, task: Task = MOSI) -> str:
    rng = np.random.default_rng(0)
    splits = {}
    for name in SPLITS:
        modalities = {
            modality: Frames(np.ones((12, 5), np.bool_), rng.normal(size=(12, 5, dim)).astype(np.float32))
            for modality, dim in (dims or DIMS).items()
        }
        labels = rng.uniform(-2, 2, 12) if task.is_score else rng.integers(0, 2, (12, task.outputs))
        ids = tuple(f"{name}{row}" for row in range(12))
        splits[name] = Split(ids, ids, labels.astype(np.float32), modalities)
    write_archive(Dataset(path.stem, task, splits, ""), path)
    return str(path)


def write_teacher(path: Path, data: str, dims: dict[str, int] | None = None, task: Task = MOSI) -> Path:
    """Write a run of an untrained network with these modalities."""
    from edge_msa.data.opening import open_dataset

    dataset = open_dataset(data)
    unused = [name for name in dataset.dims if dims is not None and name not in dims]
    spec = ModelSpec.for_training(dataset.without(unused), data)
    torch.manual_seed(len(str(path)))
    config = StudentConfig(spec.dims, width=8, blocks=1, tokens=1, hidden=4, outputs=task.outputs)
    info = RunInfo(
        kind="teacher",
        model="student",
        command="train",
        cache_key=path.name,
        seed=0,
        recipe={},
        config=dataclasses.asdict(config),
        spec=spec,
        inputs={"data": dataset.digest},
        metrics={},
    )
    with new_run(path, path.name) as work:
        write_run(work, info, weights_to_numpy(Student(config)), [])
    return path
