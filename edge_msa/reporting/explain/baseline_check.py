"""Whether the model that is explained reads better than a constant: the first thing to know of pictures of it."""

from __future__ import annotations

from edge_msa.data.dataset import FloatArray
from edge_msa.data.tasks import Task
from edge_msa.evaluation.metrics import BEST_CONSTANT, MEDIAN, baselines, carries_signal, describe, measure


def baseline_check(
    task: Task, truth: FloatArray, predictions: FloatArray, groups: tuple[str, ...], known: FloatArray | None
) -> str:
    """One sentence: the model's measure beside the baselines, and a warning where it tells nothing.

    Args:
        task: names the measure, MAE of scores and the average F1 of emotions.
        truth: (N,) scores or (N, E) emotions of the split.
        predictions: (N, outputs), scores or probabilities, with every modality there is.
        groups: the video of each sample.
        known: training labels, which the baseline of having learned nothing comes from; None where there are none.
    """
    name = "mae" if task.is_score else "f1_average"
    shown = describe(name)
    given = predictions[:, 0] if task.is_score else predictions - 0.5  # a probability's logit has the sign of this
    own = measure(task, truth, given)[name]
    constants = {
        baseline: metrics[name]
        for baseline, metrics in baselines(task, truth if known is None else known, truth).items()
    }
    if known is None:
        del constants[MEDIAN]
    beside = " and ".join(f"{shown.format(value)} for {_NAMES[baseline]}" for baseline, value in constants.items())
    said = f"With every modality there is, {shown.title} is {shown.format(own)}, beside {beside}."
    better = own < min(constants.values()) if task.is_score else own > max(constants.values())
    if better and carries_signal(task, truth, given, groups):
        return said
    return f"{said} The model tells these samples no better than a constant does: do not read the rest as findings."


_NAMES = {MEDIAN: "having learned nothing", BEST_CONSTANT: "the best constant"}
