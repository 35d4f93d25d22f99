"""`edge-msa devices`: list the devices that you can export for, and show their profiles."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from edge_msa.cli.completion import complete_target
from edge_msa.cli.help import HELP, Command, DefaultCommandGroup
from edge_msa.cli.options import TARGET_HELP, Json

if TYPE_CHECKING:
    from edge_msa_export.profiles import DeviceProfile


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
    from edge_msa.console import print_json, print_result
    from edge_msa.workflows.inspect import devices

    profiles = devices()
    if json:
        print_json({name: profile.to_json() for name, profile in profiles.items()})
    else:
        print_result(_format_devices(profiles.values()))


@devices_app.command("show", cls=Command)
def devices_show(
    target: Annotated[str, typer.Argument(metavar="TARGET", help=TARGET_HELP, autocompletion=complete_target)],
) -> None:
    """Print the profile of a device as TOML, to edit it for a device of your own.

    Pass the edited file to --target, or store it in the folder that EDGE_MSA_DEVICES names and give it a new name.

    Example:
        edge-msa devices show raspberry-pi-5 > mine.toml
    """
    from edge_msa.console import print_result
    from edge_msa_export.profiles import read_profile

    print_result(read_profile(target).rstrip("\n"))


def _format_devices(profiles: Iterable[DeviceProfile]) -> str:
    """Return a table of devices."""
    from edge_msa.text_tables import text_table

    rows = [
        [
            profile.name + (f" (= {profile.alias})" if profile.alias else ""),
            profile.architecture,
            (profile.tensorrt or "-") + (", DLA" if profile.dla else ""),
            ", ".join(f"{backend.name} {'/'.join(backend.precisions)}" for backend in profile.backends),
            profile.description,
        ]
        for profile in profiles
    ]
    return text_table(["target", "architecture", "TensorRT", "backends", "description"], rows, left=3, texts=2)
