"""Check bundles with TensorRT on a GPU: build, verify, compare with ONNX Runtime, measure. Write one JSON file.

    python check_tensorrt.py record BUNDLE... --out predictions.json    # on a machine with onnxruntime
    python check_tensorrt.py check BUNDLE... --out checked.json [--predictions predictions.json] [--best-of N]

`check` needs only edge_msa_runtime, NumPy, TensorRT, cuda-python and Python 3.8 or later. `record` stores the
predictions of ONNX Runtime for random inputs of every subset, computed with TensorRT's own graph files. Without them,
`check` computes them itself if onnxruntime is installed; otherwise it compares only with the golden vectors.

Exit codes: 0 everything agrees, 3 something differs, 4 there is no GPU or no TensorRT.
"""

from __future__ import annotations

import argparse
import io
import json
import platform
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np

from edge_msa_runtime import EdgeMsaError, Session, load
from edge_msa_runtime.backends import open_backend
from edge_msa_runtime.benchmark.bench import bench_sessions
from edge_msa_runtime.bundle.golden import load_golden
from edge_msa_runtime.bundle.hashing import file_sha256
from edge_msa_runtime.bundle.loader import Bundle, open_bundle
from edge_msa_runtime.bundle.manifest import MANIFEST_NAME
from edge_msa_runtime.cli.main import main as edge_msa_run
from edge_msa_runtime.graphs import Graphs
from edge_msa_runtime.modalities import subsets_of
from edge_msa_runtime.verification import verify_bundle

BACKEND = "tensorrt"
SAMPLES, SEED = 8, 0
MIN_TOLERANCE, MARGIN = 1e-4, 2.0
TENSORRT_NAMES = {
    "BuilderFlag": ("TF32",),
    "DataType": ("FLOAT", "HALF", "INT8", "INT32", "BOOL"),
    "Builder": ("create_network", "create_builder_config", "build_serialized_network"),
    "EngineInspector": ("get_engine_information",),
    "IBuilderConfig": (
        "set_memory_pool_limit",
        "set_flag",
        "clear_flag",
        "profiling_verbosity",
        "get_tactic_sources",
        "set_tactic_sources",
        "create_timing_cache",
        "set_timing_cache",
        "get_timing_cache",
    ),
    "ICudaEngine": (
        "num_io_tensors",
        "get_tensor_name",
        "get_tensor_shape",
        "get_tensor_dtype",
        "get_tensor_mode",
        "create_execution_context",
        "create_engine_inspector",
    ),
    "IExecutionContext": ("set_tensor_address", "execute_async_v3"),
    "ILogger": ("Severity",),
    "INetworkDefinition": ("num_layers", "get_layer"),
    "ITimingCache": ("serialize",),
    "LayerInformationFormat": ("JSON",),
    "LayerType": ("QUANTIZE",),
    "MemoryPoolType": ("WORKSPACE",),
    "NetworkDefinitionCreationFlag": (),
    "OnnxParser": ("parse_from_file", "num_errors", "get_error"),
    "ParserError": ("desc",),
    "ProfilingVerbosity": ("DETAILED",),
    "Runtime": ("deserialize_cuda_engine",),
    "TacticSource": (),
    "TensorIOMode": ("INPUT",),
}
CUDA_NAMES = (
    "cudaGetDeviceCount",
    "cudaSetDevice",
    "cudaGetDeviceProperties",
    "cudaMemGetInfo",
    "cudaStreamCreateWithFlags",
    "cudaStreamNonBlocking",
    "cudaStreamDestroy",
    "cudaStreamSynchronize",
    "cudaMalloc",
    "cudaFree",
    "cudaMallocHost",
    "cudaFreeHost",
    "cudaMemcpyAsync",
    "cudaMemcpyKind",
    "cudaStreamBeginCapture",
    "cudaStreamEndCapture",
    "cudaStreamCaptureMode",
    "cudaGraphInstantiateWithFlags",
    "cudaGraphLaunch",
    "cudaGraphDestroy",
    "cudaGraphExecDestroy",
)


