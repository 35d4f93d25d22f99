from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from edge_msa.artifacts.model_spec import ModelSpec
from edge_msa.artifacts.runs import RunInfo, RunKind, load_run, new_run, write_run
from edge_msa.cli import run as edge_msa
from edge_msa.data.dataset import Dataset, Split
from edge_msa.data.formats.archive import write_archive
from edge_msa.data.synthetic.generator import SyntheticConfig, generate_dataset
from edge_msa.data.tasks import EMOTIONS
from edge_msa.evaluation.predictors import run_predictor
from edge_msa.models.almt import Almt, AlmtConfig
from edge_msa.models.hrlf import Hrlf, HrlfConfig
from edge_msa.models.student import Student, StudentConfig
from edge_msa.training.predict import weights_to_numpy
from edge_msa.workflows.explain import explain
from edge_msa_runtime.modalities import Subset

DIMS = {"language": 24, "audio": 16, "vision": 12}
CONFIG = SyntheticConfig(train=32, valid=12, test=8)
ONE = "synthetic/valid/00003"
TEXT = 'it <script>alert("x")</script> costs $5 & <b>more</b>'


def with_texts(dataset: Dataset) -> Dataset:
    """Return the dataset with texts that must be escaped."""
    splits = {name: dataclasses.replace(split, texts=(TEXT,) * len(split)) for name, split in dataset.splits.items()}
    return dataclasses.replace(dataset, name="toy <i>", splits=splits)


def emotional(split: Split) -> Split:
    labels = np.eye(4, dtype=np.float32)[np.arange(len(split)) % 4]
    return dataclasses.replace(split, labels=labels)


