"""Memory of the current process."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def peak_memory_bytes() -> int | None:
    """Return the peak resident memory of this process in bytes, or None if the system does not report it."""
    status = Path("/proc/self/status")
    if status.is_file():
        # On Linux, getrusage would include the memory that the parent process had at the time of the fork.
        for line in status.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # bytes on macOS, kilobytes elsewhere


def resident_memory_bytes() -> int | None:
    """Return the resident memory of this process in bytes, or None if the system is not Linux."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
