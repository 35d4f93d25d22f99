"""The result of one check."""

from __future__ import annotations

import dataclasses

OK, PROBLEM, UNKNOWN, OPTIONAL = "ok", "problem", "unknown", "optional"


@dataclasses.dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        topic: what was checked.
        status: `ok`, `problem`, `unknown`, or `optional`: missing, but another backend of the bundle is installed.
        detail: what the check found.
        fix: command or action that fixes the problem; may be empty.
        blocking: whether no prediction is possible until the problem is fixed.
    """

    topic: str
    status: str
    detail: str
    fix: str = ""
    blocking: bool = False
