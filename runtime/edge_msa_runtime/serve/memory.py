"""Memory that live streams and files do not need any more."""

from __future__ import annotations

import ctypes
import sys


def release_free_memory() -> None:
    """Give free memory back to the system, where the C library does not do it by itself.

    glibc has a pool of memory for each of several threads, and keeps what is free in them.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)
