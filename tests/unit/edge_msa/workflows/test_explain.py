from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from markupsafe import escape

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
from tests.unit.edge_msa.reporting.page_json import embedded, look_up

DIMS = {"language": 24, "audio": 16, "vision": 12}
CONFIG = SyntheticConfig(train=32, valid=12, test=8)
ONE = "synthetic/valid/00003"
MODELS = [pytest.param(name, marks=pytest.mark.slow) for name in ("hrlf", "almt", "student")]
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
def pages(toy: Path) -> Callable[[str], str]:
    """Return a function that returns the page of a model, which is written once."""

    @cache
    def page_of(model: str) -> str:
        explain(toy / model, output=toy / f"{model}.html", samples=[ONE])
        return (toy / f"{model}.html").read_text(encoding="utf-8")

    return page_of


@pytest.mark.parametrize("model", MODELS)
def test_pages_are_offline_and_escaped(model: str, pages: Callable[[str], str]) -> None:
    html = pages(model)
    assert "http" not in re.sub(r'xmlns(:xlink)?="[^"]*"', "", html)
    scripts = re.findall(r"<script\b([^>]*)>", html)
    assert scripts == [' type="application/json" id="figures"', ""]
    markup = re.sub(r"<(script|style)\b.*?</\1>", "", html, flags=re.DOTALL)
    assert not re.search(r"<(script|link|img|iframe|b|i)\b", markup)
    assert not re.search(r"@import|url\((?!#)", html)
    assert all(target.startswith(("#", "data:image/png")) for target in re.findall(r'(?:href|src)="([^"]*)', html))
    assert "&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt; costs $5 &amp; &lt;b&gt;" in html
    assert "toy &lt;i&gt;" in html
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))


@pytest.mark.slow
@pytest.mark.case("E7")
def test_figures_depend_on_the_model(pages: Callable[[str], str]) -> None:
    figure_4, figure_6 = "Figure 4 of the ALMT paper", "Figure 6 of the ALMT paper"
    assert figure_4 in pages("almt")
    assert figure_6 in pages("almt")
    for model in ("hrlf", "student"):
        assert figure_4 not in pages(model)
        assert figure_6 not in pages(model)
        assert "only ALMT has them." in pages(model)
    assert all("Figure 5 of the ALMT paper" in html for html in map(pages, ("hrlf", "almt", "student")))
    assert all(
        "How well representations separate the labels" in html for html in map(pages, ("hrlf", "almt", "student"))
    )


@pytest.mark.parametrize("model", MODELS)
def test_every_figure_equals_the_json_of_the_page(model: str, pages: Callable[[str], str]) -> None:
    html, figures = pages(model), embedded(pages(model))
    shown = re.findall(r'<data value="([^"]*)" data-figure="([^"]*)">([^<]*)</data>', html)
    assert len(shown) > 100
    for sort, path, text in shown:
        found = look_up(figures, path)
        values = list(found.values()) if isinstance(found, dict) else found if isinstance(found, list) else [found]
        assert float(sort) == values[0], path
        printed = re.findall(r"[-+]?[\d,]+(?:\.\d+)?", text)
        assert len(printed) == len(values), path
        is_share = path.startswith("shares.")
        for number, value in zip(printed, values, strict=True):
            digits = len(number.partition(".")[2])
            assert float(number.replace(",", "")) == pytest.approx(
                (100 if is_share else 1) * value, abs=0.501 * 10.0**-digits
            ), path


@pytest.mark.parametrize("model", MODELS)
def test_pages_state_what_their_json_states(model: str, pages: Callable[[str], str]) -> None:
    figures = embedded(pages(model))
    for card in figures["summary"]:
        for text in (card["question"], card["headline"], *card["facts"]):
            assert escape(text) in pages(model)
    (sample,) = figures["shown"]
    assert sample["id"] == ONE
    assert list(sample["modalities"]) == ["language", "audio", "vision"]
    for cells in sample["modalities"].values():
        assert len(cells["segments"]) == len(cells["attention"]) == len(cells["effect"])
        assert cells["segments"][-1][1] == cells["frames"]
        assert cells["noise"]["attention"][cells["noise"]["cell"]] is not None
    names = {item["kind"] for item in figures["interventions"]}
    assert names == {"feature", "all features", "removed"}
    assert set(figures["noise"]) == set(DIMS)