def find_missing_names() -> list[str]:
    """Return the names that the runtime uses and the installed TensorRT and cuda-python lack. Needs no GPU."""
    import tensorrt

    try:
        from cuda.bindings import runtime
    except ImportError:
        from cuda import cudart as runtime
    missing = [f"cuda {name}" for name in CUDA_NAMES if not hasattr(runtime, name)]
    for owner, names in TENSORRT_NAMES.items():
        if hasattr(tensorrt, owner):
            missing += [f"tensorrt.{owner}.{name}" for name in names if not hasattr(getattr(tensorrt, owner), name)]
        else:
            missing.append(f"tensorrt.{owner}")
    return missing


def create_inputs(session: Session) -> dict[str, list[dict[str, Any]]]:
    """Return utterances for every subset, the same on every machine: golden frames in random order, up to a window."""
    generator = np.random.default_rng(SEED)
    cases = load_golden(session.bundle)
    inputs: dict[str, list[dict[str, Any]]] = {}
    for subset in subsets_of(session.manifest.modalities):
        inputs[subset.value] = []
        for _ in range(SAMPLES):
            frames = {}
            for name in subset.modalities:
                spec = session.manifest.modalities[name]
                golden = next(case.frames[name] for case in cases if name in case.frames)
                frames[name] = generator.choice(golden, int(generator.integers(1, spec.window + 1)))
            inputs[subset.value].append(frames)
    return inputs


def predict_inputs(session: Session) -> dict[str, list[list[float]]]:
    """Return the outputs for `create_inputs`, by subset."""
    return {
        subset: [list(session.predict(**frames).outputs) for frames in samples]
        for subset, samples in create_inputs(session).items()
    }


def open_with_onnxruntime(bundle: Bundle, precision: str) -> Session:
    """Open a session that runs TensorRT's graph files with ONNX Runtime."""
    backend = open_backend("onnxruntime")
    backend.name = BACKEND  # the session looks graphs up by the name of the backend
    return Session(bundle, Graphs(bundle, backend, precision, strict=False))


def tolerance(bundle: Bundle, precision: str) -> float:
    """Return the tolerance of golden vectors: twice the largest parity in the manifest, but at least 1e-4."""
    parities = [
        spec.parity
        for spec in bundle.manifest.graphs
        if (spec.backend, spec.precision) == (BACKEND, precision) and spec.key.role in ("window", "fuse")
    ]
    return max(MIN_TOLERANCE, MARGIN * max(parities))


def prediction_key(bundle: Bundle, precision: str) -> str:
    """Return the key of recorded predictions: the digest of the manifest, which covers all files, and the precision."""
    return f"{file_sha256(bundle.path / MANIFEST_NAME)} {precision}"


def record(paths: list[str]) -> dict[str, Any]:
    """Return the predictions of ONNX Runtime for every bundle and precision."""
    predictions: dict[str, Any] = {}
    for path in paths:
        bundle = open_bundle(path)
        for precision in bundle.precisions(BACKEND):
            with open_with_onnxruntime(bundle, precision) as session:
                predictions[prediction_key(bundle, precision)] = predict_inputs(session)
    return predictions


def check(path: str, precision: str, recorded: dict[str, Any], best_of: int, repeats: int) -> dict[str, Any]:
    """Build, verify, compare and measure one bundle at one precision."""
    output = io.StringIO()
    with redirect_stdout(output):
        code = edge_msa_run(["build", path, "--precision", precision, "--best-of", str(best_of), "--json"])
    if code:
        return {"bundle": path, "precision": precision, "passed": False, "build_exit_code": code}
    with load(path, BACKEND, precision=precision, strict=True) as session:
        expected = recorded.get(prediction_key(session.bundle, precision))
        expected = expected or _predict_with_onnxruntime(session.bundle, precision)
        verification = verify_bundle(session)
        differences = _compare(predict_inputs(session), expected) if expected else {}
        bound = tolerance(session.bundle, precision)
        (result,) = bench_sessions([session], repeats=repeats)
        agrees = all(value <= bound for value in differences.values())
        return {
            "bundle": path,
            "precision": precision,
            "passed": verification.passed and agrees,
            "build": json.loads(output.getvalue().splitlines()[-1])["graphs"],
            "verify": verification.to_json(),
            "onnxruntime_differences": differences,
            "onnxruntime_tolerance": bound,
            "bench": result.to_json(),
        }


