"""`edge-msa bench training`: samples a second of both teachers, on the CPU and on the GPU if there is one."""

from __future__ import annotations

import dataclasses

from edge_msa.benchmark.throughput import MODELS, SHAPES, Throughput, hardware_here, measure_throughput
from edge_msa.console import remark, say, say_json
from edge_msa.text_tables import text_table

NO_GPU = "not executed on a GPU"


def bench_training(*, json: bool) -> None:
    """Print the table; each rate also as a multiple of the CPU's in this run."""
    for model in MODELS:
        shapes = ", ".join(f"{name} {frames} x {width}" for name, (frames, width) in SHAPES[model].items())
        remark(f"{model}: random features ({shapes}), published batch size, whole training steps")
    here = hardware_here()
    found = [measure_throughput(hardware, model) for model in MODELS for hardware in here]
    say(format_training(found))
    if json:
        say_json({"training": [dataclasses.asdict(item) for item in found]})


def format_training(found: list[Throughput]) -> str:
    """A row for each model and device; a line that says so where no GPU was there."""
    base = {item.model: item.samples_per_second for item in found if item.device == "CPU"}
    header = ["model", "stage", "batch", "device", "precision", "compiled", "samples/s", "times the CPU"]
    rows = [
        [
            item.model,
            item.stage,
            str(item.batch_size),
            item.device,
            item.precision,
            "yes" if item.compiled else "no",
            f"{item.samples_per_second:.0f}",
            f"{item.samples_per_second / base[item.model]:.2f}",
        ]
        for item in found
    ]
    lines = [text_table(header, rows, left=6)]
    if all(item.device == "CPU" for item in found):
        lines.append(f"{NO_GPU}: torch finds none here")
    return "\n".join(lines)
