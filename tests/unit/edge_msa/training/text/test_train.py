from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from edge_msa.config.students import TextRecipe, TextStage
from edge_msa.data.dataset import Split
from edge_msa.data.tasks import MOSI
from edge_msa.data.tokenization import TextTokenizer, train_wordpiece_tokenizer
from edge_msa.models.pretrained import load_encoder
from edge_msa.models.student import Student
from edge_msa.models.text_encoders import EmbeddingTableEncoder, TextModel, TransformerTextEncoder
from edge_msa.training.context import Hardware
from edge_msa.training.text.teacher_outputs import TeacherOutputs, compute_outputs, compute_table
from edge_msa.training.text.text_input import TextInput, load_text_input_files, write_text_input
from edge_msa.training.text.train import Corpus, fit_text_model, predict_texts
from tests.tolerances import assert_close_to_scale

GOOD, BAD = ("good film", "really good", "good it was"), ("bad film", "really bad", "bad it was")
TEXTS = GOOD + BAD
LABELS = np.array([2.0] * 3 + [-2.0] * 3, np.float32)
STAGE = TextStage(epochs=40, learning_rate=1e-2)
QUICK = TextRecipe(dim=8, width=8, hidden=8, tokens=2, dropout=0.0, batch_size=3, transfer=STAGE, final=STAGE)


def make_table_input(dim: int = 8) -> TextInput:
    tokenizer = TextTokenizer(train_wordpiece_tokenizer(TEXTS * 5), 16, special=False)
    torch.manual_seed(0)
    return TextInput(tokenizer, EmbeddingTableEncoder(tokenizer.size, dim))


