"""`edge-msa devices`."""

from __future__ import annotations

from edge_msa.console import say, say_json
from edge_msa.text_tables import text_table
from edge_msa_export.profiles import load_profiles


def list_devices(*, json: bool) -> None:
    """Show every device that export knows, in a table or as JSON."""
    profiles = load_profiles()
    if json:
        say_json({name: profile.to_json() for name, profile in profiles.items()})
        return
    rows = [
        [
            profile.name + (f" (= {profile.family})" if profile.family_default else ""),
            profile.architecture,
            ", ".join(f"{backend.name} {'/'.join(backend.precisions)}" for backend in profile.backends),
            (profile.tensorrt or "-") + (", DLA" if profile.dla else ""),
            profile.description,
        ]
        for profile in profiles.values()
    ]
    say(text_table(["target", "architecture", "backends", "TensorRT", "what it is"], rows, left=5))
