"""What only a GPU can tell: builds, verifies, compares and benches bundles with TensorRT, and writes one JSON.

    python check_tensorrt.py record BUNDLE... --out predictions.json    # where onnxruntime is: what it reads
    python check_tensorrt.py check BUNDLE... --out checked.json [--predictions predictions.json] [--best-of K]

`check` needs edge_msa_runtime, NumPy, TensorRT and cuda-python alone, Python 3.8 or later. Predictions are those of ONNX
Runtime on TensorRT's own graph files, of random inputs for every subset; without them the golden vectors remain.
Exit codes: 0 all agrees, 3 something does not, 4 there is no GPU or no TensorRT.
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
from edge_msa_runtime.benchmark.bench import bench_session
from edge_msa_runtime.bundle.golden import verify_bundle
from edge_msa_runtime.bundle.hashing import file_sha256
from edge_msa_runtime.bundle.manifest import MANIFEST_NAME
from edge_msa_runtime.bundle.reader import Bundle, open_bundle
from edge_msa_runtime.cli.main import main as command
from edge_msa_runtime.graphs import Graphs
from edge_msa_runtime.modalities import subsets_of

BACKEND, PRECISIONS = "tensorrt", ("int8", "fp16", "fp32")
SAMPLES, SEED = 8, 0
LEAST_TOLERANCE, MARGIN = 1e-4, 2.0
NAMES = {
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


def missing_names() -> list[str]:
    """What the runtime calls and this TensorRT and cuda-python lack; needs no GPU."""
    import tensorrt

    try:
        from cuda.bindings import runtime
    except ImportError:
        from cuda import cudart as runtime
    found = [f"cuda {name}" for name in CUDA_NAMES if not hasattr(runtime, name)]
    for lease, names in NAMES.items():
        there = getattr(tensorrt, lease, None)
        found += [f"tensorrt.{lease}.{name}" for name in names if not hasattr(there, name)]
        found += [] if there is not None else [f"tensorrt.{lease}"]
    return found


def inputs_of(session: Session) -> dict[str, list[dict[str, Any]]]:
    """For every subset some random utterances, the same on every machine, of one frame to all that a window takes."""
    generator = np.random.default_rng(SEED)
    found: dict[str, list[dict[str, Any]]] = {}
    for subset in subsets_of(session.manifest.modalities):
        found[subset.value] = []
        for _ in range(SAMPLES):
            frames = {}
            for name in subset.modalities:
                spec = session.manifest.modalities[name]
                noise = generator.standard_normal((int(generator.integers(1, spec.window + 1)), spec.dim))
                frames[name] = (noise * spec.std + spec.mean).astype(np.float32)
            found[subset.value].append(frames)
    return found


def predictions_of(session: Session) -> dict[str, list[list[float]]]:
    """The outputs for `inputs_of`, by subset."""
    return {
        subset: [list(session.predict(**frames).outputs) for frames in samples]
        for subset, samples in inputs_of(session).items()
    }


def by_onnxruntime(bundle: Bundle, precision: str) -> Session:
    """A session that reads TensorRT's own graph files with ONNX Runtime."""
    backend = open_backend("onnxruntime")
    backend.name = BACKEND  # graphs are looked up by it
    return Session(bundle, Graphs(bundle, backend, precision, strict=False), 1)


def tolerance_of(bundle: Bundle, precision: str) -> float:
    """How far a prediction may be from ONNX Runtime's, as for golden vectors: twice the worst parity of the manifest."""
    parities = [
        spec.parity
        for spec in bundle.manifest.graphs
        if (spec.backend, spec.precision) == (BACKEND, precision) and spec.key.role in ("window", "fuse")
    ]
    return max(LEAST_TOLERANCE, MARGIN * max(parities))


def cache_key(bundle: Bundle) -> str:
    """The digest of its manifest, which covers every byte."""
    return file_sha256(bundle.path / MANIFEST_NAME)


def record(paths: list[str]) -> dict[str, Any]:
    """What ONNX Runtime reads, by bundle and precision."""
    found: dict[str, Any] = {}
    for path in paths:
        bundle = open_bundle(path)
        for precision in bundle.precisions(BACKEND):
            with by_onnxruntime(bundle, precision) as session:
                found[f"{cache_key(bundle)} {precision}"] = predictions_of(session)
    return found


