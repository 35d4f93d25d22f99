from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from edge_msa.data.dataset import Split
from edge_msa.data.tasks import MOSI
from edge_msa.data.tokenization import TextTokenizer, train_wordpiece_tokenizer
from edge_msa.errors import UsageError
from edge_msa.models.pretrained import load_encoder
from edge_msa.models.student import Student
from edge_msa.models.text_encoders import EmbeddingTableEncoder, TextModel, TransformerTextEncoder
from edge_msa.training.context import Hardware
from edge_msa.training.text.teacher_outputs import Taught, ask, table_of
from edge_msa.training.text.text_input import TextInput, read_text_input, write_text_input
from edge_msa.training.text.train import Stage, TextRecipe, Texts, fit_text_model, read_texts

GOOD, BAD = ("good film", "really good", "good it was"), ("bad film", "really bad", "bad it was")
TEXTS = GOOD + BAD
LABELS = np.array([2.0] * 3 + [-2.0] * 3, np.float32)
QUICK = TextRecipe(
    dim=8, width=8, hidden=8, tokens=2, dropout=0.0, batch_size=3, transfer=Stage(40, 1e-2), final=Stage(40, 1e-2)
)


def table_text_input(dim: int = 8) -> TextInput:
    words = TextTokenizer(train_wordpiece_tokenizer(TEXTS * 5), 16, special=False)
    torch.manual_seed(0)
    return TextInput(words, EmbeddingTableEncoder(words.size, dim))


