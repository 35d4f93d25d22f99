"""The study that the processes of a search share: claiming a trial, ending it, and taking over what died.

Three things lower is better: error, latency ratio, bytes. The default recipe is tried first, at every precision, and
no two trials are of the same point. A trial whose process ended without a word is voided and tried again.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from edge_msa.errors import StorageError, UsageError
from edge_msa.search.lease import WorkerLease, has_ended, keep_heartbeat
from edge_msa.search.points import Point
from edge_msa.search.space import Between, Choices, Params, Space, Value, key_of
from edge_msa.search.storage import open_storage, storage_errors

if TYPE_CHECKING:
    import optuna

NAME = "edge-msa-search"
LEASES = "leases"
_LEASE, _DEFAULT, _REASON, _FACTS, _PARTS = "lease", "default", "reason", "facts", "search"
_BIRTH_SECONDS = 60.0
_STARTUP = 10
"""Trials drawn at random before the sampler models what it saw."""


@dataclass(frozen=True)
class Claimed:
    """A trial that this process has to make."""

    number: int
    params: Params
    default: bool


class Study:
    """A search's trials in a storage, seen by one process; a context manager."""

    def __init__(self, place: str, folder: Path, parts: Mapping[str, str], space: Space, *, seed: int) -> None:
        """Open the study, or begin it.

        Args:
            place: of the storage, as `open_storage` takes it.
            folder: of this machine; processes that share it agree by lock files in it.
            parts: what the trials depend on, by the words that a message would use; a study of others is refused.
            space: of the trials.
            seed: of the sampler.

        Raises:
            StorageError: the storage is locked, damaged or cannot be reached.
            UsageError: it holds another search.
        """
        self._place, self._space, self._seed = place, space, seed
        self._live: dict[int, optuna.Trial] = {}
        self._claims = FileLock(folder / ".claims.lock")
        self._lease = WorkerLease(folder / LEASES)
        with self._claims, storage_errors(place):
            self._study = self._opened(parts)

    def __enter__(self) -> Study:  # noqa: PYI034 - typing.Self is of 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self._lease.close()

    def enqueue_defaults(self, defaults: Sequence[Params]) -> None:
        """Have these points tried before all others, unless that was asked before."""
        with self._claims, storage_errors(self._place):
            if not self._all():
                for params in defaults:
                    self._study.enqueue_trial(dict(params), user_attrs={_DEFAULT: dict(params)})

    def claim(self, total: int) -> Claimed | None:
        """The next trial for this process; None when the study has `total`, those that are running counted."""
        with self._claims, storage_errors(self._place):
            self._requeue_dead()
            taken = [trial for trial in self._all() if _counts(trial)]
            return None if len(taken) >= total else self._ask([trial.params for trial in taken])

    @contextmanager
    def held(self, claimed: Claimed) -> Iterator[None]:
        """While a trial is being made: other machines hear that its process lives."""
        trial = self._live[claimed.number]

        def heartbeat() -> None:
            try:
                with storage_errors(self._place):
                    trial.set_user_attr(_LEASE, self._lease.to_json())
            except StorageError:
                return  # the next heartbeat may come through; what the trial itself writes is told

        with keep_heartbeat(heartbeat):
            yield

    def finish(self, claimed: Claimed, point: Point) -> None:
        """Keep a trial's numbers."""
        facts = {"p50_ms": point.p50_ms, "student": point.student, "host": point.host}
        self._end(claimed, list(point.costs), {_FACTS: facts})

    def fail(self, claimed: Claimed, reason: str) -> None:
        """Keep why a trial has none."""
        self._end(claimed, None, {_REASON: " ".join(reason.split())})

    def points(self) -> tuple[Point, ...]:
        """Every trial that ended and counts, by number."""
        with storage_errors(self._place):
            return tuple(_point(trial) for trial in self._all() if _counts(trial) and trial.state.is_finished())

    def running(self) -> int:
        """How many trials other processes are making now."""
        with storage_errors(self._place):
            return sum(_counts(trial) and not trial.state.is_finished() for trial in self._all())

    def _opened(self, parts: Mapping[str, str]) -> optuna.Study:
        import optuna

        study = optuna.create_study(
            storage=open_storage(self._place), study_name=NAME, directions=["minimize"] * 3, load_if_exists=True
        )
        known = study.user_attrs.get(_PARTS)
        if known is None:
            study.set_user_attr(_PARTS, dict(parts))
        elif known != dict(parts):
            others = sorted(name for name in {*known, *parts} if known.get(name) != parts.get(name))
            raise UsageError(
                f"the storage {self._place} holds another search, which differs in: {', '.join(others)}; give "
                "another --storage or --output-dir"
            )
        return study

    def _all(self) -> list[optuna.trial.FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _requeue_dead(self) -> None:
        for trial in self._all():
            if _counts(trial) and not trial.state.is_finished() and _is_dead(trial):
                default = trial.user_attrs.get(_DEFAULT)
                self._requeue(trial.number)
                self._study.enqueue_trial(default or dict(trial.params), {_DEFAULT: default} if default else None)

    def _requeue(self, number: int) -> None:
        """End a trial without a reason, so that it does not count."""
        import optuna

        self._study.tell(number, state=optuna.trial.TrialState.FAIL, skip_if_finished=True)

    def _ask(self, taken: Sequence[Params]) -> Claimed:
        """The sampler's next point, or where that was tried before, a random one that was not."""
        import optuna

        known = {key_of(params) for params in taken}
        while True:
            seed = (self._seed + 7919 * len(self._all())) % 2**32
            self._study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=_STARTUP)
            trial = self._study.ask()
            trial.set_user_attr(_LEASE, self._lease.to_json())
            default = trial.user_attrs.get(_DEFAULT)
            names = default or self._space.dimensions
            params = {name: _suggest(trial, name, self._space.dimensions[name]) for name in names}
            fresh = self._space.unseen(taken, random.Random(seed)) if key_of(params) in known else None  # noqa: S311
            if fresh is None:
                self._live[trial.number] = trial
                return Claimed(trial.number, params, bool(default))
            self._requeue(trial.number)
            self._study.enqueue_trial(fresh)

    def _end(self, claimed: Claimed, values: Sequence[float] | None, attributes: Mapping[str, Any]) -> None:
        import optuna

        state = optuna.trial.TrialState.FAIL if values is None else None
        with self._claims, storage_errors(self._place):
            trial = self._live.pop(claimed.number)
            (now,) = (item for item in self._all() if item.number == claimed.number)
            if now.state.is_finished():
                return  # given up for dead in the meantime, and tried again elsewhere
            for name, value in attributes.items():
                trial.set_user_attr(name, value)
            self._study.tell(trial, values, state=state)


