"""`edge-msa-run build`: TensorRT's plans of all graphs that prediction needs, built ahead of time on the device."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Iterator, Sequence, cast

from edge_msa_runtime.backends import BackendOptions, open_backend
from edge_msa_runtime.backends.tensorrt.layer_precisions import int8_remark
from edge_msa_runtime.bundle.manifest import GraphKey
from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.modalities import Subset, subsets_of
from edge_msa_runtime.session import choose_precision

if TYPE_CHECKING:
    from edge_msa_runtime.backends.tensorrt.backend import TensorRTBackend
    from edge_msa_runtime.backends.tensorrt.plan_cache import CachedPlan
    from edge_msa_runtime.bundle.manifest import GraphSpec, Role
    from edge_msa_runtime.bundle.reader import Bundle

_BACKEND = "tensorrt"
_ALL = "all"
_MEGABYTE = 1e6


@dataclasses.dataclass(frozen=True)
class BuildOptions:
    """What to build and how.

    `precision`: `fp32`, `fp16`, `int8`, `all` that the bundle has, or None for the bundle's choice. `subset`: one
    subset's graphs; None for all. `workspace_mib`: what a layer may use; None: half of what is free, 1024 at most.
    `best_of`: how many plans of each graph to build; the fastest is kept. `device`: `GPU`, `GPU:1`.
    """

    precision: str | None = None
    subset: str | None = None
    workspace_mib: int | None = None
    best_of: int = 1
    device: str = ""

    def __post_init__(self) -> None:
        if self.best_of < 1:
            raise UsageError(f"--best-of is {self.best_of}; give at least 1")
        if self.workspace_mib is not None and self.workspace_mib < 1:
            raise UsageError(f"--workspace is {self.workspace_mib} MiB; give at least 1")


@dataclasses.dataclass(frozen=True)
class GraphBuild:
    """One graph's plan, `number` of `total`.

    `kept`: it was in the cache, built as asked for. `seconds` of all its builds together; `bytes` of the plan;
    `layers` by the precision that they read; `p50_milliseconds` of each candidate where several were built; `remark`:
    what is baseline check knowing of an int8 plan, or empty.
    """

    number: int
    total: int
    role: Role
    modalities: tuple[str, ...]
    length: int | None
    precision: str
    device: str
    tensorrt: str
    kept: bool
    seconds: float
    bytes: int
    layers: dict[str, int]
    p50_milliseconds: tuple[float, ...]
    peak_memory_bytes: int | None
    remark: str

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dataclasses.asdict(self)

    def line(self) -> str:
        """What people are shown."""
        state = "in the cache, " if self.kept else ""
        layers = ", ".join(f"{name} {count}" for name, count in self.layers.items() if count)
        name = str(GraphKey(self.role, self.modalities, self.length))
        place = f"{self.number}/{self.total}"
        best = ""
        if self.p50_milliseconds:
            each = " ".join(f"{value:.3f}" for value in self.p50_milliseconds)
            best = f"; p50 of {len(self.p50_milliseconds)}: {each} ms, the least is kept"
        remark = f"\n  {self.remark}" if self.remark else ""
        size = f"{self.bytes / _MEGABYTE:.2f} MB"
        return (
            f"{place:6}{name:15}{self.precision:5} {state}built in {self.seconds:.1f} s, {size}, "
            f"layers: {layers or 'not told'}{best}{remark}"
        )


def build_bundle(bundle: Bundle, options: BuildOptions) -> Iterator[GraphBuild]:
    """Build the plans of a bundle one by one; each is kept before the next begins, so an interrupted build goes on.

    A plan that is in the cache and was built with the same workspace and at least as many candidates stays.

    Args:
        bundle: a verified bundle that has graphs for TensorRT.
        options: what to build and how.

    Raises:
        UsageError: there is no such subset or precision.
        BackendUnavailableError: TensorRT or the GPU is missing, the bundle is for another version, or a build failed.
        CacheError: the cache cannot be written.
    """
    wanted = _graphs(bundle, options)
    backend = cast("TensorRTBackend", open_backend(_BACKEND, BackendOptions(device=options.device)))
    backend.check_target(bundle.manifest.profile)
    for number, spec in enumerate(wanted, start=1):
        path = bundle.path / spec.file
        found = backend.kept(path, spec.precision)
        kept = found.plan is not None and _as_asked(found, options)
        if not kept:
            found = backend.build(path, spec.precision, workspace_mib=options.workspace_mib, best_of=options.best_of)
        yield _told(backend, spec, found, place=(number, len(wanted)), kept=kept)


def has_graphs(bundle: Bundle) -> bool:
    """Whether there is anything to build."""
    return bool(bundle.precisions(_BACKEND))


def _graphs(bundle: Bundle, options: BuildOptions) -> list[GraphSpec]:
    """The graphs that prediction the subsets needs, in the manifest's order."""
    if options.precision == _ALL:
        precisions: Sequence[str] = bundle.precisions(_BACKEND)
    else:
        precisions = (choose_precision(bundle, _BACKEND, options.precision),)
    there = subsets_of(bundle.manifest.modalities)
    names = [subset.value for subset in there]
    if options.subset is not None and options.subset not in names:
        raise UsageError(f"unknown subset {options.subset!r}; this bundle reads {', '.join(names)}")
    subsets = there if options.subset is None else (Subset(options.subset),)
    return [
        spec
        for spec in bundle.manifest.graphs
        if spec.backend == _BACKEND and spec.precision in precisions and any(_serves(spec, each) for each in subsets)
    ]


def _serves(spec: GraphSpec, subset: Subset) -> bool:
    if spec.key.role == "window":
        return spec.key.subset is subset
    return spec.key.role == "fuse" or spec.key.modalities[0] in subset.modalities


def _as_asked(found: CachedPlan, options: BuildOptions) -> bool:
    same = options.workspace_mib in (None, found.built.get("workspace_mib"))
    return same and options.best_of <= int(found.built.get("best_of", 1))


def _told(
    backend: TensorRTBackend, spec: GraphSpec, found: CachedPlan, *, place: tuple[int, int], kept: bool
) -> GraphBuild:
    built = found.built
    layers = dict(built.get("layers", {}))
    remark = int8_remark(layers, int(built.get("quantized", 0))) if spec.precision == "int8" else ""
    return GraphBuild(
        number=place[0],
        total=place[1],
        role=spec.key.role,
        modalities=spec.key.modalities,
        length=spec.key.length,
        precision=spec.precision,
        device=backend.device,
        tensorrt=backend.version,
        kept=kept,
        seconds=float(built.get("seconds", 0)),
        bytes=len(found.plan or b""),
        layers=layers,
        p50_milliseconds=tuple(built.get("p50_milliseconds", ())),
        peak_memory_bytes=built.get("peak_memory_bytes"),
        remark=remark,
    )
