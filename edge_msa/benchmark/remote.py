"""`edge-msa bench --host`: a bundle is copied to a device, verified and measured there, and nothing of it stays.

On the device everything happens in one new folder, removed at the end: the bundle, a fresh virtual environment for the
bundle's own wheel, NumPy and the backends that pip has, and the cache of built backends. Nothing else is installed or
changed there. TensorRT comes with JetPack alone: for a bundle that names it the environment sees the system's packages.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_msa.benchmark.machine import architecture_of
from edge_msa.benchmark.records import BenchRecord, record_of
from edge_msa.benchmark.ssh import Host, RemoteError, send, workplace
from edge_msa.console import remark
from edge_msa.errors import BackendUnavailableError, EdgeMsaError, UsageError
from edge_msa_runtime.backends import check_backend_name
from edge_msa_runtime.bundle.reader import Bundle, open_bundle
from edge_msa_runtime.modalities import subsets_of

_INSTALLING = "installing the backends (without a network there: --offline)"
# What TensorRT's buffers go through is pip's, of the same CUDA as JetPack's.
_CUDA_PYTHON = (
    "from edge_msa_runtime.doctor.jetson import cuda_python; from edge_msa_runtime.system import System;"
    "print(cuda_python(System()))"
)
_PIP_BACKENDS = ("onnxruntime", "openvino")
_OLDEST = (3, 8)
# Read by any Python that there may be, 2.7 too.
_PROBE = """
import json, platform, sys
try:
    import ensurepip, venv
    complete = True
except ImportError:
    complete = False
print(json.dumps([list(sys.version_info[:2]), platform.machine(), complete]))
"""


@dataclass(frozen=True)
class RemoteHost:
    """A device to measure on: `keep` the folder there; `offline`: install nothing, run by the Python that is there."""

    host: Host
    keep: bool = False
    offline: bool = False


def remote_of(
    address: str | None, options: Sequence[str], python: str, *, keep: bool, offline: bool
) -> RemoteHost | None:
    """What the options of a command name; None without an address.

    Raises:
        UsageError: there is no address, and yet something to do there.
    """
    if address is not None:
        return RemoteHost(Host(address, tuple(options), python), keep, offline)
    if options or keep or offline or python != "python3":
        raise UsageError("--ssh-option, --python, --keep and --offline are for --host user@device: give it too")
    return None


@dataclass(frozen=True)
class _There:
    """What runs on the device: `runtime` is the command line of edge-msa-run, up to its arguments."""

    host: Host
    bundle: str
    runtime: str

    def told(self, arguments: str, doing: str) -> Any:
        """The JSON that a command of edge-msa-run ends with."""
        command, _, others = arguments.partition(" ")
        said = self.host.run(f"{self.runtime} {command} {shlex.quote(self.bundle)} {others} --json", doing)
        try:
            return json.loads(said.splitlines()[-1])
        except (IndexError, ValueError):
            raise EdgeMsaError(f"{self.host.address}, while {doing}, ended without a result: {said[-200:]!r}") from None


def bench_on_host(
    bundle: Path,
    host: Host,
    *,
    backend: str = "auto",
    threads: int = 1,
    num_runs: int = 200,
    rate: float | None = None,
    keep: bool = False,
    offline: bool = False,
) -> list[BenchRecord]:
    """Measure a bundle on a device: every precision of each of its backends that is there, in one run.

    Args:
        bundle: its folder here.
        host: the device.
        backend: a name, or `auto` for all that the bundle has and the device can run.
        threads: for one prediction, on a CPU.
        num_runs: timed predictions a subset.
        rate: predictions due a second; None: one after the other.
        keep: leave the folder there.
        offline: install nothing: the wheel is read where it lies, by the host's Python and its packages.

    Returns:
        A record for each backend and precision that was measured.

    Raises:
        BackendUnavailableError: the device is not reached, or it cannot run the bundle.
        RemoteError: a golden prediction does not come back there (exit code 3), or a command failed.
        EdgeMsaError: the device is full.
    """
    opened = open_bundle(bundle)
    if backend != "auto":
        check_backend_name(backend)
        if backend not in opened.manifest.backends:
            raise UsageError(f"{bundle} is for {', '.join(opened.manifest.backends)}, not for {backend}")
    architecture = reach(host, opened.manifest.profile, offline=offline)
    remark(f"{host.address}: {architecture}, copying {opened.manifest.name}")
    with workplace(host, keep=keep) as folder:
        send(host, opened.path, f"{folder}/bundle")
        there = _installed(host, folder, opened, backend, offline=offline)
        _examine(there)
        how = f"--backend {backend} --threads {threads}"
        found = there.told(f"verify {how} --all", "verifying")
        for one in found:
            remark(f"verified {one['backend']} {one['precision']}: largest difference {one['largest_difference']:.2e}")
        pace = "" if rate is None else f" --rate {rate}"
        results = there.told(f"bench {how} --all --repeats {num_runs}{pace}", "measuring")
        note = f"measured on {host.address}"
        return [record_of(opened, one, _alone(there, one), {}, on_target=True, note=note) for one in results]


def p50_on_host(bundle: Path, remote: RemoteHost) -> dict[tuple[str, str], tuple[float, ...]]:
    """The p50 of the fullest subset there, in milliseconds, of one round; by backend and precision.

    Errors are `bench_on_host`'s.
    """
    fullest = subsets_of(open_bundle(bundle).manifest.modalities)[-1].value
    records = bench_on_host(bundle, remote.host, keep=remote.keep, offline=remote.offline)
    return {(record.backend, record.precision): (record.latency_ms[fullest]["p50"],) for record in records}


def reach(host: Host, profile: Mapping[str, Any], *, offline: bool = False) -> str:
    """The device's architecture and Python, once it is known to be able to run a bundle for that target at all.

    `offline`: by the Python that is there, with no environment of its own.

    Raises:
        BackendUnavailableError: it is not reached, or cannot run such a bundle.
    """
    try:
        said = host.run(f"{shlex.quote(host.python)} -c {shlex.quote(_PROBE)}", "asking for its Python")
        version, machine, complete = json.loads(said.splitlines()[-1])
    except RemoteError as error:
        raise BackendUnavailableError(
            f"{host.python} does not run ({error}): give the path of another with --python"
        ) from None
    wanted = profile.get("architecture")
    found = architecture_of(machine)
    shown = ".".join(str(part) for part in version)
    if tuple(version) < _OLDEST:
        raise BackendUnavailableError(
            f"{host.address} has Python {shown}, the runtime needs 3.8: give another with --python"
        )
    if found != wanted:
        raise BackendUnavailableError(
            f"the bundle is for {wanted}, {host.address} is {found}: edge-msa export --target for that"
        )
    if not complete and not offline:
        raise BackendUnavailableError(
            f"Python {shown} of {host.address} makes no virtual environments: sudo apt-get install python3-venv"
        )
    return f"{found}, Python {shown}"


def _installed(host: Host, folder: str, bundle: Bundle, backend: str, *, offline: bool) -> _There:
    """What runs the bundle's own wheel there: a new environment, or `offline` the Python that there is, as it is."""
    (wheel,) = (name for name in bundle.manifest.files if name.endswith(".whl"))
    place = f"{folder}/bundle/{wheel}"
    # Backends leave files of their own in TMPDIR: they go with the folder as well.
    places = f"EDGE_MSA_CACHE={shlex.quote(folder + '/cache')} TMPDIR={shlex.quote(folder)} PYTHONDONTWRITEBYTECODE=1"
    if offline:
        path = f'PYTHONPATH={shlex.quote(place)}"${{PYTHONPATH:+:$PYTHONPATH}}"'
        return _There(host, f"{folder}/bundle", f"{places} {path} {shlex.quote(host.python)} -m edge_msa_runtime")
    python = _environment(host, folder, place, bundle, backend)
    return _There(host, f"{folder}/bundle", f"{places} {python} -m edge_msa_runtime")


