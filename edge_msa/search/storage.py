"""Where the trials of a search are kept: any storage that Optuna has, its errors as one line."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from edge_msa.errors import BackendUnavailableError, EdgeMsaError, StorageError, UsageError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

LOCK_SECONDS = 30.0
"""How long a SQLite file may be locked by somebody else."""
JOURNAL = ".log"


def need_optuna() -> None:
    """Refuse to begin without Optuna.

    Raises:
        BackendUnavailableError: it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise BackendUnavailableError("searching needs the optuna package: pip install 'edge-msa[search]'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def open_storage(place: str) -> BaseStorage:
    """The storage at a URL that SQLAlchemy understands, or in a file.

    A file ending in .log is a journal, which network drives can bear; any other is a SQLite database.

    Raises:
        StorageError: it is locked, damaged, or cannot be reached.
        UsageError: the URL cannot be read, or names a folder.
    """
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    with storage_errors(place):
        if "://" not in place:
            path = Path(place)
            if path.is_dir():
                raise UsageError(f"--storage {place} is a folder: give a file, or a URL such as sqlite:///search.db")
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == JOURNAL:
                return JournalStorage(JournalFileBackend(place, JournalFileOpenLock(place)))
        url = place if "://" in place else f"sqlite:///{place}"
        sqlite = url.startswith("sqlite:")
        with warnings.catch_warnings():
            # What Optuna and SQLAlchemy tell their own users at start; a search's user can do nothing with it.
            warnings.simplefilter("ignore")
            return RDBStorage(url, {"connect_args": {"timeout": LOCK_SECONDS}} if sqlite else None)


@contextmanager
def storage_errors(place: str) -> Iterator[None]:
    """Errors of Optuna, SQLAlchemy and the system inside it as a `StorageError` of one line."""
    from optuna.exceptions import OptunaError
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError

    shown = _shown(place)
    try:
        yield
    except EdgeMsaError:
        raise
    except ArgumentError as error:
        raise UsageError(f"--storage {shown} cannot be read ({_line(error)}): give a file or a database URL") from None
    except ImportError as error:
        raise BackendUnavailableError(
            f"{shown} needs a driver that is not installed ({_line(error)}): install it"
        ) from None
    except (OptunaError, SQLAlchemyError, OSError, RuntimeError, ValueError, KeyError) as error:
        cause = _line(error.__cause__ or error)
        if "locked" in cause:
            raise StorageError(
                f"{shown} is locked by another program for more than {LOCK_SECONDS:.0f} s: end that program and give "
                "the same command again, or give another --storage"
            ) from None
        raise StorageError(
            f"the storage {shown} cannot be used ({cause}): check it, or give another --storage"
        ) from None


def _shown(place: str) -> str:
    """The place without its password."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    if "://" not in place:
        return place
    try:
        return make_url(place).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        return place


def _line(error: BaseException) -> str:
    """The first line of what an error says, without SQLAlchemy's class names."""
    original = getattr(error, "orig", None) or error
    return (str(original).strip() or type(error).__name__).splitlines()[0]
