"""Print what the runtime logs, such as a fallback to another backend. Programs use `logging` instead."""

from __future__ import annotations

import contextlib
import logging
from typing import Callable, Iterator

LOGGER = logging.getLogger("edge_msa_runtime")
"""Warns of everything that could not be used as requested, and of slow steps."""


@contextlib.contextmanager
def print_log(print_note: Callable[[str], None]) -> Iterator[None]:
    """Pass every warning of the runtime to a function while the context is active."""
    handler = _NoteHandler(print_note)
    LOGGER.addHandler(handler)
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)


class _NoteHandler(logging.Handler):
    def __init__(self, print_note: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._print_note = print_note

    def emit(self, record: logging.LogRecord) -> None:
        self._print_note(record.getMessage())