def _predict_with_onnxruntime(bundle: Bundle, precision: str) -> dict[str, Any]:
    """Return the predictions of ONNX Runtime, or nothing if it is not installed."""
    try:
        with open_with_onnxruntime(bundle, precision) as session:
            return predict_inputs(session)
    except EdgeMsaError:
        return {}


def _compare(actual: dict[str, Any], expected: dict[str, Any]) -> dict[str, float]:
    return {name: float(np.abs(np.asarray(actual[name]) - np.asarray(expected[name])).max()) for name in actual}


def _format_median(row: dict[str, Any]) -> str:
    median = row["latency_ms"]["p50"]
    return "from too few predictions" if median is None else f"{median['value']:.3f}"


def _format_result(result: dict[str, Any]) -> str:
    title = f"{result['bundle']} {result['precision']}"
    if "build" not in result:
        return f"{title}: not built, exit code {result['build_exit_code']}"
    golden = max(check["difference"] for check in result["verify"]["checks"])
    differences = ", ".join(f"{name} {value:.1e}" for name, value in result["onnxruntime_differences"].items())
    latencies = ", ".join(f"{row['subset']} {_format_median(row)}" for row in result["bench"]["latencies"])
    seconds = sum(graph["seconds"] for graph in result["build"])
    return (
        f"{title}: {'agrees' if result['passed'] else 'DIFFERS'}; "
        f"{len(result['build'])} graphs built in {seconds:.0f} s; largest difference from golden vectors {golden:.1e}; "
        f"from onnxruntime: {differences or 'not compared'} (tolerance {result['onnxruntime_tolerance']:.1e}); "
        f"p50 ms: {latencies}"
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the script and return its exit code."""
    parser = argparse.ArgumentParser(description="Check bundles with TensorRT on a GPU.")
    parser.add_argument("action", choices=("record", "check"))
    parser.add_argument("bundles", nargs="+", metavar="BUNDLE")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE.json", help="Output file.")
    parser.add_argument(
        "--predictions", type=Path, metavar="FILE.json", help="Output of record (default: compute them if possible)."
    )
    parser.add_argument("--best-of", type=int, default=1, metavar="N", help="Plans to build per graph (default: 1).")
    parser.add_argument(
        "--repeats", type=int, default=500, metavar="N", help="Timed predictions per subset (default: 500)."
    )
    options = parser.parse_args(arguments)
    if options.action == "record":
        options.out.write_text(json.dumps(record(options.bundles)), encoding="utf-8")
        return 0
    try:
        missing = find_missing_names()
        print(f"Missing names: {', '.join(missing) or 'none'}.")
        backend = open_backend(BACKEND)
    except (ImportError, EdgeMsaError) as error:
        print(f"error: nothing can be checked: {error}", file=sys.stderr)
        return 4
    recorded = json.loads(options.predictions.read_text(encoding="utf-8")) if options.predictions else {}
    results = []
    for path in options.bundles:
        for precision in open_bundle(path).precisions(BACKEND):
            results.append(check(path, precision, recorded, options.best_of, options.repeats))
            print(_format_result(results[-1]), flush=True)
    machine = {"tensorrt": backend.version, "device": backend.device, "python": platform.python_version()}
    options.out.write_text(json.dumps({**machine, "results": results}, indent=1), encoding="utf-8")
    return 0 if all(result["passed"] for result in results) and not missing else 3


if __name__ == "__main__":
    sys.exit(main())
