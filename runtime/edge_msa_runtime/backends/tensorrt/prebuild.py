"""Build all TensorRT plans of a bundle ahead of time, as `edge-msa-run build` does."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Iterator, Mapping, Sequence

from edge_msa_runtime.backends.base import BackendOptions
from edge_msa_runtime.backends.tensorrt.backend import TensorRTBackend
from edge_msa_runtime.backends.tensorrt.layer_precisions import int8_remark
from edge_msa_runtime.bundle.manifest import GraphKey
from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.modalities import Subset, subsets_of

if TYPE_CHECKING:
    from edge_msa_runtime.backends.tensorrt.plan_cache import BuildInfo
    from edge_msa_runtime.bundle.loader import Bundle
    from edge_msa_runtime.bundle.manifest import GraphSpec, Role

_BACKEND = TensorRTBackend.name
_ALL = "all"


@dataclasses.dataclass(frozen=True)
class BuildOptions:
    """What to build and how.

    Attributes:
        precision: `fp32`, `fp16`, `int8`, or `all` precisions of the bundle. None: the bundle's default.
        subset: build only the graphs of this subset. None: all graphs.
        workspace_mib: memory that a layer may use, in MiB. None: half of the free memory, at most 1024 MiB.
        best_of: number of plans to build per graph. The fastest one is cached.
        device: `GPU` or `GPU:1`; empty for the first GPU.
    """

    precision: str | None = None
    subset: str | None = None
    workspace_mib: int | None = None
    best_of: int = 1
    device: str = ""

    def __post_init__(self) -> None:
        if self.best_of < 1:
            raise UsageError(f"--best-of must be at least 1, got {self.best_of}.")
        if self.workspace_mib is not None and self.workspace_mib < 1:
            raise UsageError(f"--workspace must be at least 1 MiB, got {self.workspace_mib}.")


@dataclasses.dataclass(frozen=True)
class GraphBuild:
    """The plan of one graph.

    Attributes:
        number: position in the build, from 1 to `total`.
        total: number of graphs.
        role: role of the graph's key.
        modalities: modalities of the graph's key.
        length: length of the graph's key.
        precision: `fp32`, `fp16` or `int8`.
        device: device that the plan is for.
        tensorrt: version of TensorRT.
        cached: whether a plan with these options was already in the cache.
        seconds: build time of all candidates together.
        bytes: size of the plan.
        layers: number of layers by precision.
        p50_ms: median latency of each candidate; empty if there was only one.
        peak_memory_bytes: peak memory of the build process; None if the system does not report it.
        remark: remark about an int8 plan; may be empty.
    """

    number: int
    total: int
    role: Role
    modalities: tuple[str, ...]
    length: int | None
    precision: str
    device: str
    tensorrt: str
    cached: bool
    seconds: float
    bytes: int
    layers: Mapping[str, int]
    p50_ms: tuple[float, ...]
    peak_memory_bytes: int | None
    remark: str

    @property
    def key(self) -> GraphKey:
        """The key of the graph."""
        return GraphKey(self.role, self.modalities, self.length)

    def to_json(self) -> dict[str, Any]:
        """Return the build as plain JSON values."""
        return dataclasses.asdict(self)


def build_bundle(bundle: Bundle, options: BuildOptions) -> Iterator[GraphBuild]:
    """Build the plans of a bundle one by one.

    Each plan is cached before the next build starts, so an interrupted build can be resumed. A cached plan is built
    again only if it was built with another workspace than requested or with fewer candidates.

    Args:
        bundle: a verified bundle with TensorRT graphs.
        options: what to build and how.

    Raises:
        UsageError: the bundle does not have the subset or precision.
        BackendUnavailableError: TensorRT or the GPU is missing, the bundle is for another version, or a build failed.
        BuildError: a build process failed in another way.
        CacheError: the cache cannot be written.
    """
    graphs = _select_graphs(bundle, options)
    backend = TensorRTBackend(BackendOptions(device=options.device))
    backend.check_target(bundle.manifest.profile)
    for number, spec in enumerate(graphs, start=1):
        path = bundle.path / spec.file
        cached = backend.load_cached_plan(path, spec.precision)
        if cached is not None and not _satisfies(cached.build, options):
            cached = None
        plan = cached or backend.build(
            path, spec.precision, workspace_mib=options.workspace_mib, best_of=options.best_of
        )
        build = plan.build
        yield GraphBuild(
            number=number,
            total=len(graphs),
            role=spec.key.role,
            modalities=spec.key.modalities,
            length=spec.key.length,
            precision=spec.precision,
            device=backend.device,
            tensorrt=backend.version,
            cached=cached is not None,
            seconds=build.seconds,
            bytes=len(plan.content),
            layers=build.layers,
            p50_ms=build.p50_ms,
            peak_memory_bytes=build.peak_memory_bytes,
            remark=int8_remark(build.layers, build.quantized) if spec.precision == "int8" else "",
        )


def has_tensorrt_graphs(bundle: Bundle) -> bool:
    """Return whether a bundle has any graph for TensorRT."""
    return bool(bundle.precisions(_BACKEND))


def _select_graphs(bundle: Bundle, options: BuildOptions) -> list[GraphSpec]:
    """Return the graphs that predictions of the selected subsets need, in the manifest's order."""
    if options.precision == _ALL:
        precisions: Sequence[str] = bundle.precisions(_BACKEND)
    else:
        precisions = (bundle.choose_precision(_BACKEND, options.precision),)
    available = subsets_of(bundle.manifest.modalities)
    names = [subset.value for subset in available]
    if options.subset is not None and options.subset not in names:
        raise UsageError(f"Unknown subset {options.subset!r}. Available in this bundle: {', '.join(names)}.")
    subsets = available if options.subset is None else (Subset(options.subset),)
    return [
        spec
        for spec in bundle.manifest.graphs
        if spec.backend == _BACKEND
        and spec.precision in precisions
        and any(_is_needed(spec, subset) for subset in subsets)
    ]


def _is_needed(spec: GraphSpec, subset: Subset) -> bool:
    if spec.key.role == "window":
        return spec.key.subset is subset
    return spec.key.role == "fuse" or spec.key.modalities[0] in subset.modalities


def _satisfies(build: BuildInfo, options: BuildOptions) -> bool:
    same_workspace = options.workspace_mib in (None, build.workspace_mib)
    return same_workspace and options.best_of <= build.best_of
