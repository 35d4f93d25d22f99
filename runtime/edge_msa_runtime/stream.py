"""A stream: frames as they come, and a reading whenever it is asked for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Mapping

from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.reading import Reading, make_reading

if TYPE_CHECKING:
    from edge_msa_runtime.frames import Intake
    from edge_msa_runtime.graphs import Graphs
    from edge_msa_runtime.manifest import TaskSpec
    from edge_msa_runtime.programs import State


class Stream:
    """One utterance as it unfolds; made by `Session.stream`.

    The state is the stream's own, so that a session can serve many streams, one thread at a time. Any chunking of the
    same frames gives the same reading, and the one that `Session.predict` gives for all of them.
    """

    def __init__(self, graphs: Graphs, intake: Intake, task: TaskSpec) -> None:
        self._graphs = graphs
        self._intake = intake
        self._task = task
        self._states: dict[str, State] = {}

    @property
    def subset(self) -> str:
        """The modalities that have had a valid frame, as in `la`; empty before the first."""
        return "".join(name[0] for name in ("language", "audio", "vision") if name in self._states)

    def push(
        self, *, language: Any = None, audio: Any = None, vision: Any = None, valid: Mapping[str, Any] | None = None
    ) -> None:
        """Take frames; arguments as `Session.predict` takes them, any number of frames, also none.

        Raises:
            UsageError: an array or a mask does not fit; nothing of this push has been taken then.
            RuntimeFailure: the engine failed; `reset` the stream.
        """
        self._graphs.advance(self._intake.gather((language, audio, vision), valid), self._states)

    def reading(self) -> Reading:
        """The reading of all frames so far; its milliseconds are those of this call, without the pushes.

        Raises:
            UsageError: no valid frame has come yet.
            RuntimeFailure: the engine failed.
        """
        started = time.perf_counter()
        if not self._states:
            raise UsageError("the stream has had no valid frame yet; push some before asking for a reading")
        outputs = self._graphs.fuse(self._states)
        graphs = self._graphs
        return make_reading(
            outputs,
            self._task,
            subset=self.subset,
            executed=(graphs.engine.name, graphs.device, graphs.precision),
            milliseconds=(time.perf_counter() - started) * 1e3,
        )

    def reset(self) -> None:
        """Forget all frames."""
        self._states.clear()
