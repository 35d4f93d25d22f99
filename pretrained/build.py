"""Build the pretrained bundle text-nano: train, distill, quantize, export, evaluate, and write the model card.

Anybody who has the transcripts of CMU-MOSEI and CMU-MOSI can run it again; they are not in this repository.

    python pretrained/build.py --mosei mosei.csv --mosi mosi.npz --encoder FOLDER --work-dir work

Steps that are up to date are skipped. With --teacher, runs of `edge-msa text` are distilled instead of new teachers.
With --table too, nothing is trained: after a change of the schema of bundles, the same table is exported again.
With --reviews, which `examples/review_sentences.py` writes, the table also learns from the teachers' predictions for
sentences of movie reviews. Its vocabulary is that of the transcripts.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import edge_msa as em
from edge_msa.artifacts.runs import Run, load_run
from edge_msa.benchmark.machine import describe_machine
from edge_msa.deployment.request import make_export_request
from edge_msa.deployment.student import load_deployable_student
from edge_msa.evaluation.evaluate import Source, evaluate
from edge_msa.evaluation.metrics import bootstrap_interval, describe
from edge_msa.evaluation.metrics.units import describe_unit
from edge_msa.evaluation.predictors import select_session_inputs, session_predictor
from edge_msa.training.run_data import open_dataset_for_run, open_unencoded_dataset_for_run
from edge_msa.training.text.load import load_text_input
from edge_msa_export.bundle.repack import repack_bundle
from edge_msa_export.parity.cases import build_golden_arrays
from edge_msa_export.profiles import find_profile
from edge_msa_export.request import GoldenSample
from edge_msa_export.text import TextTable, quantize_rows
from edge_msa_runtime import load
from edge_msa_runtime.benchmark.bench import bench_sessions
from edge_msa_runtime.bundle.hashing import file_sha256
from edge_msa_runtime.bundle.loader import open_bundle
from edge_msa_runtime.bundle.manifest import MANIFEST_NAME
from edge_msa_runtime.modalities import Subset
from edge_msa_runtime.pretrained import INDEX_NAME, INDEX_SCHEMA

PACKAGE = Path(__file__).parent / "edge_msa_pretrained"
TARGET = "any-cpu"
CORPORA = ("CMU-MOSEI", "CMU-MOSI")
TEACHER: Mapping[str, Any] = {
    "transfer": {"epochs": 2, "learning_rate": 1e-4},
    "final": {"epochs": 5, "learning_rate": 5e-5},
}
"""Settings of a teacher of few layers."""
METRICS = ("mae", "corr", "acc2_non0", "acc2_has0", "acc7")
SENTENCE = "i really love this film, but the ending was not as good as i had hoped"
"""The golden sample. One of the corpus must not be passed on."""
TITLE = "Sentiment of English sentences from -3 to 3, from words alone"
LICENSE = "Weights: for research and evaluation, because of the terms of CMU-MOSI and CMU-MOSEI; see README.md."
DATA = (
    "CMU-MOSEI: training transcripts of YouTube videos with opinions, scored from -3 to 3 (Zadeh et al., ACL 2018)",
    "CMU-MOSI: the same for videos with film reviews (Zadeh et al., arXiv:1606.06259)",
)
REVIEWS = (
    "Movie reviews, without their labels: 8,478 sentences of Rotten Tomatoes (Pang and Lee, ACL 2005) and 50,000 of "
    "IMDB (Maas et al., ACL 2011)"
)
TERMS = (
    "The authors of these corpora publish them for research. The videos and reviews belong to those who published "
    "them. The texts are not in this bundle, but the weights and the vocabulary were computed from them. Use the "
    "weights for research and evaluation. Before any other use, check the terms of all corpora, or train on data of "
    "your own."
)
NOT_FOR = (
    "decisions about a person, such as hiring, admission, credit, insurance, policing or medical assessment",
    "monitoring of employees, pupils or other people who did not agree to it",
    "statements about what somebody feels: it predicts how strangers rated a sentence",
    "languages other than English, and texts unlike such opinions, as news, law or irony, without a test first",
    "products, before the terms of the data are checked",
)


@dataclass(frozen=True)
class Tested:
    """The metrics of the bundle on the test split of a corpus, each with its 95 % interval over videos."""

    data: str
    samples: int
    groups: int
    unit: str
    metrics: Mapping[str, tuple[float, float, float]]
    baseline: Mapping[str, float]
    """The best constant."""

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return dataclasses.asdict(self)


def main(arguments: Sequence[str] | None = None) -> None:
    """Build the bundle, and write it and its entry in the index into the package."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    work, files = options.work_dir, [options.mosei, options.mosi]
    common: dict[str, Any] = {"transcripts": files, "seed": options.seed, "verbose": True, "overwrite": True}
    teachers = [Path(path) for path in options.teacher]
    if not teachers:
        recipe = options.teacher_recipe or TEACHER
        source: dict[str, Any] = {"encoder": options.encoder, "layers": options.layers, "recipe": recipe}
        teachers = [em.train_text(output_dir=work / "teacher", **source, **common).path]
    if options.table:
        table = load_run(options.table)
    else:
        source = {"encoder": options.table_encoder, "texts": options.reviews or ()}
        table = em.distill_text(teachers, recipe=options.recipe, output_dir=work / "table", **source, **common)
    if options.reviews:
        table = em.prune_vocabulary(table, transcripts=files, output_dir=work / "pruned", verbose=True, overwrite=True)
    calibrated = em.calibrate(table, output_dir=work / "calibrated", verbose=True, overwrite=True)
    exported = em.export(
        calibrated, target=TARGET, precision="int8", output_dir=work / "bundle", verbose=True, overwrite=True
    )
    tested = [test(exported.path, calibrated, file, title) for file, title in zip(files, CORPORA, strict=True)]
    card = describe_model(exported.path, teachers, tested, options)
    publish(options.name, exported.path, calibrated, card, options.package)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mosei", required=True, help="CMU-MOSEI: CSV with text, label, mode and video_id")
    parser.add_argument("--mosi", required=True, help="CMU-MOSI: CSV or feature file with transcripts")
    parser.add_argument("--encoder", help="encoder to train a teacher from: a folder, or a name on the hub")
    parser.add_argument("--layers", type=int, help="number of first layers of the encoder to keep (default: all)")
    parser.add_argument("--teacher", action="append", default=[], help="run of a teacher; repeat it for several")
    parser.add_argument("--table", type=Path, help="run that --teacher was distilled into before, to export it again")
    parser.add_argument("--reviews", help="CSV file of sentences that examples/review_sentences.py wrote")
    parser.add_argument(
        "--table-encoder", help="encoder whose mean states the table starts from (default: the teacher)"
    )
    parser.add_argument("--teacher-recipe", help="TOML file with settings of the teacher (default: TEACHER here)")
    parser.add_argument("--recipe", help="TOML file with settings of the table")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--name", default="text-nano")
    parser.add_argument(
        "--work-dir", type=Path, required=True, help="folder for runs, which continues an earlier build"
    )
    parser.add_argument("--package", type=Path, default=PACKAGE, help="folder with the index and the bundles")
    options = parser.parse_args(arguments)
    if bool(options.encoder) == bool(options.teacher):
        parser.error("pass either --encoder or --teacher")
    if options.table and not options.teacher:
        parser.error("--table needs its --teacher")
    return options