def split_of(texts: tuple[str, ...], labels: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Split:
    ids = tuple(map(str, range(len(texts))))
    return Split(ids, ids, labels, {}, texts)


def trained(corpora: dict[str, Texts], work: Path, recipe: TextRecipe = QUICK) -> tuple[TextModel, TextInput]:
    text_input = table_text_input(recipe.dim)
    context = Hardware("cpu").start()
    valid = split_of(TEXTS, LABELS)
    result = fit_text_model(text_input, corpora, valid, MOSI, recipe, seed=0, context=context, work_dir=work)
    student = Student(result.config)
    student.load_state_dict({name: torch.from_numpy(value) for name, value in result.weights.items()})
    return TextModel(result.text_input.text_encoder, student), result.text_input


def test_a_reader_learns_words_from_labels(tmp_path: Path) -> None:
    predictions = read_texts(*trained({"final": Texts(TEXTS, LABELS)}, tmp_path), ["good", "bad"])
    assert predictions[0, 0] > 1 > -1 > predictions[1, 0]


def test_texts_without_labels_are_learned_from_teachers(tmp_path: Path) -> None:
    unlabeled = Texts(TEXTS, np.full(6, np.nan, np.float32), LABELS)
    predictions = read_texts(*trained({"transfer": unlabeled}, tmp_path), ["good", "bad"])
    assert predictions[0, 0] > 1 > -1 > predictions[1, 0]


def test_a_training_that_was_interrupted_ends_with_the_same_weights(tmp_path: Path) -> None:
    corpora = {"transfer": Texts(TEXTS, LABELS), "final": Texts(TEXTS, LABELS)}
    recipe = TextRecipe(dim=8, width=8, hidden=8, unknown=0.2, transfer=Stage(2, 1e-2), final=Stage(2, 1e-2))
    once, _ = trained(corpora, tmp_path / "once", recipe)
    trained({"transfer": corpora["transfer"]}, tmp_path / "twice", recipe)
    twice, _ = trained(corpora, tmp_path / "twice", recipe)
    for name, value in once.state_dict().items():
        torch.testing.assert_close(twice.state_dict()[name], value, rtol=0, atol=0)


def test_an_encoder_learns_with_its_word_embeddings_frozen(toy_encoder: Path, tmp_path: Path) -> None:
    loaded = load_encoder(str(toy_encoder))
    words = TextTokenizer(loaded.tokenizer, 16, special=True)
    text_encoder = TransformerTextEncoder(loaded.model)
    before = {name: value.clone() for name, value in text_encoder.state_dict().items()}
    corpora = {"final": Texts(("i love it", "not at all"), np.array([2.0, -2.0], np.float32))}
    recipe = TextRecipe(width=8, hidden=8, final=Stage(2, 1e-3))
    valid = split_of(("love", "not"), np.array([2.0, -2.0], np.float32))
    context = Hardware("cpu").start()
    fit_text_model(
        TextInput(words, text_encoder), corpora, valid, MOSI, recipe, seed=0, context=context, work_dir=tmp_path
    )
    after = text_encoder.state_dict()
    assert torch.equal(
        after["encoder.embeddings.word_embeddings.weight"], before["encoder.embeddings.word_embeddings.weight"]
    )
    changed = "encoder.encoder.layer.0.attention.self.query.weight"
    assert not torch.equal(after[changed], before[changed])


def test_predictions_do_not_depend_on_who_shares_the_batch(toy_encoder: Path) -> None:
    loaded = load_encoder(str(toy_encoder))
    text_input = TextInput(TextTokenizer(loaded.tokenizer, 16, special=True), TransformerTextEncoder(loaded.model))
    torch.manual_seed(0)
    reader = TextModel(text_input.text_encoder, Student(QUICK.student(text_input.text_encoder.dim, MOSI)))
    texts = ["i love it", "not", "at all", "i love it not at all"]
    together = read_texts(reader, text_input, texts)
    alone = np.concatenate([read_texts(reader, text_input, [text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_frames_of_a_dataset_are_those_of_training(toy_encoder: Path) -> None:
    loaded = load_encoder(str(toy_encoder))
    text_input = TextInput(TextTokenizer(loaded.tokenizer, 16, special=True), TransformerTextEncoder(loaded.model))
    torch.manual_seed(0)
    reader = TextModel(text_input.text_encoder, Student(QUICK.student(text_input.text_encoder.dim, MOSI))).eval()
    texts = ["i love it", "", "not"]
    frames = text_input.frames(texts)
    assert frames.valid.sum(axis=1).tolist() == [5, 0, 3]
    with torch.no_grad():
        read = reader.student(
            {"language": torch.from_numpy(frames.take())}, {"language": torch.from_numpy(frames.valid)}
        )
    np.testing.assert_allclose(read.numpy(), read_texts(reader, text_input, texts), atol=1e-5)


@pytest.mark.parametrize("kind", ["table", "encoder"])
def test_a_text_encoder_comes_back_from_its_files(kind: str, toy_encoder: Path, tmp_path: Path) -> None:
    if kind == "table":
        text_input = table_text_input()
        texts = ["good film"]
    else:
        loaded = load_encoder(str(toy_encoder), layers=1)
        text_input = TextInput(TextTokenizer(loaded.tokenizer, 16, special=True), TransformerTextEncoder(loaded.model))
        texts = ["i love it"]
    digest = write_text_input(tmp_path, text_input)
    back = read_text_input(tmp_path, digest)
    np.testing.assert_allclose(back.frames(texts).take(), text_input.frames(texts).take(), atol=1e-6)


def test_a_table_keeps_what_tokens_of_like_meaning_share() -> None:
    words = TextTokenizer(train_wordpiece_tokenizer(["aa bb cc"] * 3), 16, special=False)
    pieces = ("aa", "bb", "cc", "elsewhere")
    means = np.array([[1, 0, 5], [1.1, 0, 5], [-1, 0.5, 5], [0, 0, 5]], np.float32)
    rows = table_of(Taught(np.zeros((1, 1), np.float32), pieces, means, np.array([5, 5, 5, 1])), words, 2)
    place = {piece: rows[words.vocabulary.index(piece)] for piece in ("aa", "bb", "cc")}
    assert np.linalg.norm(place["aa"] - place["bb"]) < 0.2 * np.linalg.norm(place["aa"] - place["cc"])
    assert not rows[words.unknown].any()


def test_a_teacher_is_asked_for_predictions_and_for_the_mean_of_each_token(toy_encoder: Path) -> None:
    loaded = load_encoder(str(toy_encoder))
    text_input = TextInput(TextTokenizer(loaded.tokenizer, 16, special=True), TransformerTextEncoder(loaded.model))
    torch.manual_seed(0)
    reader = TextModel(text_input.text_encoder, Student(QUICK.student(text_input.text_encoder.dim, MOSI)))
    texts = ["love it", "it"]
    taught = ask(reader, text_input, texts)
    np.testing.assert_allclose(taught.predictions, read_texts(reader, text_input, texts), atol=1e-6)
    frames = text_input.frames(texts).take()
    index = taught.pieces.index("it")
    assert taught.counts[index] == 2
    np.testing.assert_allclose(taught.means[index], (frames[0, 2] + frames[1, 1]) / 2, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"unknown": 1.0}, "language.unknown is 1.0"),
        ({"width": 0}, "language.width is 0"),
        ({"max_tokens": 2}, "language.max_tokens is 2"),
        ({"score_loss": "l3"}, "language.score_loss is 'l3'"),
        ({"transfer": Stage(0, 1.0), "final": Stage(0, 1.0)}, "nothing would be learned"),
    ],
)
def test_recipes_that_cannot_work_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TextRecipe(**change)  # type: ignore[arg-type]
