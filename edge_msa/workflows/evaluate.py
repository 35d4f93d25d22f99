"""`edge-msa evaluate`: a run or a bundle on every subset, beside the baselines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edge_msa.artifacts.files import check_file_path
from edge_msa.artifacts.runs import INFO_NAME, load_run
from edge_msa.benchmark.records import write_records
from edge_msa.console import print_json, print_output, print_result
from edge_msa.data.dataset import Dataset, SplitName
from edge_msa.data.opening import SYNTHETIC, open_and_report
from edge_msa.errors import RunUsageError, UnstatedTaskError, UsageError
from edge_msa.evaluation.agreement import agreements, format_agreement
from edge_msa.evaluation.evaluate import Evaluation, Predict, Source, evaluate, format_table, write_predictions
from edge_msa.evaluation.predictors import by_run, by_session, readable_by
from edge_msa.training.run_data import data_source_for_run, open_dataset_for_run
from edge_msa_runtime import load
from edge_msa_runtime.bundle.loader import open_bundle
from edge_msa_runtime.bundle.manifest import MANIFEST_NAME


def evaluate_path(
    path: Path,
    data: str | None = None,
    split: SplitName = "test",
    *,
    backend: str = "auto",
    precision: str | None = None,
    against: str | None = None,
    predictions: Path | None = None,
    output: Path | None = None,
    task: str | None = None,
    json: bool = False,
) -> Evaluation:
    """Evaluate, print the table, and keep what was asked for.

    With `against`, a precision of the same bundle, how far the two are from each other is printed too.
    """
    for file in (output, predictions):
        if file is not None:
            check_file_path(file)
    data, found = _opened(path, data, task)
    predict, source, dataset = reader_of(path, found, backend=backend, precision=precision)
    evaluation, found_predictions = evaluate(predict, dataset, split, source, limits=limits_of(data, dataset, split))
    print_result(format_table(evaluation))
    if against is not None:
        other, other_source, _ = reader_of(path, found, backend=backend, precision=against)
        reference, first = evaluate(other, dataset, split, other_source, draws=0)
        print_result(f"\n{format_agreement(agreements(reference, first, evaluation, found_predictions))}")
    if predictions:
        write_predictions(predictions, dataset.task, dataset.split(split), found_predictions)
        print_output("predictions", predictions)
    if output:
        write_records(output, evaluation)
        print_output("evaluation", output, f"edge-msa report {output}")
    if json:
        print_json(evaluation.to_json())
    return evaluation


def reader_of(path: Path, dataset: Dataset, *, backend: str, precision: str | None) -> tuple[Predict, Source, Dataset]:
    """How to ask what lies at `path`, what to call it, and what of the dataset it reads.

    Raises:
        DataError: it was not made for such data.
        RunUsageError: it is neither a run nor a bundle.
        UsageError: a backend or a precision for a run.
    """
    name = path.resolve().name
    if (path / INFO_NAME).is_file():
        if backend != "auto" or precision is not None:
            raise UsageError(f"{path} is a run, which torch reads: --backend and --precision are for bundles")
        run = load_run(path)
        readable = run.spec.select_inputs(dataset)
        return by_run(run), Source(name, "run"), readable
    if (path / MANIFEST_NAME).is_file():
        session = load(path, backend=backend, precision=precision)
        source = Source(name, "bundle", session.precision, session.backend, session.device)
        return by_session(session), source, readable_by(session, dataset)
    what = "is neither a run (run.json) nor a bundle (manifest.json)" if path.exists() else "does not exist"
    raise RunUsageError(f"{path} {what}: give a folder that train, distill, calibrate or export wrote")


def _opened(path: Path, data: str | None, task: str | None) -> tuple[str, Dataset]:
    """What was given or else what a run was made from, by name and opened; under the model's task if it states none."""
    if (path / INFO_NAME).is_file():
        run = load_run(path)
        return data_source_for_run(run, data), open_dataset_for_run(run, data, task)
    source = data or _own_data(path)
    try:
        return source, open_and_report(source, task)
    except UnstatedTaskError:
        if not (path / MANIFEST_NAME).is_file():
            raise
        return source, open_and_report(source, open_bundle(path).manifest.task.kind)


def _own_data(path: Path) -> str:
    """The embedded default, if a bundle was made from it."""
    if (path / MANIFEST_NAME).is_file():
        made_from = open_bundle(path).manifest.provenance.get("data", {})
        if made_from.get("name") != SYNTHETIC:
            raise UsageError(f"{path} was made from {made_from.get('name')}: give that file by --data")
    return SYNTHETIC


def limits_of(source: str, dataset: Dataset, split: SplitName) -> dict[str, Mapping[str, float]] | None:
    """What the best possible reader expects, where the generator knows it: a file may only be called like its data."""
    if source != SYNTHETIC:
        return None
    from edge_msa.data.synthetic.bayes_optimum import compute_bayes_optima

    return {
        subset: {"mae": limit.mae, "corr": limit.corr, "acc2_non0": limit.acc2_non0}
        for subset, limit in compute_bayes_optima(dataset.split(split)).items()
    }
