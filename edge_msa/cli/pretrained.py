"""`edge-msa pretrained`: list pretrained models, get their bundles, and publish bundles on the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_msa.cli.help import Command, Group
from edge_msa.cli.options import OUTPUT_DIR_HELP, Json
from edge_msa.cli.paths import FOLDER, INPUT, Output

pretrained_app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    help="List pretrained models, get their bundles, and publish bundles.\n\n"
    "Only `get` of a bundle on the Hugging Face hub and `push` open a connection.\n\n"
    "Example:\n    edge-msa pretrained get text-nano --output-dir bundle-words",
)

NAME_HELP = "Name of a pretrained model. `edge-msa pretrained list` lists them."


@pretrained_app.command("list", cls=Command)
def pretrained_list(json: Json = False) -> None:
    """List the pretrained models of the installed package edge-msa-pretrained.

    Example:
        edge-msa pretrained list
    """
    from edge_msa.console import print_json, print_result
    from edge_msa.workflows.pretrained import list_pretrained

    models = list_pretrained()
    if json:
        print_json({str(row["model"]): row for row in models.rows})
    else:
        print_result(str(models))


@pretrained_app.command("info", cls=Command)
def pretrained_info(name: Annotated[str, typer.Argument(metavar="NAME", help=NAME_HELP)], json: Json = False) -> None:
    """Show the model card of a pretrained model.

    The card states the training data and its terms, the accuracy, and what the model must not be used for.

    Example:
        edge-msa pretrained info text-nano
    """
    from edge_msa.console import print_json, print_result
    from edge_msa.workflows.pretrained import describe_pretrained

    card = describe_pretrained(name)
    if json:
        print_json(card.to_json())
    else:
        print_result(str(card))


@pretrained_app.command("get", cls=Command)
def pretrained_get(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help=f"{NAME_HELP} Or a bundle on the Hugging Face hub: OWNER/NAME or OWNER/NAME@REVISION."
        ),
    ],
    output_dir: Annotated[
        Path | None,
        typer.Option(
            "--output-dir",
            metavar="DIR",
            help=f"{OUTPUT_DIR_HELP} It appears only when it is complete.",
            show_default="the name of the model",
        ),
        Output(FOLDER),
    ] = None,
    sha256: Annotated[
        str | None,
        typer.Option(
            "--sha256",
            metavar="DIGEST",
            help="SHA-256 that the manifest of a bundle on the hub must have. `push` prints it.",
            show_default="that of the index for its models, or else not checked",
        ),
    ] = None,
) -> None:
    """Write the bundle of a pretrained model to a folder.

    Every file is verified before the folder appears. A damaged or substituted bundle is refused.

    Example:
        edge-msa pretrained get text-nano --output-dir bundle-words
    """
    from edge_msa.workflows.pretrained import get_pretrained

    get_pretrained(name, output_dir=output_dir, sha256=sha256)


@pretrained_app.command("push", cls=Command)
def pretrained_push(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder of the bundle to upload."), INPUT],
    repo: Annotated[
        str,
        typer.Option(
            "--repo", metavar="OWNER/NAME", help="Repository on the Hugging Face hub. It is created if it is missing."
        ),
    ],
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    json: Json = False,
) -> None:
    """Upload a bundle to the Hugging Face hub.

    The token is that of `hf auth login` or the variable HF_TOKEN. HF_ENDPOINT names another hub.

    Example:
        edge-msa pretrained push bundle-words --repo someone/words
    """
    import shlex

    from edge_msa.console import print_json, print_next, print_result
    from edge_msa.workflows.pretrained import push_bundle

    upload = push_bundle(bundle, repo=repo, private=private)
    print_result(f"{upload.url}\nsha256 of the manifest: {upload.sha256}")
    print_next(shlex.join(["edge-msa", "pretrained", "get", str(upload.reference), "--sha256", upload.sha256]))
    if json:
        print_json({"repository": str(upload.reference), "sha256": upload.sha256, "url": upload.url})
