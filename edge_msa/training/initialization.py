"""Initialization of output layers."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from edge_msa.data.dataset import FloatArray
from edge_msa.data.labels import class_shares
from edge_msa.data.tasks import Task


def init_bias_to_prior(output: nn.Linear, labels: FloatArray, task: Task) -> None:
    """Set the bias of an output layer to the best constant prediction.

    That is the median score, the logit of each emotion's frequency, or the logarithm of each class's frequency. If the
    labels are far from 0, this saves the epochs that would only move the bias. A prediction without valid frames stays
    close to the baseline.

    Args:
        output: The layer whose bias (outputs,) is set.
        labels: Labels of the training split: scores (N,), emotions (N, E) as 0/1, or indices of classes (N,).
        task: What the labels are.
    """
    if task.kind == "classes":
        prior = np.log(class_shares(labels, task))
    elif task.is_score:
        prior = np.median(labels.reshape(len(labels), -1), axis=0)
    else:
        share = np.clip(labels.mean(axis=0), 0.01, 0.99)  # an emotion that never occurs has no finite logit
        prior = np.log(share / (1 - share))
    with torch.no_grad():
        output.bias.copy_(torch.from_numpy(np.asarray(prior, dtype=np.float32)))
