"""Summarize the quantization plans of a student: the precision of every node, and the reason for it."""

from __future__ import annotations

from edge_msa.quantization.calibration_files import Calibration
from edge_msa_calibrate.layers import encoder_of
from edge_msa_calibrate.plan import make_plan
from edge_msa_calibrate.schemes import scheme_named
from edge_msa_export.graphs.files import GraphsByKey
from edge_msa_export.int8_layers import representative_keys
from edge_msa_export.provenance import NodePrecision


def summarize_plan(graphs: GraphsByKey, scheme: str, calibration: Calibration) -> tuple[NodePrecision, ...]:
    """Return the precision of every node that could be INT8 under a quantization scheme.

    The nodes are those of the window graph with the most modalities and of the longest text encoder graph. Step graphs
    have the same weights and therefore the same plan.
    """
    calibrated = {encoder_of(key) for key in calibration.ranges}
    fp32_weights = calibration.fp32_weights.get(scheme, {})
    return tuple(
        NodePrecision(
            f"{decision.node} ({decision.weight})" if decision.weight else decision.node,
            decision.op_type,
            decision.int8,
            decision.reason,
        )
        for key in representative_keys(graphs)
        for decision in make_plan(graphs[key], scheme_named(scheme), calibrated, fp32_weights).decisions
    )
