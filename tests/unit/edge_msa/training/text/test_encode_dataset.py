from __future__ import annotations

from pathlib import Path

import pytest

from edge_msa.data.dataset import Dataset, Split, SplitName
from edge_msa.data.tasks import MOSI
from edge_msa.training.context import Hardware
from edge_msa.training.text.encode_dataset import encode_texts
from edge_msa.training.text.text_input import TextInput
from edge_msa.training.text.train import Corpus, fit_text_model
from edge_msa_runtime.features import FeatureSource
from tests.unit.edge_msa.training.text.toy_text import LABELS, QUICK, STAGE, TEXTS, make_table_input, split_of

LONG = ("good film " * 10, *TEXTS[1:])


@pytest.fixture
def text_input() -> TextInput:
    return make_table_input()


@pytest.mark.case("F8")
@pytest.mark.usefixtures("printing")
def test_encoding_a_dataset_notes_the_texts_that_are_cut(
    text_input: TextInput, capsys: pytest.CaptureFixture[str]
) -> None:
    splits: dict[SplitName, Split] = {"train": split_of(TEXTS, LABELS), "test": split_of(LONG, LABELS)}
    dataset = Dataset("toy", MOSI, splits, "digest")
    for _ in range(2):
        encoded = encode_texts(dataset, text_input, FeatureSource("toy"))
        assert encoded.features == {"language": FeatureSource("toy")}
    notes = capsys.readouterr().err.splitlines()
    assert notes == [
        "note: in the test split of toy, 1 of 6 texts has more than 16 tokens; the end is not used (4 of 32 tokens)"
    ]


@pytest.mark.case("F8")
@pytest.mark.usefixtures("printing")
def test_training_a_text_model_notes_the_texts_that_are_cut(
    text_input: TextInput, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = STAGE.model_copy(update={"epochs": 1})
    recipe = QUICK.model_copy(update={"transfer": stage, "final": stage})
    corpora = {"final": Corpus(LONG, LABELS)}
    valid = split_of(TEXTS, LABELS)
    context = Hardware("cpu").start()
    fit_text_model(text_input, corpora, valid, MOSI, recipe, seed=0, context=context, work_dir=tmp_path)
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note:")]
    assert len(notes) == 1
    assert notes[0].startswith("note: in the final stage, 1 of 6 texts has more than 16 tokens")