def _environment(host: Host, folder: str, place: str, bundle: Bundle, backend: str) -> str:
    """Make the environment, and say what goes into it; its Python."""
    names = [name for name in bundle.manifest.backends if backend in ("auto", name)]
    extras = [name for name in names if name in _PIP_BACKENDS] + (["text"] if bundle.manifest.language else [])
    python = shlex.quote(f"{folder}/venv/bin/python")
    system = " --system-site-packages" if "tensorrt" in names else ""
    make = f"{shlex.quote(host.python)} -m venv{system} {shlex.quote(folder + '/venv')}"
    host.run(make, "making an environment (which takes 100 MB: df -h there)")
    pip = f"{python} -m pip install --quiet --disable-pip-version-check --no-cache-dir --retries 1"
    host.run(f"{pip} --no-deps --no-index {shlex.quote(place)}", "installing the bundle's wheel")
    wanted = f"{place}[{','.join(extras)}]" if extras else place
    remark(f"installing numpy, {', '.join(extras)} into {host.address}:{folder}/venv where they are missing")
    host.run(f"{pip} {shlex.quote(wanted)}", _INSTALLING)
    if "tensorrt" in names:
        host.run(f'{pip} "$({python} -c {shlex.quote(_CUDA_PYTHON)})"', _INSTALLING)
    return python


def _examine(there: _There) -> None:
    """Say what the doctor finds wrong there; a device on which no backend of the bundle can run ends here."""
    for finding in there.told("doctor", "asking the doctor")["findings"]:
        if finding["state"] == "wrong":
            fix = f"; there: {finding['fix']}" if finding["fix"] else ""
            remark(f"note: {there.host.address}, {finding['topic']}: {finding['found']}{fix}")


def _alone(there: _There, result: Mapping[str, Any]) -> Mapping[str, Any]:
    """Load time and peak memory in a process of its own, without the other sessions."""
    how = f"--backend {result['backend']} --precision {result['precision']} --threads {result['threads']}"
    told: list[dict[str, Any]] = there.told(f"bench {how} --repeats 1 --warmup 0", "measuring memory")
    return told[0]
