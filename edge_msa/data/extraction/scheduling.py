"""Run many independent pieces of work: in this process, in a pool of processes, or on a dask cluster.

All of them give the same results. They come in the order in which they are ready.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any, Protocol

from edge_msa.data.extraction.segment_job import Outcome
from edge_msa.errors import BackendUnavailableError, EdgeMsaError, UsageError
from edge_msa_runtime.errors import first_line

Function = Callable[..., Outcome]
Calls = Sequence[tuple[Any, ...]]
_WAITING = 4
"""Pieces of work per worker that are submitted at once. Fewer could let a worker wait; more need memory."""
_CONNECT_SECONDS = "10s"
_DIED = "The process that decoded it has crashed."


class Workers(Protocol):
    """Runs pieces of work."""

    def run(self, function: Function, calls: Calls) -> Iterator[tuple[int, Outcome]]:
        """Yield the index of each call with its outcome, as soon as it is ready.

        Args:
            function: A function of a module.
            calls: The arguments of each call.

        Raises:
            EdgeMsaError: What the function raised, or the connection to the workers was lost. Outcomes that were not
                yielded are lost.
        """


@contextlib.contextmanager
def open_workers(count: int, scheduler: str | None) -> Iterator[Workers]:
    """Yield the workers, and end them afterwards.

    Args:
        count: Number of processes of this machine; 1 runs everything in this process.
        scheduler: Address of a dask scheduler, whose workers are used instead.

    Raises:
        UsageError: There is no scheduler at the address, or the processes cannot start.
        PackageImportError: dask.distributed is not installed.
    """
    if scheduler is not None:
        with _dask_executor(scheduler) as (executor, threads):
            yield _ClusterWorkers(executor, threads)
    elif count == 1:
        yield _ThisProcess()
    else:
        pool = _Pool(count)
        try:
            yield pool
        finally:
            pool.close()


class _ThisProcess:
    def run(self, function: Function, calls: Calls) -> Iterator[tuple[int, Outcome]]:
        for index, arguments in enumerate(calls):
            yield index, function(*arguments)


class _WorkerProcess(SpawnProcess):
    """A process that inherits blocked interrupts: a Ctrl-C while Python starts would print a traceback."""

    def start(self) -> None:
        if not hasattr(signal, "pthread_sigmask"):  # Windows
            super().start()
            return
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _WorkerContext(SpawnContext):
    """Starts new processes instead of forks, which would copy threads and locks of libraries."""

    Process = _WorkerProcess


class _Pool:
    """Processes of this machine. If one crashes, the others continue, and the work that crashes it is given up."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._executor = self._open(count)
        try:
            self._executor.submit(os.getpid).result()
        except BrokenProcessPool:
            self._executor.shutdown()
            raise UsageError(
                "The processes of --workers cannot start. In a script, call the function under "
                'if __name__ == "__main__", because each process imports the script. Or pass --workers 1.'
            ) from None

    def run(self, function: Function, calls: Calls) -> Iterator[tuple[int, Outcome]]:
        remaining = list(range(len(calls)))[::-1]
        while remaining:
            running: dict[Future[Outcome], int] = {}
            try:
                yield from _run_all(self._executor, function, calls, remaining, running, self._count * _WAITING)
            except BrokenProcessPool:
                suspects = sorted(running.values())
                self._executor.shutdown(cancel_futures=True)
                for index in suspects:
                    yield index, self._run_alone(function, calls[index])
                self._executor = self._open(self._count)

    def close(self) -> None:
        """End the processes, without waiting for work that nobody needs."""
        processes = list((self._executor._processes or {}).values())  # noqa: SLF001 - no public way ends running work
        self._executor.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()

    def _run_alone(self, function: Function, arguments: tuple[Any, ...]) -> Outcome:
        """Run one call in a process of its own, so that only its own crash ends it."""
        with self._open(1) as executor:
            try:
                return executor.submit(function, *arguments).result()
            except BrokenProcessPool:
                return Outcome(reason=_DIED)

    @staticmethod
    def _open(count: int) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(count, mp_context=_WorkerContext(), initializer=_start_worker)


class _ClusterWorkers:
    """Workers of a dask cluster."""

    def __init__(self, executor: Executor, threads: int) -> None:
        self._executor, self._threads = executor, threads

    def run(self, function: Function, calls: Calls) -> Iterator[tuple[int, Outcome]]:
        remaining = list(range(len(calls)))[::-1]
        try:
            yield from _run_all(self._executor, function, calls, remaining, {}, self._threads * _WAITING)
        except CancelledError:
            raise BackendUnavailableError(
                "The connection to the dask scheduler was lost. Start it again and run the same command."
            ) from None


def _run_all(
    executor: Executor,
    function: Function,
    calls: Calls,
    remaining: list[int],
    running: dict[Future[Outcome], int],
    most: int,
) -> Iterator[tuple[int, Outcome]]:
    """Run the calls of `remaining`, last first, at most `most` at once. `running` has those that are not yielded."""
    while remaining or running:
        while remaining and len(running) < most:
            index = remaining.pop()
            try:
                running[executor.submit(function, *calls[index])] = index
            except BrokenProcessPool:
                remaining.append(index)
                raise
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            outcome = _outcome(future)
            yield running.pop(future), outcome


def _outcome(future: Future[Outcome]) -> Outcome:
    try:
        return future.result()
    except (BrokenProcessPool, CancelledError, EdgeMsaError):
        raise
    except Exception as error:
        if type(error).__name__ == "KilledWorker":
            return Outcome(reason=_DIED)
        raise BackendUnavailableError(
            f"A worker failed ({type(error).__name__}: {first_line(error)}). Install the same versions of edge-msa and "
            "its packages on all machines."
        ) from error


def _start_worker() -> None:
    """Leave interrupts to the parent, and end with it, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)


@contextlib.contextmanager
def _dask_executor(address: str) -> Iterator[tuple[Executor, int]]:
    """Yield an executor of the workers of a scheduler, and the number of their threads."""
    from edge_msa_runtime.vendor_packages import import_package

    distributed = import_package("distributed")
    try:
        client = distributed.Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(
            f"--scheduler must be the address of a running dask scheduler, such as tcp://10.0.0.1:8786, got "
            f"{address!r} ({first_line(error)}). Start one with dask scheduler."
        ) from None
    try:
        threads = sum(client.nthreads().values())
        if not threads:
            raise UsageError(f"The dask scheduler {address} has no workers. Start some with dask worker {address}.")
        with client.get_executor(pure=False) as executor:
            yield executor, threads
    finally:
        client.close()
