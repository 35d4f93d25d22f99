"""The study that all workers of a search share: claim a trial, store its result, requeue trials of ended workers.

The study minimizes error, latency ratio and size. The default recipe is tried first, at every precision, and no point
is tried twice. A trial whose worker ended without a result is requeued.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from edge_msa.architecture_search.lease import WorkerLease, has_expired, send_heartbeats
from edge_msa.architecture_search.space import Choices, Dimension, Params, SearchSpace, Value, params_key
from edge_msa.architecture_search.storage import convert_storage_errors, open_storage
from edge_msa.architecture_search.trials import ClaimedTrial, TrialResult
from edge_msa.errors import StorageError, UsageError

if TYPE_CHECKING:
    import optuna

STUDY_NAME = "edge-msa-search-v2"
LEASES_FOLDER = "leases"
_LEASE, _DEFAULT, _FAILURE, _DETAILS, _INPUTS = "lease", "default", "failure", "details", "inputs"
_LEASE_WAIT_SECONDS = 60.0
"""A running trial without a lease counts as abandoned after this time."""
_RANDOM_TRIALS = 10
"""Number of random trials before the sampler uses its model."""


class Study:
    """One worker's access to the trials of a search in a shared storage. A context manager."""

    def __init__(
        self, location: str, folder: Path, inputs: Mapping[str, str], space: SearchSpace, *, seed: int
    ) -> None:
        """Open the study, or create it.

        Args:
            location: The storage, as for `open_storage`.
            folder: Folder for lock files, shared by the workers of this machine.
            inputs: Digests of everything that results depend on, by name. A study with other inputs is rejected.
            space: The search space.
            seed: Seed of the sampler.

        Raises:
            StorageError: The storage is locked, damaged or unreachable.
            UsageError: The storage contains another search.
        """
        self._location, self._space, self._seed = location, space, seed
        self._running: dict[int, optuna.Trial] = {}
        self._claim_lock = FileLock(folder / ".claims.lock")
        self._lease = WorkerLease(folder / LEASES_FOLDER)
        with self._claim_lock, convert_storage_errors(location):
            self._study = self._open(inputs)

    def __enter__(self) -> Study:  # noqa: PYI034 - typing.Self needs Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self._lease.close()

    def enqueue_defaults(self, defaults: Sequence[Params]) -> None:
        """Queue the default recipe's points to be tried first, if the study is new."""
        with self._claim_lock, convert_storage_errors(self._location):
            if not self._trials():
                for params in defaults:
                    self._study.enqueue_trial(dict(params), user_attrs={_DEFAULT: dict(params)})

    def claim(self, total: int) -> ClaimedTrial | None:
        """Return the next trial for this worker, or None if `total` trials are finished or running."""
        with self._claim_lock, convert_storage_errors(self._location):
            self._requeue_abandoned()
            counted = [trial for trial in self._trials() if _counts(trial)]
            return None if len(counted) >= total else self._next_trial([trial.params for trial in counted])

    @contextmanager
    def keep_alive(self, claimed: ClaimedTrial) -> Iterator[None]:
        """Renew the lease of a running trial until the block ends."""
        trial = self._running[claimed.number]

        def renew() -> None:
            try:
                with convert_storage_errors(self._location):
                    trial.set_user_attr(_LEASE, self._lease.to_json())
            except StorageError:
                return  # The next heartbeat may succeed. Storing the result reports a permanent error.

        with send_heartbeats(renew):
            yield

    def finish(self, claimed: ClaimedTrial, result: TrialResult) -> None:
        """Store the measurements of a trial."""
        details = {"p50_ms": result.p50_ms, "student": result.student, "host": result.host}
        self._end(claimed, list(result.costs), {_DETAILS: details})

    def fail(self, claimed: ClaimedTrial, reason: str) -> None:
        """Store why a trial failed."""
        self._end(claimed, None, {_FAILURE: " ".join(reason.split())})

    def results(self) -> tuple[TrialResult, ...]:
        """Return the results of all finished trials, by number. Requeued trials are left out."""
        with convert_storage_errors(self._location):
            return tuple(_result_of(trial) for trial in self._trials() if _counts(trial) and trial.state.is_finished())

    def count_running(self) -> int:
        """Return how many trials other workers are running."""
        with convert_storage_errors(self._location):
            return sum(_counts(trial) and not trial.state.is_finished() for trial in self._trials())

    def _open(self, inputs: Mapping[str, str]) -> optuna.Study:
        import optuna

        study = optuna.create_study(
            storage=open_storage(self._location),
            study_name=STUDY_NAME,
            directions=["minimize"] * 3,
            load_if_exists=True,
        )
        stored = study.user_attrs.get(_INPUTS)
        if stored is None:
            study.set_user_attr(_INPUTS, dict(inputs))
        elif stored != dict(inputs):
            different = sorted(name for name in {*stored, *inputs} if stored.get(name) != inputs.get(name))
            raise UsageError(
                f"The storage {self._location} contains another search, which differs in: {', '.join(different)}. "
                "Pass another --storage or --output-dir."
            )
        return study

    def _trials(self) -> list[optuna.trial.FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _requeue_abandoned(self) -> None:
        for trial in self._trials():
            if _counts(trial) and not trial.state.is_finished() and _is_abandoned(trial):
                default = trial.user_attrs.get(_DEFAULT)
                self._discard(trial.number)
                self._study.enqueue_trial(default or dict(trial.params), {_DEFAULT: default} if default else None)

    def _discard(self, number: int) -> None:
        """End a trial without a failure reason, so that it does not count."""
        import optuna

        self._study.tell(number, state=optuna.trial.TrialState.FAIL, skip_if_finished=True)

    def _next_trial(self, known: Sequence[Params]) -> ClaimedTrial:
        """Return the sampler's next point, or a random new point if the sampler repeats a known one."""
        import optuna

        known_keys = {params_key(params) for params in known}
        while True:
            seed = (self._seed + 7919 * len(self._trials())) % 2**32
            self._study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=_RANDOM_TRIALS)
            trial = self._study.ask()
            trial.set_user_attr(_LEASE, self._lease.to_json())
            default = trial.user_attrs.get(_DEFAULT)
            names = default or self._space.dimensions
            params = {name: _suggest(trial, name, self._space.dimensions[name]) for name in names}
            is_known = params_key(params) in known_keys
            new = self._space.sample_new(known, random.Random(seed)) if is_known else None  # noqa: S311
            if new is None:
                self._running[trial.number] = trial
                return ClaimedTrial(trial.number, params, bool(default))
            self._discard(trial.number)
            self._study.enqueue_trial(new)

    def _end(self, claimed: ClaimedTrial, values: Sequence[float] | None, attributes: Mapping[str, Any]) -> None:
        import optuna

        state = optuna.trial.TrialState.FAIL if values is None else None
        with self._claim_lock, convert_storage_errors(self._location):
            trial = self._running.pop(claimed.number)
            (stored,) = (item for item in self._trials() if item.number == claimed.number)
            if stored.state.is_finished():
                return  # The lease expired in the meantime, and the trial was requeued.
            for name, value in attributes.items():
                trial.set_user_attr(name, value)
            self._study.tell(trial, values, state=state)


