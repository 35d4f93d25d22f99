"""Whether the model that is explained reads better than a constant: the first thing to know of pictures of it."""

from __future__ import annotations

from edge_msa.data.dataset import FloatArray
from edge_msa.data.tasks import Task
from edge_msa.metrics import BEST_CONSTANT, LEARNED_NOTHING, carries_signal, describe, floors, measure


def worth(
    task: Task, truth: FloatArray, readings: FloatArray, groups: tuple[str, ...], known: FloatArray | None
) -> str:
    """One sentence: the model's measure beside the floors, and a warning where it tells nothing.

    Args:
        task: names the measure, MAE of scores and the average F1 of emotions.
        truth: (N,) scores or (N, E) emotions of the split.
        readings: (N, outputs), scores or probabilities, with every modality there is.
        groups: the video of each sample.
        known: training labels, which the floor of having learned nothing comes from; None where there are none.
    """
    name = "mae" if task.is_score else "f1_average"
    shown = describe(name)
    given = readings[:, 0] if task.is_score else readings - 0.5  # a probability's logit has the sign of this
    own = measure(task, truth, given)[name]
    constants = {
        floor: metrics[name] for floor, metrics in floors(task, truth if known is None else known, truth).items()
    }
    if known is None:
        del constants[LEARNED_NOTHING]
    beside = " and ".join(f"{shown.format(value)} for {_NAMES[floor]}" for floor, value in constants.items())
    said = f"With every modality there is, {shown.title} is {shown.format(own)}, beside {beside}."
    better = own < min(constants.values()) if task.is_score else own > max(constants.values())
    if better and carries_signal(task, truth, given, groups):
        return said
    return f"{said} The model tells these samples no better than a constant does: do not read the rest as findings."


_NAMES = {LEARNED_NOTHING: "having learned nothing", BEST_CONSTANT: "the best constant"}
