"""Versions of the records that commands write as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge_msa.errors import EdgeMsaError


def check_schema(value: Mapping[str, Any], kind: str, schema: int, *, title: str, again: str) -> None:
    """Check that plain JSON values are a record of this version.

    Args:
        value: The record.
        kind: Expected value of the field `record`.
        schema: Expected value of the field `schema`.
        title: The record for people, e.g. `a benchmark`.
        again: What to do if the record is older or something else.

    Raises:
        EdgeMsaError: The record is of another kind or version.
    """
    found, version = value.get("record"), value.get("schema")
    if (found, version) == (kind, schema):
        return
    is_newer = found == kind and isinstance(version, int) and version > schema
    advice = "A newer edge-msa wrote it: update edge-msa to read it" if is_newer else again
    raise EdgeMsaError(f"The record must be {title} of schema {schema}, got {found!r} of schema {version!r}. {advice}.")
