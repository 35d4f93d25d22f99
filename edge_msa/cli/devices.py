"""`edge-msa devices`: list the devices that you can export for, and show their profiles."""

from __future__ import annotations

from typing import Annotated

import typer

from edge_msa.cli.completion import complete_target
from edge_msa.cli.help import HELP, Command, DefaultCommandGroup
from edge_msa.cli.options import TARGET_HELP, Json


class DevicesGroup(DefaultCommandGroup):
    """The group `devices`, whose default sub-command is `list`."""

    default_command = "list"

    def takes_default(self, args: list[str]) -> bool:
        """Return whether the arguments name no sub-command: there are none, or only options."""
        return not args or (args[0].startswith("-") and args[0] not in HELP)


devices_app = typer.Typer(
    cls=DevicesGroup,
    help="List the devices that you can export for, or show the profile of one.\n\n"
    "`edge-msa devices` is short for `edge-msa devices list`.\n\nExample:\n    edge-msa devices show jetson",
)


@devices_app.command("list", cls=Command)
def devices_list(json: Json = False) -> None:
    """List the devices and device families that you can export for.

    The environment variable EDGE_MSA_DEVICES names a folder with device profiles of your own.

    Example:
        edge-msa devices list
    """
    from edge_msa.workflows.inspect import list_devices

    list_devices(json=json)


@devices_app.command("show", cls=Command)
def devices_show(
    target: Annotated[str, typer.Argument(metavar="TARGET", help=TARGET_HELP, autocompletion=complete_target)],
) -> None:
    """Print the profile of a device as TOML, to edit it for a device of your own.

    Pass the edited file to --target, or store it in the folder that EDGE_MSA_DEVICES names and give it a new name.

    Example:
        edge-msa devices show raspberry-pi-5 > mine.toml
    """
    from edge_msa.workflows.inspect import show_device

    show_device(target)
