"""Measure bundles on a device over ssh.

The bundle is copied to the device, verified and measured there. Everything happens in one temporary folder, which is
removed at the end: it contains the files that the bundle's manifest lists, the wheel of this machine's runtime, a new
virtual environment with that wheel, NumPy and the backends that pip provides, and the cache of TensorRT engines.
Nothing else on the device is installed or changed. On a Jetson, TensorRT is part of JetPack, so the environment of a
bundle with TensorRT also includes the packages of the system. Elsewhere pip installs it.

No code of the bundle runs: the wheel in a bundle from somebody else could contain anything.
"""

from __future__ import annotations

import json
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_msa.benchmark.machine import ANY_ARCHITECTURE, normalize_architecture
from edge_msa.benchmark.records import BenchRecord, bench_record
from edge_msa.benchmark.ssh import RemoteError, SshHost, copy_files, temporary_folder
from edge_msa.console import print_note, print_notes, print_progress
from edge_msa.errors import BackendUnavailableError, EdgeMsaError, UsageError
from edge_msa_export.bundle.wheel import write_runtime_wheel
from edge_msa_runtime.backend_info import PIP_BACKENDS, tensorrt_requirement
from edge_msa_runtime.backends import check_backend_name
from edge_msa_runtime.benchmark.processes import Plan
from edge_msa_runtime.bundle.hashing import file_sha256
from edge_msa_runtime.bundle.loader import Bundle, open_bundle
from edge_msa_runtime.bundle.manifest import DIGEST_NAME, MANIFEST_NAME
from edge_msa_runtime.modalities import subsets_of

_INSTALLING = "installing the backends (use --offline if the device has no network)"
# TensorRT needs the cuda-python of the CUDA version that JetPack has.
_CUDA_PYTHON = (
    "from edge_msa_runtime.doctor.nvidia_checks import cuda_python_requirement;"
    "from edge_msa_runtime.system import System;"
    "print(cuda_python_requirement(System()))"
)
_OLDEST_PYTHON = (3, 8)
# Valid in every version of Python, also in 2.7.
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
class RemoteConfig:
    """A device to measure on, and how."""

    host: SshHost
    keep: bool = False
    """Keep the temporary folder on the device."""
    offline: bool = False
    """Install nothing: use the Python interpreter of the device and its packages."""


def remote_config(
    address: str | None, options: Sequence[str], python: str, *, keep: bool, offline: bool
) -> RemoteConfig | None:
    """Return the configuration that the command-line options describe, or None without an address.

    Raises:
        UsageError: An option needs an address, and `address` is None.
    """
    if address is not None:
        return RemoteConfig(SshHost(address, tuple(options), python), keep, offline)
    if options or keep or offline or python != "python3":
        raise UsageError("--ssh-option, --python, --keep and --offline need --host user@device.")
    return None


@dataclass(frozen=True)
class _RemoteRuntime:
    """The runtime on a device. `command` runs `edge-msa-run` there; arguments are appended to it."""

    host: SshHost
    bundle: str
    command: str

    def run(self, subcommand: str, options: str, action: str) -> Any:
        """Run a sub-command of edge-msa-run on the bundle and return its JSON output."""
        output = self.host.run(f"{self.command} {subcommand} {shlex.quote(self.bundle)} {options} --json", action)
        try:
            return json.loads(output.splitlines()[-1])
        except (IndexError, ValueError):
            raise EdgeMsaError(f"{self.host.address} returned no result while {action}: {output[-200:]!r}.") from None


