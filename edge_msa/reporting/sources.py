"""Find the models and the data that records were measured on, for the commands of a report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from edge_msa.artifacts.runs import INFO_NAME, load_run
from edge_msa.benchmark.records import Records
from edge_msa.data.opening import is_synthetic
from edge_msa.errors import EdgeMsaError
from edge_msa.reporting.commands import Sources
from edge_msa_export.provenance import Provenance
from edge_msa_runtime.bundle.loader import open_bundle
from edge_msa_runtime.bundle.manifest import MANIFEST_NAME


def find_sources(records: Records, paths: Sequence[Path]) -> Sources:
    """Return where the models and the data of records are.

    Models are looked for in the passed folders, beside the files of the records and above, and in the working folder.

    Args:
        records: The records.
        paths: Folders and files that were passed to the report.
    """
    folders = tuple(dict.fromkeys(_search_folders(records, paths)))
    names = dict.fromkeys(
        [*(item.source.name for item in records.evaluations), *(item.name for item in records.benches)]
    )
    models = {name: folder for name in names if (folder := _find_model(name, folders)) is not None}
    data: dict[str, str] = {}
    needs_data: set[str] = set()
    runs = [path.parent for folder in folders for path in sorted(folder.glob(f"[!.]*/{INFO_NAME}"))]
    for folder in dict.fromkeys([*models.values(), *runs]):
        try:
            digest, source = _data_of(folder)
        except EdgeMsaError:
            continue
        if (folder / MANIFEST_NAME).is_file() and not is_synthetic(source):
            needs_data.add(folder.name)
        elif digest:
            data.setdefault(digest, source)
    return Sources(models, data, frozenset(needs_data))


def _search_folders(records: Records, paths: Sequence[Path]) -> Iterator[Path]:
    yield from (path for path in paths if path.is_dir())
    for file in (*records.bench_files, *records.evaluation_files):
        if file is not None:
            yield from (file.parent, file.parent.parent)
    yield Path()


def _find_model(name: str, folders: Sequence[Path]) -> Path | None:
    candidates = (path for folder in folders for path in (folder / name, folder))
    return next(
        (
            path
            for path in candidates
            if path.resolve().name == name and any((path / file).is_file() for file in (INFO_NAME, MANIFEST_NAME))
        ),
        None,
    )


def _data_of(folder: Path) -> tuple[str, str]:
    """Return digest and source of the data that a run or a bundle was made from."""
    if (folder / INFO_NAME).is_file():
        run = load_run(folder)
        return run.info.inputs.get("data", ""), run.spec.data_source
    data = Provenance.from_json(open_bundle(folder).manifest.provenance).data
    return ("", "") if data is None else (data.digest, data.name)
