"""Where a training starts."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from edge_msa.data.dataset import FloatArray
from edge_msa.data.tasks import Task


def start_at_prior(output: nn.Linear, labels: FloatArray, task: Task) -> None:
    """Let an output layer begin with what is best said of a sample of which nothing is seen.

    That is the median score, or the logit of each emotion's share. On labels far from 0 it saves the epochs that
    would only move the bias; and a prediction of nothing is near the baseline rather than anywhere.

    Args:
        output: the layer whose bias (outputs,) is set.
        labels: (N,) scores or (N, E) 0/1 of the training split.
        task: which of the two.
    """
    if task.is_score:
        prior = np.median(labels.reshape(len(labels), -1), axis=0)
    else:
        share = np.clip(labels.mean(axis=0), 0.01, 0.99)  # an emotion that never occurs has no logit
        prior = np.log(share / (1 - share))
    with torch.no_grad():
        output.bias.copy_(torch.from_numpy(np.asarray(prior, dtype=np.float32)))
