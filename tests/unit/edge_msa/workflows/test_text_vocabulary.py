from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import edge_msa as em
from edge_msa.artifacts.runs import Run, load_run
from edge_msa.config.students import TextRecipe, TextStage
from edge_msa.errors import DataError, RunUsageError
from edge_msa.models.text_encoders import TransformerTextEncoder
from edge_msa.training.text.load import load_text_input, load_text_model
from edge_msa.training.text.train import predict_texts
from edge_msa_runtime import load
from tests.tokenizers import CHINESE, bert, byte_level_bpe, unigram
from tests.toy_encoders import write_encoder

GOOD = ("我很喜欢这部电影。太好看了", "这部电影太好了", "😍 很好看")
BAD = ("我不喜欢这部电影", "这部电影很糟糕。", "太糟糕了")
OTHERS = ("a really good film", "das ist schön", "यह अच्छी है।")
TEXTS = (*GOOD, *BAD, *OTHERS, *CHINESE) * 4
STAGE = TextStage(epochs=1, learning_rate=1e-3)
RECIPE = TextRecipe(dim=8, width=8, hidden=8, tokens=2, max_tokens=16, batch_size=3, final=STAGE).model_dump()
TOKENIZERS: dict[str, tuple[Callable[[], str], str]] = {
    "cased wordpieces": (lambda: bert(TEXTS, lowercase=False), "BertTokenizer"),
    "unigram": (lambda: unigram(TEXTS), "XLMRobertaTokenizer"),
    "byte-level": (lambda: byte_level_bpe(TEXTS), "RobertaTokenizer"),
}


def write_chinese(path: Path) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label", "mode"])
        for split in ("train", "valid", "test"):
            writer.writerows([text, score, split] for score, texts in ((0.8, GOOD), (-0.8, BAD)) for text in texts)
    return path