@pytest.mark.slow
def test_words_show_their_values_without_script(toy: Path, tmp_path: Path) -> None:
    words = ["<b>größer</b>", "&amp;", "好", '"quoted"', "$5", "السلام"]
    dataset = generate_dataset(CONFIG)
    valid = dataset.split("valid")
    language = valid.modalities["language"]
    lengths = language.lengths
    texts = tuple(" ".join((words * 9)[:length]) for length in lengths)
    splits = {**dataset.splits, "valid": dataclasses.replace(valid, texts=texts)}
    others = {name: dataclasses.replace(split, texts=("",) * len(split)) for name, split in dataset.splits.items()}
    write_archive(dataclasses.replace(dataset, splits={**others, "valid": splits["valid"]}), tmp_path / "words.npz")
    page = explain(toy / "student", data=tmp_path / "words.npz", output=tmp_path / "words.html", samples=[ONE])
    html = page.path.read_text(encoding="utf-8")
    (shown,) = page.record["shown"]
    cells = shown["modalities"]["language"]
    assert cells["words"] == texts[3].split()
    assert "<b>gr" not in html
    items = re.findall(r'<li class="word [^"]*" style="[^"]*" title="([^"]*)"', html)
    assert len(items) == lengths[3]
    stated = [re.match(r"effect ([-+.\d]+), attention ([.\d]+)", item) for item in items]
    for match, effect, attention in zip(stated, cells["effect"], cells["attention"], strict=True):
        assert match is not None
        assert float(match[1]) == pytest.approx(effect, abs=0.00051)
        assert float(match[2]) == pytest.approx(attention, abs=0.0051)
    assert "&lt;b&gt;größer&lt;/b&gt;<span" in html


@pytest.mark.slow
def test_samples_with_one_frame_and_one_video_are_explained(toy: Path, tmp_path: Path) -> None:
    dataset = generate_dataset(CONFIG)
    valid = dataset.split("valid")
    frames = {
        name: dataclasses.replace(item, valid=item.valid & (np.arange(item.length) < 1))
        for name, item in valid.modalities.items()
    }
    short = dataclasses.replace(valid, modalities=frames, groups=("one",) * len(valid))
    write_archive(dataclasses.replace(dataset, splits={**dataset.splits, "valid": short}), tmp_path / "short.npz")
    page = explain(toy / "student", data=tmp_path / "short.npz", output=tmp_path / "short.html", samples=[ONE])
    html = page.path.read_text(encoding="utf-8")
    assert "no sample has two frames of a modality" in html
    assert "This sample has a single audio frame, so all attention on frames goes to it." in html
    assert "samples (too few videos, so intervals are too narrow)" in html
    assert page.record["noise"] == {}


@pytest.mark.slow
def test_equal_runs_give_equal_pages(toy: Path, pages: Callable[[str], str]) -> None:
    explain(toy / "student", output=toy / "again.html", samples=[ONE])
    assert (toy / "again.html").read_text(encoding="utf-8") == pages("student")


@pytest.mark.slow
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


@pytest.mark.slow
def test_emotions_are_shown_as_probabilities(tmp_path: Path) -> None:
    plain = generate_dataset(SyntheticConfig(train=16, valid=24, test=8))
    splits = {name: emotional(split) for name, split in plain.splits.items()}
    dataset = dataclasses.replace(plain, name="felt", task=EMOTIONS, splits=splits)
    write_archive(dataset, tmp_path / "felt.npz")
    page = explain(
        write_untrained(tmp_path, dataset, tmp_path / "felt.npz", "student"), output=tmp_path / "x.html", samples=[ONE]
    )
    content = page.content
    assert content.samples.header[:3] == ["sample", "emotion", "label"]
    assert all(0 <= float(row[3]) <= 1 for row in content.samples.rows)
    html = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert "probability, drawn" in html
    assert "Effects are those on the probability of" in html
    assert ">several or none</text>" in html


def test_a_single_sample_has_no_projection(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["explain", str(toy / "student"), "--data", str(toy / "few.npz"), "--output", str(toy / "few.html")]
    assert edge_msa(line) == 0
    html = (toy / "few.html").read_text(encoding="utf-8")
    assert "lav is not shown: fewer than 10 distinct representations." in html
    assert "How well representations" not in html
    assert "language" in capsys.readouterr().out


@pytest.mark.slow
def test_data_without_a_modality_is_explained(toy: Path, tmp_path: Path) -> None:
    arrays = dict(np.load(toy / "toy.npz"))
    np.savez(tmp_path / "mute.npz", allow_pickle=False, **{n: a for n, a in arrays.items() if "vision" not in n})
    page = explain(toy / "student", data=str(tmp_path / "mute.npz"), output=tmp_path / "mute.html", samples=[ONE])
    content = page.content
    assert [item.modality for item in content.removals] == ["language", "audio"]
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
