"""What the shell completes besides commands, options and files."""

from __future__ import annotations

import typer


def complete_target(incomplete: str) -> list[tuple[str, str]]:
    """Return the targets that start with `incomplete`, with the descriptions of the devices."""
    from edge_msa_export.profiles import load_targets

    return [(name, profile.description) for name, profile in load_targets().items() if name.startswith(incomplete)]


def complete_preset(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the presets that start with `incomplete`, of the model that the command line names or else of all."""
    from edge_msa.config.recipes import PRESET_TABLES, preset_names

    words = [str(ctx.params.get("model")), *ctx.args]  # the parser leaves the last words of an incomplete line
    tables = [word for word in words if word in PRESET_TABLES] or PRESET_TABLES
    names = {name for table in tables for name in preset_names(table)}
    return sorted(name for name in names if name.startswith(incomplete))
