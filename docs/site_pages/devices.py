"""The device profiles in `devices/`, and the fields of a profile."""

from __future__ import annotations

from edge_msa_export.profiles import BackendProfile, DeviceProfile, load_profiles
from site_pages.markdown import code, prose, table
from site_pages.recipes import describe_type


def describe_devices() -> str:
    """Return a table of all profiles, and the notes of each."""
    profiles = list(load_profiles().values())
    header = ("target", "device", "backends and precisions", "JetPack", "TensorRT", "Python")
    overview = table(header, [_row(profile) for profile in profiles])
    notes = [(item.name, "".join(f"- {prose(note)}\n" for note in item.notes)) for item in profiles if item.notes]
    return "\n".join([overview, *(f"### {name}\n\n{text}" for name, text in notes)])


def describe_fields() -> str:
    """Return the fields of a profile and of its backends."""
    parts = []
    for title, model in (("A profile", DeviceProfile), ("`[[backends]]`", BackendProfile)):
        rows = [
            (code(name), describe_type(field), "yes" if field.is_required() else "", prose(field.description or ""))
            for name, field in model.model_fields.items()
        ]
        parts.append(f"### {title}\n\n" + table(("field", "value", "required", "meaning"), rows))
    return "\n".join(parts)


def _row(profile: DeviceProfile) -> tuple[str, ...]:
    backends = "; ".join(f"{backend.name}: {', '.join(backend.precisions)}" for backend in profile.backends)
    names = code(profile.name) + (f", {code(profile.alias)}" if profile.alias else "")
    return (
        names,
        prose(profile.description),
        backends,
        profile.jetpack or "",
        profile.tensorrt or "",
        profile.python or "",
    )
