"""The result of one check."""

from __future__ import annotations

import dataclasses

OK, PROBLEM, UNKNOWN = "ok", "problem", "unknown"


@dataclasses.dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        topic: what was checked.
        status: `ok`, `problem` or `unknown`.
        detail: what the check found.
        fix: command or action that fixes the problem; may be empty.
        blocking: whether no prediction is possible until the problem is fixed.
    """

    topic: str
    status: str
    detail: str
    fix: str = ""
    blocking: bool = False
