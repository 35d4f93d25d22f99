"""`edge-msa bench almt`: how much faster ALMT runs than with every token computed."""

from __future__ import annotations

import dataclasses

from edge_msa.benchmark.almt import MOSI, time_almt
from edge_msa.console import remark, say, say_json
from edge_msa.text_tables import text_table


def bench_almt(*, threads: int, num_runs: int, json: bool) -> None:
    """Print the times of both ways at MOSI's lengths, and their ratio."""
    lengths = "/".join(map(str, MOSI.lengths.values()))
    remark(f"ALMT with random weights at MOSI's lengths ({lengths} frames), torch on CPU, {threads} threads")
    times = time_almt(threads=threads, num_runs=num_runs)
    header = ["samples", "every token, ms", "as it runs, ms", "times as fast", "largest difference"]
    rows = [
        [str(t.batch), f"{t.every_token:.2f}", f"{t.as_run:.2f}", f"{t.ratio:.2f}", f"{t.difference:.1e}"]
        for t in times
    ]
    say(text_table(header, rows))
    if json:
        say_json({"almt": [dataclasses.asdict(t) | {"ratio": t.ratio} for t in times]})