def _counts(trial: optuna.trial.FrozenTrial) -> bool:
    """Whether it is one of the search's trials: not waiting, not voided, which is to have failed without a reason."""
    return trial.state.name in {"RUNNING", "COMPLETE"} or (trial.state.name == "FAIL" and _REASON in trial.user_attrs)


def _is_dead(trial: optuna.trial.FrozenTrial) -> bool:
    lease = trial.user_attrs.get(_LEASE)
    if lease is not None:
        return has_ended(lease)
    started = trial.datetime_start
    return started is None or time.time() - started.timestamp() > _BIRTH_SECONDS


def _point(trial: optuna.trial.FrozenTrial) -> Point:
    default = bool(trial.user_attrs.get(_DEFAULT))
    if trial.state.name != "COMPLETE":
        reason = str(trial.user_attrs.get(_REASON, "it failed"))
        return Point(trial.number, dict(trial.params), default, reason=reason)
    error, ratio, size = trial.values
    facts = trial.user_attrs[_FACTS]
    return Point(trial.number, dict(trial.params), default, error, ratio, int(size), **facts)


def _suggest(trial: optuna.Trial, name: str, dimension: Between | Choices) -> Value:
    if isinstance(dimension, Choices):
        value = trial.suggest_categorical(name, dimension.values)
        assert value is not None  # noqa: S101 - no choice is None
        return value
    if dimension.whole:
        low, high, step = int(dimension.low), int(dimension.high), int(dimension.step or 1)
        return trial.suggest_int(name, low, high, step=step, log=dimension.log)
    return trial.suggest_float(name, dimension.low, dimension.high, step=dimension.step, log=dimension.log)
