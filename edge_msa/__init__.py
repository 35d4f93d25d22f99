"""From features to a model that a device runs: train, distill, calibrate, export, measure.

    import edge_msa as em

    teacher = em.train("mosi.pkl", model="hrlf", recipe={"epochs": 5}, output_dir="teacher")
    student = em.distill(teacher, data="mosi.pkl", output_dir="student")
    calibrated = em.calibrate(student, output_dir="calibrated")
    bundle = em.export(calibrated, target="laptop-x86", output_dir="bundle")
    print(em.evaluate(bundle, data="mosi.pkl"))

What a function acts on is its first argument; everything else is passed by keyword. Paths are strings or path-like
objects, and the results of functions can be passed in place of paths. Functions print nothing, unless `verbose=True`;
`on_progress` takes a function that is called with a `Progress`. Results that are tables have `rows` and `to_pandas()`,
and `print` shows them. The command `edge-msa` calls the same functions.

Public names are imported on first use, so that `import edge_msa` does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_msa import errors
    from edge_msa.artifacts.runs import Run, load_run
    from edge_msa.benchmark.layer_profile import LayerProfile
    from edge_msa.benchmark.peer_table import PeerBenchmark
    from edge_msa.console import Progress
    from edge_msa.data.inspect import Inspection
    from edge_msa.data.utterances import Utterance
    from edge_msa.errors import (
        BackendUnavailableError,
        DataError,
        EdgeMsaError,
        RunError,
        RunUsageError,
        TrainingError,
        UsageError,
    )
    from edge_msa.evaluation.evaluate import Evaluation
    from edge_msa.reporting.comparison import ReportComparison
    from edge_msa.reporting.models import ModelBenchmark
    from edge_msa.reporting.replay import ReportReplay
    from edge_msa.workflows.bench import (
        Benchmark,
        bench,
        bench_almt,
        bench_long_windows,
        bench_runtime,
        bench_selfcheck,
        bench_students,
        bench_training,
    )
    from edge_msa.workflows.bench_asr import RecognizerBenchmark, bench_asr
    from edge_msa.workflows.bench_layers import bench_layers
    from edge_msa.workflows.bench_live import LiveMeasurement, bench_live
    from edge_msa.workflows.bench_models import bench_models
    from edge_msa.workflows.bench_peers import bench_peers
    from edge_msa.workflows.bench_streams import StreamBenchmark, bench_streams
    from edge_msa.workflows.calibrate import calibrate
    from edge_msa.workflows.cascade import FittedCascade, cascade
    from edge_msa.workflows.compare import StudentComparison, compare
    from edge_msa.workflows.data import convert_data, encode_data, inspect_data, save_data
    from edge_msa.workflows.distill import distill
    from edge_msa.workflows.evaluate import evaluate
    from edge_msa.workflows.explain import ExplanationPage, explain
    from edge_msa.workflows.export import ExportedBundle, ExportedPrograms, export, export_programs
    from edge_msa.workflows.features import Extraction, FailedSegment, extract_features
    from edge_msa.workflows.import_almt import import_almt
    from edge_msa.workflows.inspect import GraphInspection, devices, inspect
    from edge_msa.workflows.pipeline import Pipeline, PipelineResult
    from edge_msa.workflows.predict import Predictions, predict
    from edge_msa.workflows.pretrained import (
        PretrainedCard,
        PretrainedModels,
        describe_pretrained,
        get_pretrained,
        list_pretrained,
        push_bundle,
    )
    from edge_msa.workflows.report import ReportPage, report
    from edge_msa.workflows.report_compare import compare_reports
    from edge_msa.workflows.report_replay import replay_report
    from edge_msa.workflows.report_stream import StreamPage, report_stream
    from edge_msa.workflows.reproduce import ReproductionResult, reproduce
    from edge_msa.workflows.search import SearchResult, search
    from edge_msa.workflows.sensitivity import sensitivity
    from edge_msa.workflows.sign import SignedBundle, SigningKey, keygen, sign
    from edge_msa.workflows.text import distill_text, train_text
    from edge_msa.workflows.text_sweep import SweepResult, sweep_text
    from edge_msa.workflows.text_vocabulary import prune_vocabulary
    from edge_msa.workflows.train import train
    from edge_msa_calibrate.errors import GateFailedError
    from edge_msa_runtime import __version__

__all__ = [
    "BackendUnavailableError",
    "Benchmark",
    "DataError",
    "EdgeMsaError",
    "Evaluation",
    "ExplanationPage",
    "ExportedBundle",
    "ExportedPrograms",
    "Extraction",
    "FailedSegment",
    "FittedCascade",
    "GateFailedError",
    "GraphInspection",
    "Inspection",
    "LayerProfile",
    "LiveMeasurement",
    "ModelBenchmark",
    "PeerBenchmark",
    "Pipeline",
    "PipelineResult",
    "Predictions",
    "PretrainedCard",
    "PretrainedModels",
    "Progress",
    "RecognizerBenchmark",
    "ReportComparison",
    "ReportPage",
    "ReportReplay",
    "ReproductionResult",
    "Run",
    "RunError",
    "RunUsageError",
    "SearchResult",
    "SignedBundle",
    "SigningKey",
    "StreamBenchmark",
    "StreamPage",
    "StudentComparison",
    "SweepResult",
    "TrainingError",
    "UsageError",
    "Utterance",
    "__version__",
    "bench",
    "bench_almt",
    "bench_asr",
    "bench_layers",
    "bench_live",
    "bench_long_windows",
    "bench_models",
    "bench_peers",
    "bench_runtime",
    "bench_selfcheck",
    "bench_streams",
    "bench_students",
    "bench_training",
    "calibrate",
    "cascade",
    "compare",
    "compare_reports",
    "convert_data",
    "describe_pretrained",
    "devices",
    "distill",
    "distill_text",
    "encode_data",
    "errors",
    "evaluate",
    "explain",
    "export",
    "export_programs",
    "extract_features",
    "get_pretrained",
    "import_almt",
    "inspect",
    "inspect_data",
    "keygen",
    "list_pretrained",
    "load_run",
    "predict",
    "prune_vocabulary",
    "push_bundle",
    "replay_report",
    "report",
    "report_stream",
    "reproduce",
    "save_data",
    "search",
    "sensitivity",
    "sign",
    "sweep_text",
    "train",
    "train_text",
]

_MODULES = {
    "edge_msa.artifacts.runs": ("Run", "load_run"),
    "edge_msa.console": ("Progress",),
    "edge_msa.data.inspect": ("Inspection",),
    "edge_msa.data.utterances": ("Utterance",),
    "edge_msa.errors": (
        "BackendUnavailableError",
        "DataError",
        "EdgeMsaError",
        "RunError",
        "RunUsageError",
        "TrainingError",
        "UsageError",
    ),
    "edge_msa.evaluation.evaluate": ("Evaluation",),
    "edge_msa.benchmark.layer_profile": ("LayerProfile",),
    "edge_msa.reporting.models": ("ModelBenchmark",),
    "edge_msa.reporting.comparison": ("ReportComparison",),
    "edge_msa.benchmark.peer_table": ("PeerBenchmark",),
    "edge_msa.reporting.replay": ("ReportReplay",),
    "edge_msa.workflows.bench": (
        "Benchmark",
        "bench",
        "bench_almt",
        "bench_long_windows",
        "bench_runtime",
        "bench_selfcheck",
        "bench_students",
        "bench_training",
    ),
    "edge_msa.workflows.bench_asr": ("RecognizerBenchmark", "bench_asr"),
    "edge_msa.workflows.bench_layers": ("bench_layers",),
    "edge_msa.workflows.bench_live": ("LiveMeasurement", "bench_live"),
    "edge_msa.workflows.bench_models": ("bench_models",),
    "edge_msa.workflows.bench_peers": ("bench_peers",),
    "edge_msa.workflows.bench_streams": ("StreamBenchmark", "bench_streams"),
    "edge_msa.workflows.calibrate": ("calibrate",),
    "edge_msa.workflows.cascade": ("FittedCascade", "cascade"),
    "edge_msa.workflows.compare": ("StudentComparison", "compare"),
    "edge_msa.workflows.data": ("convert_data", "encode_data", "inspect_data", "save_data"),
    "edge_msa.workflows.distill": ("distill",),
    "edge_msa.workflows.evaluate": ("evaluate",),
    "edge_msa.workflows.explain": ("ExplanationPage", "explain"),
    "edge_msa.workflows.export": ("ExportedBundle", "ExportedPrograms", "export", "export_programs"),
    "edge_msa.workflows.features": ("Extraction", "FailedSegment", "extract_features"),
    "edge_msa.workflows.import_almt": ("import_almt",),
    "edge_msa.workflows.inspect": ("GraphInspection", "devices", "inspect"),
    "edge_msa.workflows.pipeline": ("Pipeline", "PipelineResult"),
    "edge_msa.workflows.predict": ("Predictions", "predict"),
    "edge_msa.workflows.pretrained": (
        "PretrainedCard",
        "PretrainedModels",
        "describe_pretrained",
        "get_pretrained",
        "list_pretrained",
        "push_bundle",
    ),
    "edge_msa.workflows.report": ("ReportPage", "report"),
    "edge_msa.workflows.report_compare": ("compare_reports",),
    "edge_msa.workflows.report_replay": ("replay_report",),
    "edge_msa.workflows.report_stream": ("StreamPage", "report_stream"),
    "edge_msa.workflows.reproduce": ("ReproductionResult", "reproduce"),
    "edge_msa.workflows.search": ("SearchResult", "search"),
    "edge_msa.workflows.sensitivity": ("sensitivity",),
    "edge_msa.workflows.sign": ("SignedBundle", "SigningKey", "keygen", "sign"),
    "edge_msa.workflows.text": ("distill_text", "train_text"),
    "edge_msa.workflows.text_sweep": ("SweepResult", "sweep_text"),
    "edge_msa.workflows.text_vocabulary": ("prune_vocabulary",),
    "edge_msa.workflows.train": ("train",),
    "edge_msa_calibrate.errors": ("GateFailedError",),
    "edge_msa_runtime": ("__version__",),
}
"""Public names by the module that defines them."""
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


if not TYPE_CHECKING:  # type checkers know the names above, and report others

    def __getattr__(name: str) -> Any:
        """Import a public name from its module on first use (PEP 562)."""
        if name == "errors":
            return importlib.import_module("edge_msa.errors")
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(_MODULE_OF[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