def bench_on_host(
    bundle: Path,
    remote: RemoteConfig,
    *,
    backend: str = "auto",
    threads: int = 1,
    plan: Plan,
) -> list[BenchRecord]:
    """Measure a bundle on a device: every precision of each available backend, in fresh processes, interleaved.

    Args:
        bundle: Folder of the bundle on this machine.
        remote: The device.
        backend: A name, or `auto` for all backends that the bundle has and the device can run.
        threads: CPU threads of one prediction.
        plan: Numbers of processes and predictions, and the rate.

    Returns:
        One record per backend and precision.

    Raises:
        UsageError: The bundle does not have that backend.
        BackendUnavailableError: The device cannot be reached, or cannot run the bundle.
        RemoteError: The golden predictions are not reproduced (exit code 3), or a command failed.
        EdgeMsaError: The device is full.
    """
    host, local_bundle = remote.host, open_bundle(bundle)
    print_notes(local_bundle.notes)
    manifest = local_bundle.manifest
    if backend != "auto":
        check_backend_name(backend)
        if backend not in manifest.backends:
            raise UsageError(f"{bundle} has no backend {backend!r}. Available: {', '.join(manifest.backends)}.")
    description = probe_host(remote, manifest.profile)
    print_progress(f"{host.address}: {description}. Copying {manifest.name}.")
    with temporary_folder(host, keep=remote.keep) as folder:
        listed = (MANIFEST_NAME, DIGEST_NAME, *manifest.files)
        copy_files(host, local_bundle.path, listed, f"{folder}/bundle", "copying the bundle")
        runtime = _install_runtime(remote, folder, local_bundle, backend)
        _print_problems(runtime)
        options = f"--backend {backend} --threads {threads}"
        for check in runtime.run("verify", f"{options} --all", "verifying the bundle"):
            difference = f"{check['largest_difference']:.2e}"
            print_progress(f"Verified {check['backend']} {check['precision']}: largest difference {difference}.")
        numbers = f"--processes {plan.processes} --repeats {plan.repeats} --warmup {plan.warmup}"
        rate = "" if plan.rate is None else f" --rate {plan.rate}"
        results = runtime.run("bench", f"{options} --all {numbers}{rate}", "measuring latency")
        note = f"measured on {host.address}"
        return [bench_record(local_bundle, result, {}, on_target=True, note=note) for result in results]


def p50_on_host(bundle: Path, remote: RemoteConfig) -> dict[tuple[str, str], tuple[float, ...]]:
    """Return the p50 of the largest modality subset on a device, in milliseconds, by backend and precision.

    The tuples hold one value: the device is measured in one round. Raises the errors of `bench_on_host`.
    """
    largest = subsets_of(open_bundle(bundle).manifest.modalities)[-1].value
    return {
        (record.backend, record.precision): (record.latency_values()[largest]["p50"],)
        for record in bench_on_host(bundle, remote, plan=Plan(subsets=None))
    }


def probe_host(remote: RemoteConfig, profile: Mapping[str, Any]) -> str:
    """Check that a device can run bundles for a profile, and return its architecture and Python version.

    Raises:
        BackendUnavailableError: The device cannot be reached, or cannot run such a bundle.
    """
    host = remote.host
    try:
        output = host.run(f"{shlex.quote(host.python)} -c {shlex.quote(_PROBE)}", "checking its Python version")
        version, machine, complete = json.loads(output.splitlines()[-1])
    except RemoteError as error:
        raise BackendUnavailableError(
            f"Cannot run {host.python}: {error}. Pass another interpreter with --python."
        ) from None
    architecture, expected = normalize_architecture(machine), profile.get("architecture")
    dotted = ".".join(str(part) for part in version)
    if tuple(version) < _OLDEST_PYTHON:
        raise BackendUnavailableError(
            f"Python on {host.address} must be 3.8 or newer, got {dotted}. Pass another interpreter with --python."
        )
    if expected not in (architecture, ANY_ARCHITECTURE):
        raise BackendUnavailableError(
            f"The bundle is for {expected}, but {host.address} is {architecture}. Export a bundle for {architecture}."
        )
    if not complete and not remote.offline:
        raise BackendUnavailableError(
            f"Python {dotted} on {host.address} cannot create virtual environments. "
            "Install python3-venv there: sudo apt-get install python3-venv"
        )
    return f"{architecture}, Python {dotted}"


