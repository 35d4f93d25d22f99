"""What the shell completes besides commands, options and files."""

from __future__ import annotations


def complete_target(incomplete: str) -> list[tuple[str, str]]:
    """Return the targets that start with `incomplete`, with the descriptions of the devices."""
    from edge_msa_export.profiles import load_targets

    return [(name, profile.description) for name, profile in load_targets().items() if name.startswith(incomplete)]


def complete_preset(incomplete: str) -> list[str]:
    """Return the presets of all models that start with `incomplete`."""
    from edge_msa.config.recipes import PRESET_TABLES, preset_names

    names = {name for table in PRESET_TABLES for name in preset_names(table)}
    return sorted(name for name in names if name.startswith(incomplete))