def write_untrained(folder: Path, dataset: Dataset, source: Path, model: str) -> Path:
    """Write a run with random weights, which suffice for a page."""
    outputs = dataset.task.outputs
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        networks: dict[str, Hrlf | Almt | Student] = {
            "hrlf": Hrlf(HrlfConfig(DIMS, d=8, heads=2, outputs=outputs)),
            "almt": Almt(AlmtConfig(DIMS, dataset.windows, tokens=2, outputs=outputs)),
            "student": Student(StudentConfig(DIMS, width=8, blocks=1, hidden=8, outputs=outputs)),
        }
    network = networks[model]
    kind: RunKind = "student" if model == "student" else "teacher"
    spec = ModelSpec.for_training(dataset, str(source))
    info = RunInfo(kind, model, "train", model, 0, {}, dataclasses.asdict(network.config), spec, {}, {})
    with new_run(folder / model, model) as work:
        write_run(work, info, weights_to_numpy(network), [])
    return folder / model


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with toy.npz, few.npz (one validation sample), and a run of each model."""
    folder = tmp_path_factory.mktemp("toy")
    dataset = with_texts(generate_dataset(CONFIG))
    write_archive(dataset, folder / "toy.npz")
    one = dataset.split("valid").select(np.array([0]))
    write_archive(dataclasses.replace(dataset, splits={**dataset.splits, "valid": one}), folder / "few.npz")
    for model in ("hrlf", "almt", "student"):
        write_untrained(folder, dataset, folder / "toy.npz", model)
    return folder


@pytest.fixture(scope="module")
def pages(toy: Path) -> dict[str, str]:
    """Return the page of each model."""
    html = {}
    for model in ("hrlf", "almt", "student"):
        explain(toy / model, output=toy / f"{model}.html", samples=[ONE])
        html[model] = (toy / f"{model}.html").read_text(encoding="utf-8")
    return html


@pytest.mark.parametrize("model", ["hrlf", "almt", "student"])
def test_pages_are_offline_and_escaped(model: str, pages: dict[str, str]) -> None:
    html = pages[model]
    assert "http" not in re.sub(r'xmlns(:xlink)?="[^"]*"', "", html)
    assert not re.search(r"<(script|link|img|iframe|b|i)\b", html)
    assert all(target.startswith(("#", "data:image/png")) for target in re.findall(r'(?:href|src)="([^"]*)', html))
    assert "&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt; costs $5 &amp; &lt;b&gt;" in html
    assert "toy &lt;i&gt;" in html
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))


@pytest.mark.case("E7")
def test_figures_depend_on_the_model(pages: dict[str, str]) -> None:
    figure_4, figure_6 = "Figure 4 of the ALMT paper", "Figure 6 of the ALMT paper"
    assert figure_4 in pages["almt"]
    assert figure_6 in pages["almt"]
    for model, rows in {"hrlf": "head", "student": "pooled token"}.items():
        assert figure_4 not in pages[model]
        assert figure_6 not in pages[model]
        assert "only ALMT has them." in pages[model]
        assert f">{rows}</text>" in pages[model]
    assert all("How well representations separate the labels" in html for html in pages.values())


def test_equal_runs_give_equal_pages(toy: Path, pages: dict[str, str]) -> None:
    explain(toy / "student", output=toy / "again.html", samples=[ONE])
    assert (toy / "again.html").read_text(encoding="utf-8") == pages["student"]


def test_json_has_the_predictions_of_the_run(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["explain", str(toy / "hrlf"), "--sample", ONE, "--split", "valid", "--json"]
    assert edge_msa([*line, "--output", str(toy / "one.html")]) == 0
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    split = generate_dataset(CONFIG).split("valid")
    predict = run_predictor(load_run(toy / "hrlf"))
    predictions = record["predictions"][ONE]
    assert list(record["predictions"]) == [ONE]
    for subset in Subset:
        assert predictions[subset.value][0] == pytest.approx(float(predict(split, subset)[3]), abs=1e-6)
    whole, rest = predict(split, Subset.LAV), predict(split, Subset.AV)
    removed = record["removal"]["language"]
    assert removed["mean_change"] == pytest.approx(float(np.abs(rest - whole).mean()), rel=1e-5)
    assert removed["error"] == pytest.approx(float(np.abs(whole - split.labels).mean()), rel=1e-5)
    assert removed["error_without"] == pytest.approx(float(np.abs(rest - split.labels).mean()), rel=1e-5)


def test_emotions_are_shown_as_probabilities(tmp_path: Path) -> None:
    plain = generate_dataset(SyntheticConfig(train=16, valid=24, test=8))
    splits = {name: emotional(split) for name, split in plain.splits.items()}
    dataset = dataclasses.replace(plain, name="felt", task=EMOTIONS, splits=splits)
    write_archive(dataset, tmp_path / "felt.npz")
    page = explain(
        write_untrained(tmp_path, dataset, tmp_path / "felt.npz", "almt"), output=tmp_path / "x.html", samples=[ONE]
    )
    content = page.content
    assert content.samples.header[:3] == ["sample", "emotion", "label"]
    assert all(0 <= float(row[3]) <= 1 for row in content.samples.rows)
    html = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert "probability (0 to 1)" in html
    assert ">several or none</text>" in html


def test_a_single_sample_has_no_projection(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["explain", str(toy / "almt"), "--data", str(toy / "few.npz"), "--output", str(toy / "few.html")]
    assert edge_msa(line) == 0
    html = (toy / "few.html").read_text(encoding="utf-8")
    assert "lav is not shown: fewer than 10 distinct representations." in html
    assert "How well representations" not in html
    assert "language" in capsys.readouterr().out


def test_data_without_a_modality_is_explained(toy: Path, tmp_path: Path) -> None:
    arrays = dict(np.load(toy / "toy.npz"))
    np.savez(tmp_path / "mute.npz", allow_pickle=False, **{n: a for n, a in arrays.items() if "vision" not in n})
    page = explain(toy / "almt", data=str(tmp_path / "mute.npz"), output=tmp_path / "mute.html", samples=[ONE])
    content = page.content
    assert content.summary[-1] == "The split has no vision."
    assert "Results on vision: the split has no frames of it." in content.omissions
    assert not any("vision" in name for name in content.samples.header)


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("{toy}", 2, "is not a run folder"),
        ("{toy}/nowhere", 2, "nowhere does not exist"),
        ("{toy}/hrlf --sample synthetic/valid/3", 2, "The closest of 12 ids is 'synthetic/valid/000"),
        ("{toy}/hrlf --data {toy}/wide.npz", 1, "audio must have 16 features per frame, got 5 in toy <i>"),
        ("{toy}/hrlf --data {toy}/silent.npz", 1, "valid split of toy <i> has a valid frame"),
        ("{toy}/hrlf --output {toy}", 2, "is a folder"),
        ("{toy}/hrlf --split tset", 2, "must be one of train, valid, test, got 'tset'"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    line: str, code: int, words: str, toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arrays = dict(np.load(toy / "toy.npz"))
    wide = {name: array[..., :5] for name, array in arrays.items() if name.endswith("/audio")}
    silent = {
        name: np.zeros_like(array) for name, array in arrays.items() if name.startswith("valid/") and "_valid" in name
    }
    np.savez(toy / "wide.npz", allow_pickle=False, **{**arrays, **wide})
    np.savez(toy / "silent.npz", allow_pickle=False, **{**arrays, **silent})
    arguments = ["explain", *line.replace("{toy}", str(toy)).split()]
    arguments += [] if "--output" in arguments else ["--output", str(tmp_path / "page.html")]
    assert edge_msa(arguments) == code
    lines = [one for one in capsys.readouterr().err.splitlines() if not one.startswith("note: ")]
    assert len(lines) == 1
    assert words in lines[0]
    assert list(tmp_path.iterdir()) == []