def _counts(trial: optuna.trial.FrozenTrial) -> bool:
    """Return whether a trial counts: it is neither queued nor discarded."""
    return trial.state.name in {"RUNNING", "COMPLETE"} or (trial.state.name == "FAIL" and _FAILURE in trial.user_attrs)


def _is_abandoned(trial: optuna.trial.FrozenTrial) -> bool:
    lease = trial.user_attrs.get(_LEASE)
    if lease is not None:
        return has_expired(lease)
    started = trial.datetime_start
    return started is None or time.time() - started.timestamp() > _LEASE_WAIT_SECONDS


def _result_of(trial: optuna.trial.FrozenTrial) -> TrialResult:
    is_default = bool(trial.user_attrs.get(_DEFAULT))
    if trial.state.name != "COMPLETE":
        return TrialResult(
            trial.number, dict(trial.params), is_default, failure=str(trial.user_attrs.get(_FAILURE, "unknown reason"))
        )
    error, latency_ratio, size = trial.values
    details = trial.user_attrs[_DETAILS]
    return TrialResult(trial.number, dict(trial.params), is_default, error, latency_ratio, int(size), **details)


def _suggest(trial: optuna.Trial, name: str, dimension: Dimension) -> Value:
    if isinstance(dimension, Choices):
        value = trial.suggest_categorical(name, dimension.values)
        assert value is not None  # noqa: S101 - no choice is None
        return value
    if dimension.is_integer:
        low, high, step = int(dimension.low), int(dimension.high), int(dimension.step or 1)
        return trial.suggest_int(name, low, high, step=step, log=dimension.log)
    return trial.suggest_float(name, dimension.low, dimension.high, step=dimension.step, log=dimension.log)
