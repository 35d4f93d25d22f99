"""Open every backend and precision of a bundle that this machine can run."""

from __future__ import annotations

import dataclasses
import os
from typing import Iterator

from edge_msa_runtime.bundle.loader import open_bundle
from edge_msa_runtime.errors import BackendUnavailableError
from edge_msa_runtime.loading import load
from edge_msa_runtime.session import Session


@dataclasses.dataclass
class Variants:
    """The variants of a bundle: every precision of one backend, or of every available backend.

    Iterating opens one session after the other, with all graphs loaded. The caller closes them:

        for session in Variants("bundle-laptop"):
            with session:
                ...

    A variant that cannot be opened is skipped. If `strict` is set, if `backend` names one backend, or if no variant can
    be opened, a BackendUnavailableError is raised instead. Other errors are those of `load`.

    Attributes:
        bundle: the bundle's folder.
        backend: name of a backend, or `auto` for all of them.
        strict: raise an error for a variant that cannot be opened, and for a graph that the backend runs on another
            device than requested.
        threads: CPU threads of one prediction.
        device: device name, as for `load`.
        spin: as for `load`.
        workers: as for `load`.
        notes: notes about the bundle, such as files that were ignored.
        skipped: reasons why backends or precisions could not be opened, each once; complete after the iteration.
    """

    bundle: str | os.PathLike[str]
    backend: str = "auto"
    strict: bool = False
    threads: int = 1
    device: str = ""
    spin: bool = False
    workers: int = 1
    notes: tuple[str, ...] = dataclasses.field(default=(), init=False)
    skipped: list[str] = dataclasses.field(default_factory=list, init=False)

    def __iter__(self) -> Iterator[Session]:
        opened = open_bundle(self.bundle)
        self.notes = opened.notes
        self.skipped.clear()
        count = 0
        for name in opened.manifest.backends if self.backend == "auto" else (self.backend,):
            for precision in opened.precisions(name) or (None,):
                try:
                    session = self._open(name, precision)
                except BackendUnavailableError as error:
                    if self.strict or self.backend != "auto":
                        raise
                    if str(error) not in self.skipped:
                        self.skipped.append(str(error))
                else:
                    count += 1
                    yield session
        if not count:
            raise BackendUnavailableError(" | ".join(self.skipped))

    def _open(self, backend: str, precision: str | None) -> Session:
        session = load(
            self.bundle,
            backend,
            strict=self.strict,
            precision=precision,
            threads=self.threads,
            device=self.device,
            spin=self.spin,
            workers=self.workers,
        )
        try:
            session.prepare()
        except BaseException:
            session.close()
            raise
        return session
