"""Cascades: when to ask a larger member, chosen on validation predictions."""

from edge_msa.evaluation.cascades.fit import FittedRoute, Policy, fit_route
from edge_msa.evaluation.cascades.member_scores import (
    Costs,
    MemberScores,
    collect_member_scores,
    measure_costs,
    typical_frames,
)

__all__ = [
    "Costs",
    "FittedRoute",
    "MemberScores",
    "Policy",
    "collect_member_scores",
    "fit_route",
    "measure_costs",
    "typical_frames",
]
