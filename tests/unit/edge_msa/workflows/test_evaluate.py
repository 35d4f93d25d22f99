from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from edge_msa.data.opening import SYNTHETIC_QUICK, open_dataset
from edge_msa.errors import UsageError
from edge_msa.workflows.evaluate import _open_data_of_bundle, evaluate
from edge_msa_export.provenance import DataSource, Provenance
from edge_msa_runtime.bundle.manifest import MANIFEST_NAME
from tests.unit.edge_msa.toy_runs import write_dataset, write_teacher


def test_against_is_refused_for_a_run_before_the_evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_dataset(tmp_path / "all.npz")
    run = write_teacher(tmp_path / "teacher", data)
    monkeypatch.setattr("edge_msa.workflows.evaluate.evaluate", lambda *_, **__: pytest.fail("evaluated"))
    with pytest.raises(UsageError, match="and against are for bundles"):
        evaluate(run, data=data, against="int8")


def test_a_bundle_made_from_a_part_of_the_synthetic_data_needs_this_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made_from(digest: str) -> None:
        provenance = Provenance(data=DataSource(SYNTHETIC_QUICK, digest)).to_json()
        bundle = SimpleNamespace(manifest=SimpleNamespace(provenance=provenance))
        monkeypatch.setattr("edge_msa.workflows.evaluate.open_bundle", lambda _: bundle)

    (tmp_path / MANIFEST_NAME).touch()
    dataset = open_dataset(SYNTHETIC_QUICK)
    made_from(dataset.digest)
    assert _open_data_of_bundle(tmp_path, None)[1].digest == dataset.digest
    made_from("0" * 64)
    with pytest.raises(UsageError, match="with other samples than the built-in data of this name"):
        _open_data_of_bundle(tmp_path, None)
