"""Make the request for an export from a student and a target."""

from __future__ import annotations

from collections.abc import Mapping

from edge_msa.data.tasks import Task
from edge_msa.deployment.golden_samples import choose_golden_samples
from edge_msa.deployment.graphs import chunk_lengths, make_normalization
from edge_msa.deployment.student import DeployableStudent
from edge_msa.quantization.calibration_files import Calibration
from edge_msa.quantization.plan_summary import summarize_plan
from edge_msa_export.graphs.files import GraphsByKey
from edge_msa_export.profiles import DeviceProfile
from edge_msa_export.provenance import DataSource, NodePrecision, Provenance
from edge_msa_export.request import ExportRequest
from edge_msa_runtime.bundle.manifest import TaskSpec
from edge_msa_runtime.features import FeatureSource

Plan = Mapping[str, tuple[NodePrecision, ...]]
"""The precision of every node, by quantization scheme."""

LICENSE = "The weights are subject to the terms of the data that they were trained on. The runtime is MIT."


def make_export_request(
    student: DeployableStudent,
    profile: DeviceProfile,
    name: str,
    *,
    precision: str = "auto",
    graphs: GraphsByKey | None = None,
    features: Mapping[str, FeatureSource] | None = None,
    ir: bool = False,
    dla: bool = False,
) -> ExportRequest:
    """Return the request to export a student for a target.

    Args:
        student: The student. Golden samples come from its dataset.
        profile: The target.
        name: Name of the bundle.
        precision: `auto` for all precisions of the target, or the name of one, which is exported next to FP32.
        graphs: The student's FP32 graphs. The provenance then lists the precision of every node by quantization scheme.
        features: What computed the features, by modality (default: what the run states).
        ir: Export OpenVINO graphs as OpenVINO IR.
        dla: Check TensorRT graphs for the target's DLA as well.

    Raises:
        DataError: The dataset lacks a modality of the model.
    """
    spec, calibration = student.spec, student.calibration
    plan = None if graphs is None or calibration is None else _summarize_plans(graphs, profile, calibration)
    return ExportRequest(
        name=name,
        profile=profile,
        task=make_task_spec(spec.task),
        normalization=make_normalization(spec),
        chunks=chunk_lengths(spec.windows, spec.features),
        windows=spec.windows,
        golden_samples=choose_golden_samples(student.dataset, spec.dims, text_input=spec.text_input is not None),
        provenance=_make_provenance(student, plan),
        license=LICENSE,
        ranges=calibration.ranges if calibration else None,
        smoothing=calibration.smoothing if calibration else {},
        fp32_weights=calibration.fp32_weights if calibration else {},
        precisions=None if precision == "auto" else tuple(dict.fromkeys(("fp32", precision))),
        features=spec.features if features is None else features,
        text_model=student.text,
        openvino_ir=ir,
        check_dla=dla,
    )


def make_task_spec(task: Task) -> TaskSpec:
    """Return the task as a bundle's manifest describes it."""
    return TaskSpec(task.kind, task.outputs, task.labels, task.edges, task.low, task.high)


def _make_provenance(student: DeployableStudent, plan: Plan | None) -> Provenance:
    info, dataset = student.run.info, student.dataset
    parameters = sum(value.size for value in student.run.weights.values())
    return Provenance(
        run=student.run.digest,
        model=info.model,
        seed=info.seed,
        parameters=int(parameters) + (student.text.parameters if student.text else 0),
        config=dict(info.config),
        inputs=dict(info.inputs),
        data=DataSource(dataset.name, dataset.digest),
        git_revision=info.git_revision,
        versions=dict(info.versions),
        calibration=dict(info.recipe) if info.kind == "calibration" else None,
        plan=plan,
    )


def _summarize_plans(graphs: GraphsByKey, profile: DeviceProfile, calibration: Calibration) -> Plan:
    """Return the precision of every node by quantization scheme."""
    return {
        backend.scheme: summarize_plan(graphs, backend.scheme, calibration)
        for backend in profile.backends
        if backend.scheme is not None
    }
