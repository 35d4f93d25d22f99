"""Step graphs of several streams that run together, after all of these streams have prepared their predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Sequence, Union

from edge_msa_runtime.programs import StepJob

if TYPE_CHECKING:
    from edge_msa_runtime.graphs import Graphs
    from edge_msa_runtime.inputs.validation import Frames
    from edge_msa_runtime.programs import State

    StepGraphs = Union[Graphs, "DeferredSteps"]
    Undo = Callable[[], None]


class DeferredSteps:
    """Takes the place of graphs while streams prepare predictions. It notes the steps, and `run` runs them.

    Until then, the state after a step is an empty dictionary. States before a step do not change, so a stream can
    restore them if a graph fails.
    """

    def __init__(self) -> None:
        self._rounds: list[dict[str, list[_Step]]] = []  # those of a round need only results of earlier rounds
        self._steps: list[_Step] = []
        self._by_state: dict[int, _Step] = {}  # by the identity of the state after the step
        self._undo: list[tuple[Sequence[_Step], Undo]] = []
        self._stream = 0

    def begin(self, stream: int) -> None:
        """Note that the next steps are those of the stream with this number."""
        self._stream = stream

    def step_one(self, name: str, frames: Frames, state: State | None) -> State:
        """Note a step, and return the state that `Graphs.step_one` would return. It is empty until `run`."""
        before = None if state is None else self._by_state.get(id(state))
        step = _Step(self._stream, frames, state, before)
        if step.round == len(self._rounds):
            self._rounds.append({})
        self._rounds[step.round].setdefault(name, []).append(step)
        self._steps.append(step)
        self._by_state[id(step.state)] = step
        return step.state

    @property
    def count(self) -> int:
        """Number of steps so far."""
        return len(self._steps)

    def undo_with(self, undo: Undo, first: int) -> None:
        """Have `settle` call `undo` if any step from number `first` on, which was the `count` then, has no result."""
        steps = self._steps[first:]
        if steps:
            self._undo.append((steps, undo))

    def run(self, graphs: Graphs) -> dict[int, Exception]:
        """Run all steps, and return the first error of each stream with an error."""
        for names in self._rounds:
            for name, steps in names.items():
                for step in steps:
                    step.error = None if step.before is None else step.before.error
                graphs.step_many(name, [step for step in steps if step.error is None])
        errors: dict[int, Exception] = {}
        for step in self._steps:
            if step.error is not None:
                errors.setdefault(step.stream, step.error)
        return errors

    def settle(self) -> None:
        """Undo what needed a step that has no result: because its graph failed, or because `run` was interrupted."""
        for steps, undo in reversed(self._undo):
            if not all(step.state for step in steps):
                undo()
        self._undo.clear()


class _Step(StepJob):
    """A step of a stream, and the step from which it continues, if that has not run yet."""

    __slots__ = ("before", "round", "stream")

    def __init__(self, stream: int, frames: Frames, source: State | None, before: _Step | None) -> None:
        super().__init__(frames, source)
        self.stream = stream
        self.before = before
        self.round: int = 0 if before is None else before.round + 1
