"""The storage of a search's trials: any storage that Optuna supports, with one-line errors."""

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
"""How long to wait for a SQLite file that another program has locked."""
JOURNAL_SUFFIX = ".log"


def check_optuna() -> None:
    """Check that Optuna is installed, and silence its log.

    Raises:
        BackendUnavailableError: Optuna is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise BackendUnavailableError(
            "A search needs the optuna package. Run: pip install 'edge-msa[search]'"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def open_storage(location: str) -> BaseStorage:
    """Open a storage, and create it if it does not exist.

    Args:
        location: A database URL of SQLAlchemy, or a file. A file that ends in `.log` becomes a journal, which also
            works on network drives. Any other file becomes a SQLite database.

    Raises:
        StorageError: The storage is locked, damaged or unreachable.
        UsageError: The URL is not valid, or names a folder.
    """
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    with convert_storage_errors(location):
        if "://" not in location:
            path = Path(location)
            if path.is_dir():
                raise UsageError(
                    f"--storage must be a file or a URL such as sqlite:///search.db, got the folder {location}."
                )
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == JOURNAL_SUFFIX:
                return JournalStorage(JournalFileBackend(location, JournalFileOpenLock(location)))
        url = location if "://" in location else f"sqlite:///{location}"
        sqlite = url.startswith("sqlite:")
        with warnings.catch_warnings():
            # Optuna and SQLAlchemy warn developers at this point. The warnings do not help users of a search.
            warnings.simplefilter("ignore")
            return RDBStorage(url, {"connect_args": {"timeout": LOCK_SECONDS}} if sqlite else None)


@contextmanager
def convert_storage_errors(location: str) -> Iterator[None]:
    """Convert errors of Optuna, SQLAlchemy and the system inside the block to errors of edge-msa, in one line.

    Raises:
        StorageError: The storage is locked, damaged or unreachable.
        UsageError: The URL is not valid.
        BackendUnavailableError: The database driver is not installed.
    """
    from optuna.exceptions import OptunaError
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError

    name = _hide_password(location)
    try:
        yield
    except EdgeMsaError:
        raise
    except ArgumentError as error:
        raise UsageError(f"--storage must be a file or a database URL, got {name} ({_first_line(error)}).") from None
    except ImportError as error:
        raise BackendUnavailableError(
            f"The database driver for {name} is not installed ({_first_line(error)}). Install it."
        ) from None
    except (OptunaError, SQLAlchemyError, OSError, RuntimeError, ValueError, KeyError) as error:
        cause = _first_line(error.__cause__ or error)
        if "locked" in cause:
            raise StorageError(
                f"The storage {name} has been locked by another program for more than {LOCK_SECONDS:.0f} s. "
                "End that program and run the same command again, or pass another --storage."
            ) from None
        raise StorageError(
            f"The storage {name} cannot be used ({cause}). Check it, or pass another --storage."
        ) from None


def _hide_password(location: str) -> str:
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    if "://" not in location:
        return location
    try:
        return make_url(location).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        return location


def _first_line(error: BaseException) -> str:
    """Return the first line of an error's message, without the class names that SQLAlchemy adds."""
    original = getattr(error, "orig", None) or error
    return (str(original).strip() or type(error).__name__).splitlines()[0].rstrip(".")