@pytest.fixture(scope="module")
def chinese(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_chinese(tmp_path_factory.mktemp("chinese") / "chinese.csv")


def train(name: str, chinese: Path, folder: Path) -> Run:
    build, tokenizer_class = TOKENIZERS[name]
    encoder = write_encoder(folder / "encoder", build(), tokenizer_class)
    return em.train_text(chinese, encoder=encoder, output_dir=folder / "run", recipe=RECIPE, task="sims")


@pytest.fixture(scope="module")
def xlmr_run(chinese: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train("unigram", chinese, tmp_path_factory.mktemp("xlmr"))


def test_transcripts_that_the_model_does_not_know_are_refused(chinese: Path, tmp_path: Path) -> None:
    model = em.train_text(chinese, encoder="wordpieces", output_dir=tmp_path / "run", recipe=RECIPE, task="sims")
    german = tmp_path / "german.csv"
    german.write_text("text,label,mode\ngrüße,0.5,train\nschön,0.2,valid\n", "utf-8")
    with pytest.raises(em.UsageError, match=r"does not know \d+ % of the tokens .* language of the model"):
        em.prune_vocabulary(model, transcripts=german, output_dir=tmp_path / "small")
    assert not (tmp_path / "small").exists()


def test_predictions_for_the_transcripts_stay_the_same(xlmr_run: Run, chinese: Path, tmp_path: Path) -> None:
    small = em.prune_vocabulary(xlmr_run, transcripts=chinese, output_dir=tmp_path / "small")
    (before, old), (after, new) = (load_text_model(run) for run in (xlmr_run, small))
    assert new.tokenizer.size < old.tokenizer.size
    texts = [*GOOD, *BAD, "好", ""]
    np.testing.assert_array_equal(predict_texts(before, old, texts), predict_texts(after, new, texts))
    assert isinstance(after.text_encoder, TransformerTextEncoder)
    assert after.text_encoder.first_position == 2
    assert after.text_encoder.encoder.config.vocab_size == new.tokenizer.size
    assert small.spec.features["language"].version != xlmr_run.spec.features["language"].version


def test_a_file_of_words_keeps_their_tokens(xlmr_run: Run, chinese: Path, tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("यह 120\nअच्छी 7\n", encoding="utf-8")
    sizes = [
        load_text_input(em.prune_vocabulary(xlmr_run, transcripts=chinese, words=item, output_dir=tmp_path / name))
        for name, item in (("without", None), ("with", words))
    ]
    assert sizes[0].tokenizer.size < sizes[1].tokenizer.size


def test_a_table_is_pruned_like_an_encoder(chinese: Path, tmp_path: Path) -> None:
    run = em.train_text(chinese, encoder="wordpieces", output_dir=tmp_path / "run", recipe=RECIPE, task="sims")
    fewer = tmp_path / "fewer.csv"
    fewer.write_text("text,mode\n这部电影很糟糕。,train\n", encoding="utf-8")
    small = em.prune_vocabulary(run, transcripts=fewer, output_dir=tmp_path / "small")
    (before, old), (after, new) = (load_text_model(item) for item in (run, small))
    assert "😍" in old.tokenizer.vocabulary  # emoji are kept, as no letters
    np.testing.assert_array_equal(predict_texts(before, old, [BAD[1]]), predict_texts(after, new, [BAD[1]]))


def test_only_text_models_and_transcripts_with_texts_are_taken(xlmr_run: Run, tmp_path: Path) -> None:
    empty = tmp_path / "test_only.csv"
    empty.write_text("text,mode\n好,test\n", encoding="utf-8")
    with pytest.raises(DataError, match="has no texts in the train and valid splits"):
        em.prune_vocabulary(xlmr_run, transcripts=empty, output_dir=tmp_path / "small")
    with pytest.raises(RunUsageError):
        em.prune_vocabulary(tmp_path / "none", transcripts=empty, output_dir=tmp_path / "small")


@pytest.mark.slow
@pytest.mark.parametrize("name", TOKENIZERS)
def test_every_tokenizer_works_from_the_encoder_to_the_device(name: str, chinese: Path, tmp_path: Path) -> None:
    run = train(name, chinese, tmp_path)
    small = em.prune_vocabulary(run, transcripts=chinese, output_dir=tmp_path / "small")
    calibrated = em.calibrate(small, output_dir=tmp_path / "calibrated")
    bundle = em.export(calibrated, target="laptop-x86", output_dir=tmp_path / "b", allow_worse_than_constant=True)
    model, text_input = load_text_model(load_run(run.path))
    texts = [*GOOD, *BAD, "我爱电影"]
    expected = predict_texts(model, text_input, texts)[:, 0]
    with load(bundle.path, backend="onnxruntime", precision="fp32") as session:
        actual = [float(session.predict(text=text).outputs[0]) for text in texts]
    np.testing.assert_allclose(np.array(actual), np.array(expected), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["unigram", "byte-level"])
def test_a_table_of_any_tokenizer_works_from_the_teacher_to_the_device(
    name: str, chinese: Path, tmp_path: Path
) -> None:
    teacher = train(name, chinese, tmp_path)
    table = em.distill_text(teacher, transcripts=chinese, output_dir=tmp_path / "table", recipe=RECIPE)
    calibrated = em.calibrate(table, output_dir=tmp_path / "calibrated")
    bundle = em.export(calibrated, target="laptop-x86", output_dir=tmp_path / "b", allow_worse_than_constant=True)
    model, text_input = load_text_model(table)
    expected = predict_texts(model, text_input, [GOOD[0]])[0, 0]
    with load(bundle.path, backend="onnxruntime", precision="fp32") as session:
        assert session.predict(text=GOOD[0]).score == pytest.approx(expected, abs=0.02)  # rows are int8
        stream = session.create_stream()
        stream.push_text(GOOD[0])
        assert stream.predict().score == pytest.approx(session.predict(text=GOOD[0]).score, abs=1e-4)