def split_of(texts: tuple[str, ...], labels: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Split:
    ids = tuple(map(str, range(len(texts))))
    return Split(ids, ids, labels, {}, texts)


def trained(corpora: dict[str, Corpus], work: Path, recipe: TextRecipe = QUICK) -> tuple[TextModel, TextInput]:
    text_input = make_table_input(recipe.dim)
    context = Hardware("cpu").start()
    valid = split_of(TEXTS, LABELS)
    result = fit_text_model(text_input, corpora, valid, MOSI, recipe, seed=0, context=context, work_dir=work)
    student = Student(result.config)
    student.load_state_dict({name: torch.from_numpy(value) for name, value in result.weights.items()})
    return TextModel(result.text_input.text_encoder, student), result.text_input


def test_text_model_learns_from_labels(tmp_path: Path) -> None:
    predictions = predict_texts(*trained({"final": Corpus(TEXTS, LABELS)}, tmp_path), ["good", "bad"])
    assert predictions[0, 0] > 1 > -1 > predictions[1, 0]


def test_unlabeled_texts_use_only_the_teachers(tmp_path: Path) -> None:
    unlabeled = Corpus(TEXTS, np.full(6, np.nan, np.float32), LABELS)
    predictions = predict_texts(*trained({"transfer": unlabeled}, tmp_path), ["good", "bad"])
    assert predictions[0, 0] > 1 > -1 > predictions[1, 0]


def test_resumed_training_gives_identical_weights(tmp_path: Path) -> None:
    corpora = {"transfer": Corpus(TEXTS, LABELS), "final": Corpus(TEXTS, LABELS)}
    recipe = TextRecipe(
        dim=8,
        width=8,
        hidden=8,
        unknown_rate=0.2,
        transfer=TextStage(epochs=2, learning_rate=1e-2),
        final=TextStage(epochs=2, learning_rate=1e-2),
    )
    once, _ = trained(corpora, tmp_path / "once", recipe)
    trained({"transfer": corpora["transfer"]}, tmp_path / "twice", recipe)
    twice, _ = trained(corpora, tmp_path / "twice", recipe)
    for name, value in once.state_dict().items():
        torch.testing.assert_close(twice.state_dict()[name], value, rtol=0, atol=0)


def test_encoder_is_trained_with_frozen_word_embeddings(toy_encoder: Path, tmp_path: Path) -> None:
    loaded = load_encoder(str(toy_encoder))
    tokenizer = TextTokenizer(loaded.tokenizer, 16, special=True)
    text_encoder = TransformerTextEncoder(loaded.model)
    before = {name: value.clone() for name, value in text_encoder.state_dict().items()}
    corpora = {"final": Corpus(("i love it", "not at all"), np.array([2.0, -2.0], np.float32))}
    recipe = TextRecipe(width=8, hidden=8, final=TextStage(epochs=2, learning_rate=1e-3))
    valid = split_of(("love", "not"), np.array([2.0, -2.0], np.float32))
    context = Hardware("cpu").start()
    fit_text_model(
        TextInput(tokenizer, text_encoder), corpora, valid, MOSI, recipe, seed=0, context=context, work_dir=tmp_path
    )
    after = text_encoder.state_dict()
    assert torch.equal(
        after["encoder.embeddings.word_embeddings.weight"], before["encoder.embeddings.word_embeddings.weight"]
    )
    changed = "encoder.encoder.layer.0.attention.self.query.weight"
    assert not torch.equal(after[changed], before[changed])


def test_predictions_do_not_depend_on_the_batch(toy_encoder: Path) -> None:
    loaded = load_encoder(str(toy_encoder))
    text_input = TextInput(TextTokenizer(loaded.tokenizer, 16, special=True), TransformerTextEncoder(loaded.model))
    torch.manual_seed(0)
    model = TextModel(text_input.text_encoder, Student(QUICK.network_config(text_input.text_encoder.dim, MOSI)))
    texts = ["i love it", "not", "at all", "i love it not at all"]
    together = predict_texts(model, text_input, texts)
    alone = np.concatenate([predict_texts(model, text_input, [text]) for text in texts])
    assert_close_to_scale(torch.from_numpy(together), torch.from_numpy(alone))


def test_frames_give_the_predictions_of_the_texts(toy_encoder: Path) -> None:
    loaded = load_encoder(str(toy_encoder))
    text_input = TextInput(TextTokenizer(loaded.tokenizer, 16, special=True), TransformerTextEncoder(loaded.model))
    torch.manual_seed(0)
    model = TextModel(text_input.text_encoder, Student(QUICK.network_config(text_input.text_encoder.dim, MOSI))).eval()
    texts = ["i love it", "", "not"]
    frames = text_input.frames(texts)
    assert frames.valid.sum(axis=1).tolist() == [5, 0, 3]
    with torch.no_grad():
        predictions = model.student(
            {"language": torch.from_numpy(frames.take())}, {"language": torch.from_numpy(frames.valid)}
        )
    assert_close_to_scale(predictions, torch.from_numpy(predict_texts(model, text_input, texts)))


@pytest.mark.parametrize("kind", ["table", "encoder"])
def test_text_encoder_is_restored_from_its_files(kind: str, toy_encoder: Path, tmp_path: Path) -> None:
    if kind == "table":
        text_input = make_table_input()
        texts = ["good film"]
    else:
        loaded = load_encoder(str(toy_encoder), layers=1)
        text_input = TextInput(TextTokenizer(loaded.tokenizer, 16, special=True), TransformerTextEncoder(loaded.model))
        texts = ["i love it"]
    digest = write_text_input(tmp_path, text_input)
    restored = load_text_input_files(tmp_path, digest)
    np.testing.assert_array_equal(restored.frames(texts).take(), text_input.frames(texts).take())


def test_table_rows_of_similar_tokens_are_close() -> None:
    tokenizer = TextTokenizer(train_wordpiece_tokenizer(["aa bb cc"] * 3), 16, special=False)
    tokens = ("aa", "bb", "cc", "elsewhere")
    means = np.array([[1, 0, 5], [1.1, 0, 5], [-1, 0.5, 5], [0, 0, 5]], np.float32)
    outputs = TeacherOutputs(np.zeros((1, 1), np.float32), tokens, means, np.array([5, 5, 5, 1]))
    rows = compute_table(outputs, tokenizer, 2)
    by_token = {token: rows[tokenizer.vocabulary.index(token)] for token in ("aa", "bb", "cc")}
    assert np.linalg.norm(by_token["aa"] - by_token["bb"]) < 0.2 * np.linalg.norm(by_token["aa"] - by_token["cc"])
    assert not rows[tokenizer.unknown].any()


def test_teacher_outputs_contain_predictions_and_mean_frames(toy_encoder: Path) -> None:
    loaded = load_encoder(str(toy_encoder))
    text_input = TextInput(TextTokenizer(loaded.tokenizer, 16, special=True), TransformerTextEncoder(loaded.model))
    torch.manual_seed(0)
    model = TextModel(text_input.text_encoder, Student(QUICK.network_config(text_input.text_encoder.dim, MOSI)))
    texts = ["love it", "it"]
    outputs = compute_outputs(model, text_input, texts)
    assert_close_to_scale(
        torch.from_numpy(outputs.predictions), torch.from_numpy(predict_texts(model, text_input, texts))
    )
    frames = text_input.frames(texts).take()
    index = outputs.tokens.index("it")
    assert outputs.counts[index] == 2
    assert_close_to_scale(torch.from_numpy(outputs.means[index]), torch.from_numpy((frames[0, 2] + frames[1, 1]) / 2))
