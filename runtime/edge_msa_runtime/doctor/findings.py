"""One thing that the doctor found."""

from __future__ import annotations

import dataclasses

OK, WRONG, UNKNOWN = "ok", "wrong", "unknown"


@dataclasses.dataclass(frozen=True)
class Finding:
    """`topic`; `state` (ok, wrong or unknown); what was `found`; the command that mends it; whether it `stops` all."""

    topic: str
    state: str
    found: str
    fix: str = ""
    stops: bool = False
