from __future__ import annotations

import pytest

from edge_msa.data.tasks import TASKS
from edge_msa.deployment.request import make_task_spec


@pytest.mark.parametrize("kind", list(TASKS))
def test_task_spec_has_the_meaning_of_the_outputs(kind: str) -> None:
    task = TASKS[kind]
    spec = make_task_spec(task)
    assert (spec.kind, spec.outputs, spec.labels, spec.edges) == (kind, task.outputs, task.labels, task.edges)