def _install_runtime(remote: RemoteConfig, folder: str, bundle: Bundle, backend: str) -> _RemoteRuntime:
    """Install this machine's runtime into a new environment; with `offline`, import it from its wheel instead."""
    wheel = _copy_wheel(remote, folder, bundle)
    # What backends write to TMPDIR, HOME and the cache is removed with the folder. Python still finds the packages that
    # the user of the device has installed in HOME.
    folders = {
        "EDGE_MSA_CACHE": f"{folder}/cache",
        "XDG_CACHE_HOME": f"{folder}/cache",
        "TMPDIR": folder,
        "HOME": folder,
    }
    environment = 'PYTHONUSERBASE="${PYTHONUSERBASE:-$HOME/.local}" PYTHONDONTWRITEBYTECODE=1 '
    environment += " ".join(f"{name}={shlex.quote(path)}" for name, path in folders.items())
    if remote.offline:
        environment += f' PYTHONPATH={shlex.quote(wheel)}"${{PYTHONPATH:+:$PYTHONPATH}}"'
        python = shlex.quote(remote.host.python)
    else:
        python = _create_environment(remote.host, folder, wheel, bundle, backend)
    return _RemoteRuntime(remote.host, f"{folder}/bundle", f"{environment} {python} -m edge_msa_runtime")


def _copy_wheel(remote: RemoteConfig, folder: str, bundle: Bundle) -> str:
    """Copy the wheel of this machine's runtime to the device, and return its path there."""
    with tempfile.TemporaryDirectory(prefix="edge-msa-") as scratch:
        wheel = write_runtime_wheel(Path(scratch))
        if file_sha256(wheel) not in bundle.manifest.files.values():
            verb = "uses" if remote.offline else "installs"
            print_note(
                f"The benchmark {verb} {wheel.name} of this machine. The runtime in {bundle.manifest.name} differs and "
                "is not used."
            )
        copy_files(remote.host, wheel.parent, [wheel.name], f"{folder}/runtime", "copying the runtime")
        return f"{folder}/runtime/{wheel.name}"


def _create_environment(host: SshHost, folder: str, wheel: str, bundle: Bundle, backend: str) -> str:
    """Create a virtual environment with the wheel and its backends, and return its quoted Python interpreter."""
    backends = [name for name in bundle.manifest.backends if backend in ("auto", name)]
    extras = [name for name in backends if name in PIP_BACKENDS] + (["text"] if bundle.manifest.language else [])
    tensorrt = tensorrt_requirement(bundle.manifest.profile) if "tensorrt" in backends else None
    extras += ["tensorrt"] if tensorrt else []
    python = shlex.quote(f"{folder}/venv/bin/python")
    system = " --system-site-packages" if "tensorrt" in backends else ""
    create = f"{shlex.quote(host.python)} -m venv{system} {shlex.quote(folder + '/venv')}"
    host.run(create, "creating a virtual environment (it needs 100 MB)")
    pip = f"{python} -m pip install --quiet --disable-pip-version-check --no-cache-dir --retries 1"
    host.run(f"{pip} --no-deps --no-index {shlex.quote(wheel)}", "installing the runtime")
    requirement = f"{wheel}[{','.join(extras)}]" if extras else wheel
    print_progress(f"Installing {', '.join(['numpy', *extras])} into {host.address}:{folder}/venv.")
    requirements = [requirement, *([tensorrt] if tensorrt else [])]
    host.run(f"{pip} {' '.join(map(shlex.quote, requirements))}", _INSTALLING)
    if "tensorrt" in backends and not tensorrt:
        host.run(f'{pip} "$({python} -c {shlex.quote(_CUDA_PYTHON)})"', _INSTALLING)
    return python


def _print_problems(runtime: _RemoteRuntime) -> None:
    """Print the problems that the doctor finds. The doctor fails if the device cannot run any backend of the bundle."""
    for finding in runtime.run("doctor", "", "running the doctor")["findings"]:
        if finding["status"] == "problem":
            fix = f" Suggested fix, on the device: {finding['fix']}" if finding["fix"] else ""
            print_note(f"{runtime.host.address}, {finding['topic']}: {finding['detail']}.{fix}")