def check(path: str, precision: str, known: dict[str, Any], best_of: int, repeats: int) -> dict[str, Any]:
    """Build, verify, compare and bench one bundle at one precision."""
    built = io.StringIO()
    with redirect_stdout(built):
        code = command(["build", path, "--precision", precision, "--best-of", str(best_of), "--json"])
    if code:
        return {"bundle": path, "precision": precision, "passed": False, "build_exit_code": code}
    with load(path, BACKEND, precision=precision, strict=True) as session:
        wanted = known.get(f"{cache_key(session.bundle)} {precision}") or _here(session.bundle, precision)
        verified = verify_bundle(session)
        differences = _differences(predictions_of(session), wanted) if wanted else {}
        bound = tolerance_of(session.bundle, precision)
        benched = bench_session(session, repeats=repeats)
        agrees = all(value <= bound for value in differences.values())
        return {
            "bundle": path,
            "precision": precision,
            "passed": verified.passed and agrees,
            "build": json.loads(built.getvalue().splitlines()[-1])["graphs"],
            "verify": verified.to_json(),
            "onnxruntime_differences": differences,
            "onnxruntime_tolerance": bound,
            "bench": benched.to_json(),
        }


def _here(bundle: Bundle, precision: str) -> dict[str, Any]:
    try:
        with by_onnxruntime(bundle, precision) as session:
            return predictions_of(session)
    except EdgeMsaError:
        return {}


def _differences(found: dict[str, Any], wanted: dict[str, Any]) -> dict[str, float]:
    return {name: float(np.abs(np.asarray(found[name]) - np.asarray(wanted[name])).max()) for name in found}


def _line(result: dict[str, Any]) -> str:
    if "build" not in result:
        return f"{result['bundle']} {result['precision']}: not built, exit code {result['build_exit_code']}"
    worst = max(check["difference"] for check in result["verify"]["checks"])
    against = ", ".join(f"{name} {value:.1e}" for name, value in result["onnxruntime_differences"].items())
    p50s = ", ".join(f"{row['subset']} {row['p50']:.3f}" for row in result["bench"]["latencies"])
    seconds = sum(graph["seconds"] for graph in result["build"])
    return (
        f"{result['bundle']} {result['precision']}: {'agrees' if result['passed'] else 'DIFFERS'}; "
        f"{len(result['build'])} graphs built in {seconds:.0f} s; worst golden {worst:.1e}; "
        f"from onnxruntime: {against or 'not compared'} (allowed {result['onnxruntime_tolerance']:.1e}); p50 ms: {p50s}"
    )


def main(arguments: list[str] | None = None) -> int:
    """Run; returns the exit code."""
    parser = argparse.ArgumentParser(description="Check bundles with TensorRT on a GPU.")
    parser.add_argument("what", choices=("record", "check"))
    parser.add_argument("bundles", nargs="+", metavar="BUNDLE")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE.json")
    parser.add_argument("--predictions", type=Path, metavar="FILE.json", help="what record wrote")
    parser.add_argument("--best-of", type=int, default=1, metavar="K")
    parser.add_argument("--repeats", type=int, default=500, metavar="N")
    options = parser.parse_args(arguments)
    if options.what == "record":
        options.out.write_text(json.dumps(record(options.bundles)), encoding="utf-8")
        return 0
    try:
        missing = missing_names()
        print(f"names that the runtime calls: {'missing ' + ', '.join(missing) if missing else 'all there'}")
        backend = open_backend(BACKEND)
    except (ImportError, EdgeMsaError) as error:
        print(f"error: nothing can be checked here: {error}", file=sys.stderr)
        return 4
    known = json.loads(options.predictions.read_text(encoding="utf-8")) if options.predictions else {}
    results = []
    for path in options.bundles:
        for precision in open_bundle(path).precisions(BACKEND):
            results.append(check(path, precision, known, options.best_of, options.repeats))
            print(_line(results[-1]), flush=True)
    machine = {"tensorrt": backend.version, "device": backend.device, "python": platform.python_version()}
    options.out.write_text(json.dumps({**machine, "results": results}, indent=1), encoding="utf-8")
    return 0 if all(result["passed"] for result in results) and not missing else 3


if __name__ == "__main__":
    sys.exit(main())
