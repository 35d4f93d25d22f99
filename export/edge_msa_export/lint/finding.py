"""What a rule says of a graph."""

from __future__ import annotations

from dataclasses import asdict, dataclass

REFUSED = "refused"
"""The backend at that version cannot read it, or reads it wrongly."""
SLOW = "slow"
"""It is read, and costs more than it saves."""
NOTE = "note"
"""It is read, and whoever loads it has to know something."""
SEVERITIES = (REFUSED, SLOW, NOTE)


@dataclass(frozen=True)
class Finding:
    """One thing of one graph: the `rule`, its `severity`, `where` in the graph, what to know, and by which document."""

    rule: str
    severity: str
    where: str
    message: str
    document: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.where}: {self.message}"

    def to_json(self) -> dict[str, str]:
        """The finding as plain JSON values."""
        return asdict(self)
