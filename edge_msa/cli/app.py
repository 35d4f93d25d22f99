"""The command `edge-msa`, assembled from one module per command.

Commands import what they need inside their bodies, so that --help is instant.
"""

from __future__ import annotations

from importlib import metadata
from typing import Annotated

import typer

from edge_msa.cli.bench import bench_app
from edge_msa.cli.calibrate import calibrate
from edge_msa.cli.cascade import cascade
from edge_msa.cli.config import config_app
from edge_msa.cli.data import data_app, import_app
from edge_msa.cli.demo import demo
from edge_msa.cli.devices import devices_app
from edge_msa.cli.distill import compare, distill
from edge_msa.cli.evaluate import evaluate
from edge_msa.cli.export import export
from edge_msa.cli.features import features_app
from edge_msa.cli.help import (
    HELP,
    QUIET,
    QUIET_HELP,
    VERBOSE,
    VERBOSE_HELP,
    Command,
    Group,
    SlowCommand,
    set_quiet,
    set_verbose,
)
from edge_msa.cli.inspect import inspect
from edge_msa.cli.pipeline import pipeline
from edge_msa.cli.predict import predict
from edge_msa.cli.pretrained import pretrained_app
from edge_msa.cli.report import explain, report
from edge_msa.cli.reproduce import reproduce
from edge_msa.cli.search import search
from edge_msa.cli.sensitivity import sensitivity
from edge_msa.cli.sign import keygen, sign
from edge_msa.cli.text import text_app
from edge_msa.cli.train import train

app = typer.Typer(
    name="edge-msa",
    cls=Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": HELP},
)


def _print_version(requested: bool) -> None:
    if requested:
        print(f"edge-msa {metadata.version('edge-msa')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    verbose: Annotated[bool, typer.Option(*VERBOSE, callback=set_verbose, help=VERBOSE_HELP)] = False,
    quiet: Annotated[bool, typer.Option(*QUIET, callback=set_quiet, help=QUIET_HELP)] = False,
) -> None:
    """Train, distill, quantize and export multimodal sentiment models for edge devices.

    `edge-msa COMMAND --help` explains a command and shows an example.

    Example:
        edge-msa pipeline --data synthetic --output-dir runs
    """


SLOW = (demo, pipeline, train, distill, compare, calibrate, sensitivity, export, reproduce, search)
"""Commands with `--dry-run`."""

for section, commands in {
    "Start": (demo, pipeline),
    "Train": (train, distill, compare),
    "Ship": (calibrate, sensitivity, export, cascade, keygen, sign, inspect, predict),
    "Measure": (evaluate, report, explain),
    "Research": (reproduce, search),
}.items():
    for command in commands:
        app.command(cls=SlowCommand if command in SLOW else Command, rich_help_panel=section)(command)

for section, name, group in (
    ("Start", "pretrained", pretrained_app),
    ("Start", "devices", devices_app),
    ("Start", "config", config_app),
    ("Data", "features", features_app),
    ("Data", "data", data_app),
    ("Data", "import", import_app),
    ("Train", "text", text_app),
    ("Measure", "bench", bench_app),
):
    app.add_typer(group, name=name, rich_help_panel=section)