def test(bundle: Path, run: Run, file: str, title: str) -> Tested:
    """Evaluate the bundle, from raw words, on the test split of a corpus."""
    dataset = open_unencoded_dataset_for_run(run, file, None)
    with load(bundle) as session:
        selected = select_session_inputs(session, dataset)
        evaluation, (scores,) = evaluate(
            session_predictor(session), selected, "test", Source("text-nano", "bundle"), resamples=0
        )
    split = selected.split("test")
    groups = [split.groups[row] for row in scores.rows]
    labels = split.labels[scores.rows]
    found = evaluation.by_subset["l"]
    metrics, unit = {}, ""
    for name in METRICS:
        interval = bootstrap_interval(selected.task, labels, scores.scores, groups, metric=name)
        metrics[name], unit = (float(found[name]), interval.low, interval.high), interval.unit
    baseline = {name: float(evaluation.baselines["best_constant"][name]) for name in METRICS}
    return Tested(title, len(labels), len(set(groups)), describe_unit(unit), metrics, baseline)


def golden_arrays(run: Run) -> tuple[dict[str, Any], float]:
    """Return the golden vectors of a sentence that is not from the corpus, and what the int8 rows change of them."""
    student = load_deployable_student(run, open_dataset_for_run(run, None, None))
    table = student.text
    if not isinstance(table, TextTable):
        raise TypeError(f"The run must have an embedding table, got {type(table).__name__}. Pass a table.")
    (ids,) = load_text_input(run).tokenizer.ids([SENTENCE])
    rows, scales = quantize_rows(table.rows)
    request = make_export_request(student, find_profile(TARGET), "golden")

    def predict(frames: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        sample = GoldenSample(Subset.L, {"language": frames}, SENTENCE)
        return build_golden_arrays(student.network, dataclasses.replace(request, golden_samples=[sample]))

    exact, on_device = predict(table.rows[ids]), predict(rows[ids].astype(np.float32) * scales[ids, None])
    return exact, float(np.abs(exact["l/prediction"] - on_device["l/prediction"]).max())


def describe_model(
    bundle: Path, teachers: Sequence[Path], tested: Sequence[Tested], options: argparse.Namespace
) -> dict[str, Any]:
    """Return the statements of the model card."""
    manifest = open_bundle(bundle).manifest
    with load(bundle) as session:
        (latency,) = bench_sessions([session], subsets=[Subset.L], text=SENTENCE, repeats=700)[0].latencies
    infos = [load_run(path).info for path in teachers]
    sources = " and ".join(dict.fromkeys(info.spec.features["language"].extractor for info in infos))
    return {
        "languages": ["English"],
        "takes": "words",
        "model": f"static table of wordpieces, a causal convolution and a GRU, distilled from {sources}",
        "teacher_validation_mae": [info.validation_metric for info in infos],
        "parameters": manifest.provenance.get("parameters"),
        "backends": {name: manifest.describe_precision(name, item) for name, item in manifest.precision.items()},
        "latency": {
            **{f"{name}_ms": latency.values_ms[name] for name in ("p50", "p99")},
            "tokens": latency.frames["language"],
            "machine": describe_machine()["machine"],
        },
        "data": [*DATA, *([REVIEWS] if options.reviews else [])],
        "terms": TERMS,
        "not_for": list(NOT_FOR),
        "tested": [item.to_json() for item in tested],
        "seed": options.seed,
    }


def format_card(name: str, card: Mapping[str, Any], size: int) -> str:
    """Return the model card in Markdown, with the fields that the Hugging Face hub reads at its beginning."""
    backends = ", ".join(f"{key} {value}" for key, value in card["backends"].items())
    latency = card["latency"]
    model = (
        f"{card['model']}: {card['parameters']:,} parameters, {size / 1e6:.2f} MB",
        f"backends: {backends}. int8 weights have 7 bits, so that no CPU saturates. The GRU and the fusion are float32",
        f"latency: {latency['p50_ms']:.2f} ms for {latency['tokens']} tokens (median), {latency['machine']}, shared",
    )
    terms, data, not_for = card["terms"], _list(card["data"]), _list(card["not_for"])
    return f"""---
language: en
license: other
license_name: research-data
library_name: edge-msa
pipeline_tag: text-classification
tags: [sentiment-analysis, edge, int8, onnx]
---

# {name}

{TITLE}: a bundle for `edge-msa-runtime`.

```
edge-msa-run predict --pretrained {name} "i love it"
```

## Model

{_list(model)}

## Data and terms

{data}

{textwrap.fill(terms, 120)}

## Accuracy

Raw words in, int8, on the test split. In brackets: 95 % intervals from a bootstrap over the videos of the split, for
one training (seed {card["seed"]}).

{_format_tested(card["tested"])}

## It must not be used for

{not_for}

An unknown word is split into known pieces, or ignored, without a warning.
"""


def _list(items: Sequence[str]) -> str:
    return "\n".join(textwrap.fill(f"- {item}", 120, subsequent_indent="  ") for item in items)


def _format_tested(tested: Sequence[Mapping[str, Any]]) -> str:
    """Return a table with the metrics of every corpus, and those of the best constant."""
    rows = [f"| data | {' | '.join(describe(key).title for key in METRICS)} |", f"|---{'|---' * len(METRICS)}|"]
    for item in tested:
        cells = []
        for key, values in item["metrics"].items():
            value, low, high = (describe(key).format(number) for number in values)
            cells.append(f"{value} [{low}, {high}]")
        data = f"{item['data']}: {item['samples']} sentences, {item['groups']} {item['unit']}"
        rows.append(f"| {data} | {' | '.join(cells)} |")
        constants = (describe(key).format(value) for key, value in item["baseline"].items())
        rows.append(f"| *best constant* | {' | '.join(constants)} |")
    return "\n".join(rows)


def publish(name: str, bundle: Path, run: Run, card: dict[str, Any], package: Path) -> None:
    """Write the bundle into the package, and its entry in the index."""
    size = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file() and path.suffix != ".whl")
    golden, parity = golden_arrays(run)
    statements: dict[str, Any] = {"name": name, "license_text": LICENSE, "card": format_card(name, card, size)}
    folder = repack_bundle(bundle, package / name, golden=golden, text_parity=parity, **statements)
    path = package / INDEX_NAME
    models = json.loads(path.read_text(encoding="utf-8"))["models"] if path.exists() else {}
    models[name] = {
        "title": TITLE,
        "sha256": file_sha256(folder / MANIFEST_NAME),
        "bytes": sum(item.stat().st_size for item in folder.rglob("*") if item.is_file()),
        "card": card,
    }
    text = json.dumps({"schema": INDEX_SCHEMA, "models": models}, indent=1) + "\n"
    path.write_text(text, encoding="utf-8")
    print(f"{folder}: {models[name]['bytes'] / 1e6:.2f} MB, manifest {models[name]['sha256']}")


if __name__ == "__main__":
    main()
