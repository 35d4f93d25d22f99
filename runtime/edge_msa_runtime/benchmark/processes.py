"""Benchmark of sessions in fresh processes, each of which runs only one session.

In each round, every session gets a new process. The processes are measured interleaved, in blocks of 20 predictions, so
that a change of the clocks affects all of them equally. Their order changes from block to block and from round to
round. A process that waits for its block sleeps. Processes are pinned to the same cores where the system allows it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import math
import subprocess
import tempfile
import threading
import time
from typing import IO, Any, Callable, Iterator, Mapping, Sequence, cast

from edge_msa_runtime.benchmark.bench import BenchResult, ComparedWith, Latency, check_rate
from edge_msa_runtime.benchmark.cores import choose_cores, pinned
from edge_msa_runtime.benchmark.energy import SECONDS, Energy, EnergySample, Sensor, open_sensor, summarize_energy
from edge_msa_runtime.benchmark.latency_statistics import (
    CANNOT_TELL,
    MIN_PROCESSES,
    Comparison,
    Measured,
    compare,
    count_outliers,
    find_distribution,
    spread_of,
    summarize,
)
from edge_msa_runtime.benchmark.noise import machine_noise, measure_state, sample_noise
from edge_msa_runtime.child_process import child_command
from edge_msa_runtime.errors import BackendUnavailableError, EdgeMsaError, UsageError
from edge_msa_runtime.timing import BLOCK_SIZE, BLOCK_WARMUP

LOOKS = 2
"""How often a comparison is made, with more processes each time, before it says that it cannot tell."""
_TIMEOUT_SECONDS = 600
_MEBIBYTE = 2**20
MAX_PROCESSES = 100


@dataclasses.dataclass(frozen=True)
class Job:
    """A session to measure.

    Attributes:
        bundle: folder of the bundle.
        options: arguments of `load` after the bundle, by name.
        slowdown: share of its time by which each prediction is slowed down, to check that this is found.
    """

    bundle: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    slowdown: float = 0.0

    @property
    def title(self) -> str:
        """The bundle, the backend and the precision."""
        parts = [self.options.get("backend") or "", self.options.get("precision") or ""]
        return f"{self.bundle} with {' '.join(filter(None, parts)) or 'its default backend'}"


@dataclasses.dataclass(frozen=True)
class Plan:
    """How jobs are measured.

    Attributes:
        processes: fresh processes of each job, 1 to 100. Intervals need at least 2, and should have 5.
        repeats: timed predictions of each subset in all processes together. Each process makes the same number.
        warmup: predictions in one window of the warm-up, which ends when three windows do not differ, or after ten; 0
            for no warm-up.
        subsets: names of the subsets to measure; None for all of each bundle.
        text: language input that replaces the golden one.
        rate: predictions per second. None: each prediction starts when the previous one has ended.
        looks: largest number of times that a comparison is made. Before each, the number of processes is added to the
            jobs whose comparison is still open.
        energy: whether to measure energy, if there is a sensor.
    """

    processes: int = MIN_PROCESSES
    repeats: int = 1000
    warmup: int = BLOCK_SIZE
    subsets: tuple[str, ...] | None = None
    text: str | None = None
    rate: float | None = None
    looks: int = LOOKS
    energy: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.processes <= MAX_PROCESSES:
            raise UsageError(f"processes must be between 1 and {MAX_PROCESSES}, got {self.processes}.")
        if self.repeats < 1:
            raise UsageError(f"repeats must be at least 1, got {self.repeats}.")
        if self.warmup < 0:
            raise UsageError(f"warmup must be at least 0, got {self.warmup}.")
        check_rate(self.rate)

    @property
    def repeats_per_process(self) -> int:
        """Timed predictions of each subset in one process."""
        return math.ceil(self.repeats / self.processes)


@dataclasses.dataclass
class Measurement:
    """What was measured of a job so far.

    Attributes:
        job: the job.
        described: what its first process says about its session.
        samples: latencies in milliseconds by subset, one list per process.
        warmups: number of predictions of each warm-up and whether the latency was then steady, by subset.
        times: `load_ms`, `start_ms`, `peak` and `steady` memory in bytes, one value per process that has it.
        energy: energy of the subset with the most modalities, one sample per process.
    """

    job: Job
    described: dict[str, Any] = dataclasses.field(default_factory=dict)
    samples: dict[str, list[list[float]]] = dataclasses.field(default_factory=dict)
    warmups: dict[str, list[tuple[int, bool | None]]] = dataclasses.field(default_factory=dict)
    times: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    energy: list[EnergySample] = dataclasses.field(default_factory=list)

    @property
    def largest_subset(self) -> str:
        """The measured subset with the most modalities."""
        return list(self.samples)[-1]


def bench_processes(
    jobs: Sequence[Job],
    plan: Plan = Plan(),
    *,
    on_unavailable: Callable[[Job, BackendUnavailableError], None] | None = None,
    on_round: Callable[[int, int], None] | None = None,
) -> tuple[BenchResult, ...]:
    """Measure jobs in fresh processes, and compare them.

    Each job is compared with fp32 on the same backend of its bundle, and with the first bundle at the same backend and
    precision; fp32 is compared with the first job. The comparisons are those of the subset with the most modalities.

    Args:
        jobs: the sessions to measure.
        plan: how.
        on_unavailable: called for a job whose backend cannot be used here; the job is then left out. None: raise.
        on_round: called before each round with its number, from 0, and the number of planned rounds.

    Returns:
        One result per job that could be measured, in their order.

    Raises:
        UsageError: no jobs, or a session cannot predict what is asked.
        BackendUnavailableError: a backend cannot be used.
        EdgeMsaError: a process failed.
    """
    if not jobs:
        raise UsageError("At least one bundle is needed, got none.")
    before = measure_state()
    cores = choose_cores(max(int(job.options.get("threads", 1)) for job in jobs))
    sensor, reason = open_sensor() if plan.energy else (None, "")
    measurements = [Measurement(job) for job in jobs]
    for number in range(plan.processes):
        if on_round is not None:
            on_round(number, plan.processes)
        failed = _measure_round(measurements, plan, number, cores, sensor, None if number else on_unavailable)
        measurements = [item for item in measurements if item not in failed]
    looks = 1 if plan.rate is not None or plan.processes == 1 else plan.looks
    pairs = _pairs(measurements)
    for look in range(1, looks):
        open_pairs = [pair for pair in pairs if _compare(*pair, looks).verdict == CANNOT_TELL]
        members = [item for item in measurements if any(item is one for pair in open_pairs for one in pair)]
        if not members:
            break
        largest = dataclasses.replace(plan, subsets=(members[0].largest_subset,))
        for number in range(look * plan.processes, (look + 1) * plan.processes):
            if on_round is not None:
                on_round(number, (look + 1) * plan.processes)
            _measure_round(members, largest, number, cores, None, None)
    after = measure_state()
    noise = machine_noise(before, after)
    energies = [_energy(item, sensor, reason, plan) for item in measurements]
    results = [
        dataclasses.replace(_result(item, plan, cores), energy=energy, before=before.conditions, after=after.conditions)
        for item, energy in zip(measurements, energies)
    ]
    return tuple(
        dataclasses.replace(
            result,
            noise=(*noise, *result.noise),
            comparisons=tuple(
                ComparedWith(
                    bundle=other.bundle,
                    backend=other.backend,
                    precision=other.precision,
                    subset=item.largest_subset,
                    **vars(_compare(item, base, looks)),
                )
                for first, base in pairs
                if first is item
                for other in [results[_index(measurements, base)]]
            ),
        )
        for item, result in zip(measurements, results)
    )


def _index(items: Sequence[object], wanted: object) -> int:
    return next(index for index, item in enumerate(items) if item is wanted)


def _measure_round(
    measurements: Sequence[Measurement],
    plan: Plan,
    number: int,
    cores: tuple[int, ...],
    sensor: Sensor | None,
    on_unavailable: Callable[[Job, BackendUnavailableError], None] | None,
) -> list[Measurement]:
    """Measure all jobs in one fresh process each. Return those whose backend cannot be used."""
    with contextlib.ExitStack() as stack:
        workers, failed = _start_workers(stack, measurements, plan, number, cores, on_unavailable)
        subsets = {subset: None for _, worker in workers for subset in worker.described["inputs"]}
        for subset in subsets:
            able = [(item, worker) for item, worker in workers if subset in worker.described["inputs"]]
            for item, worker in able:
                answer = worker.ask("warm_up", subset=subset, window=plan.warmup)
                item.warmups.setdefault(subset, []).append((answer["count"], answer["steady"]))
                item.samples.setdefault(subset, []).append([])
            _time_blocks(able, subset, plan)
        if sensor is not None:
            _measure_energy(workers, sensor)
        for item, worker in workers:
            for name, size in worker.ask("memory").items():
                if size is not None:
                    item.times.setdefault(name, []).append(size / _MEBIBYTE)
    return failed


def _start_workers(
    stack: contextlib.ExitStack,
    measurements: Sequence[Measurement],
    plan: Plan,
    number: int,
    cores: tuple[int, ...],
    on_unavailable: Callable[[Job, BackendUnavailableError], None] | None,
) -> tuple[list[tuple[Measurement, WorkerProcess]], list[Measurement]]:
    """Start one process per job, and return them, and the jobs whose backend cannot be used."""
    workers, failed = [], []
    reasons: dict[str, None] = {}
    # Rotating the order lets each job be the first one to start, once in as many rounds as there are jobs.
    shift = number % len(measurements)
    for item in (*measurements[shift:], *measurements[:shift]):
        try:
            worker = stack.enter_context(start_worker(item.job, plan, cores))
            if number == 0 and worker.described["session"]["backend"] == "tensorrt":
                # The first process may have built the plans. Only later ones show the time to load them.
                worker = stack.enter_context(start_worker(item.job, plan, cores))
        except BackendUnavailableError as error:
            if on_unavailable is None:
                raise
            on_unavailable(item.job, error)
            reasons[str(error)] = None
            failed.append(item)
            continue
        item.described = item.described or worker.described
        for name in ("load_ms", "start_ms"):
            item.times.setdefault(name, []).append(worker.described[name])
        workers.append((item, worker))
    if not workers:
        raise BackendUnavailableError(" | ".join(reasons))
    return workers, failed


def _time_blocks(workers: Sequence[tuple[Measurement, WorkerProcess]], subset: str, plan: Plan) -> None:
    """Time all predictions of a subset in one round, in blocks whose order is reversed each time."""
    count = plan.repeats_per_process
    size = BLOCK_SIZE if plan.rate is None else count
    warmup = BLOCK_WARMUP if len(workers) > 1 else 0
    for block, first in enumerate(range(0, count, size)):
        for item, worker in workers if block % 2 == 0 else reversed(workers):
            answer = worker.ask("time", subset=subset, count=min(size, count - first), warmup=warmup, rate=plan.rate)
            item.samples[subset][-1].extend(answer["ms"])


def _measure_energy(workers: Sequence[tuple[Measurement, WorkerProcess]], sensor: Sensor) -> None:
    idle_joules, idle_seconds = sensor.measure(lambda: _sleep(SECONDS))
    for item, worker in workers:
        run = functools.partial(worker.ask, "run", subset=item.largest_subset, seconds=SECONDS)
        joules, answer = sensor.measure(run)
        item.energy.append(EnergySample(idle_joules / idle_seconds, joules, answer["seconds"], answer["count"]))


def _sleep(seconds: float) -> float:
    started = time.perf_counter()
    time.sleep(seconds)
    return time.perf_counter() - started


def _pairs(measurements: Sequence[Measurement]) -> list[tuple[Measurement, Measurement]]:
    """Return each job with those that it is compared with."""
    pairs = []
    for item in measurements:
        same_bundle = [other for other in measurements if other.job.bundle == item.job.bundle]
        fp32 = next((other for other in same_bundle if _key(other) == (_key(item)[0], "fp32")), None)
        same_key = next((other for other in measurements if _key(other) == _key(item)), item)
        bases = [fp32, same_key]
        if fp32 is item and same_key is item:
            bases = [measurements[0]]
        unique = {id(base): base for base in bases if base is not None and base is not item}
        # Only jobs with the same subsets and slower than nothing can be compared.
        pairs += [(item, base) for base in unique.values() if base.largest_subset == item.largest_subset]
    return pairs


def _key(item: Measurement) -> tuple[str, str]:
    session = item.described["session"]
    return session["backend"], session["precision"]


def _compare(first: Measurement, second: Measurement, looks: int) -> Comparison:
    subset = first.largest_subset
    ours, others = first.samples[subset], second.samples[subset]
    count = min(len(ours), len(others))  # one of them may have been measured longer, because of another comparison
    return compare(ours[:count], others[:count], looks)


def _energy(item: Measurement, sensor: Sensor | None, reason: str, plan: Plan) -> Energy | None:
    if not plan.energy:
        return None
    if sensor is None or not item.energy:
        return Energy(subset="", note=reason)
    return summarize_energy(item.largest_subset, sensor, item.energy, item.described["session"]["device"])


def _result(item: Measurement, plan: Plan, cores: tuple[int, ...]) -> BenchResult:
    described = item.described
    latencies: list[Latency] = []
    noise: list[str] = []
    for subset, samples in item.samples.items():
        steady = [is_steady for _, is_steady in item.warmups[subset]]
        latency = Latency(
            subset=subset,
            **described["inputs"][subset],
            predictions=sum(map(len, samples)),
            latency_ms=summarize(samples),
            distribution_ms=tuple(find_distribution(samples)),
            outliers=count_outliers(samples),
            warmup=max(count for count, _ in item.warmups[subset]),
            steady=None if plan.warmup == 0 else all(steady),
        )
        latencies.append(latency)
        noise += sample_noise(latency, samples)
    build = described["build_ms"]
    pin = {"cores": " ".join(map(str, cores))} if cores else {}
    return BenchResult(
        **described["session"],
        latencies=tuple(latencies),
        processes=max(map(len, item.samples.values())),
        load_ms=spread_of(item.times["load_ms"]),
        start_ms=spread_of(item.times["start_ms"]),
        build_ms=None if build is None else Measured(build),
        peak_memory_mib=spread_of(item.times.get("peak", [])),
        steady_memory_mib=spread_of(item.times.get("steady", [])),
        noise=tuple(noise),
        notes=tuple(described["notes"]),
        rate_hz=plan.rate,
        machine={**described["machine"], **pin},
    )


class WorkerProcess:
    """A process that runs `worker`.

    Args:
        job: what it runs.
        process: the process, with pipes to its stdin and from its stdout.
        errors: file that its stderr goes to.
    """

    def __init__(self, job: Job, process: subprocess.Popen[bytes], errors: IO[bytes]) -> None:
        self._job, self._process, self._errors = job, process, errors
        self.described: dict[str, Any] = {}
        """The first answer: what does not depend on the measurement."""

    def ask(self, action: str, **arguments: Any) -> dict[str, Any]:
        """Send a request, and return the answer.

        Raises:
            EdgeMsaError: the process failed, ended, or needs more than 600 s.
        """
        return self.send({"action": action, **arguments})

    def send(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Send a line, and return the answer. Raises the errors of `ask`."""
        late = threading.Event()

        def end() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(_TIMEOUT_SECONDS, end)
        timer.daemon = True
        timer.start()
        try:
            # A broken pipe means that the process has ended. Its last words are in the answer or on stderr.
            with contextlib.suppress(BrokenPipeError):
                stdin = cast("IO[bytes]", self._process.stdin)
                stdin.write(json.dumps(request).encode("utf-8") + b"\n")
                stdin.flush()
            line = cast("IO[bytes]", self._process.stdout).readline()
        finally:
            timer.cancel()
        if late.is_set():
            raise EdgeMsaError(
                f"Measuring {self._job.title} took longer than {_TIMEOUT_SECONDS} s. Free the machine and try again."
            )
        if not line:
            code = self._process.wait()
            self._errors.seek(0)
            lines = self._errors.read().decode("utf-8", "replace").split("\n")
            last = next((text.strip() for text in reversed(lines) if text.strip()), "no output")
            raise EdgeMsaError(f"The process that measures {self._job.title} ended with code {code}: {last}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            kinds = {kind.exit_code: kind for kind in (EdgeMsaError, UsageError, BackendUnavailableError)}
            raise kinds.get(answer["exit_code"], EdgeMsaError)(answer["error"])
        return answer


@contextlib.contextmanager
def start_worker(job: Job, plan: Plan, cores: tuple[int, ...]) -> Iterator[WorkerProcess]:
    """Start a process that has loaded the session of a job when this returns, and end it at the end.

    Raises:
        EdgeMsaError: the errors of `load`, or the process failed.
    """
    # The threads of a GPU's driver must not all run on the core of the predictions.
    pin = pinned(() if job.options.get("backend") == "tensorrt" else cores)
    with tempfile.TemporaryFile() as errors:
        started = time.time()
        with pin:
            process = subprocess.Popen(
                child_command("edge_msa_runtime.benchmark.worker"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        worker = WorkerProcess(job, process, errors)
        try:
            worker.described = worker.send(
                {
                    "session": {"bundle": job.bundle, **job.options},
                    "subsets": plan.subsets,
                    "text": plan.text,
                    "slowdown": job.slowdown,
                    "started": started,
                }
            )
            yield worker
        finally:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(BrokenPipeError):
                    cast("IO[bytes]", pipe).close()
