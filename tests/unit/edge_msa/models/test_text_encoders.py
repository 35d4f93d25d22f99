from __future__ import annotations

from pathlib import Path

import pytest
import torch

from edge_msa.data.tokenization import TextTokenizer
from edge_msa.models.pretrained import load_encoder
from edge_msa.models.text_encoders import TransformerTextEncoder
from edge_msa_export.graphs.onnx_export import export_onnx
from edge_msa_export.graphs.text_encoder import build_text_encoder_modules
from edge_msa_export.text import TextGraph
from tests.tokenizers import CHINESE, tokens_of, unigram
from tests.toy_encoders import write_encoder

TEXTS = (*CHINESE, "I love ﬁlms", "schöne Übergröße")  # the ligature becomes two letters


@pytest.fixture(scope="module")
def xlmr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder whose first token has position 2."""
    return write_encoder(tmp_path_factory.mktemp("xlmr") / "xlmr", unigram(TEXTS * 4), "XLMRobertaTokenizer")


def test_the_normalizer_of_tokenizer_json_is_kept(xlmr: Path) -> None:
    loaded = load_encoder(str(xlmr)).tokenizer
    for text in TEXTS:
        assert tokens_of(loaded, text) == tokens_of((xlmr / "tokenizer.json").read_text(), text)
    assert tokens_of(loaded, "ﬁlms") == tokens_of(loaded, "films")


def test_frames_are_those_of_transformers(xlmr: Path) -> None:
    loaded = load_encoder(str(xlmr))
    tokenizer = TextTokenizer(loaded.tokenizer, loaded.max_tokens, special=True)
    encoder = TransformerTextEncoder(loaded.model).eval()
    short, long = sorted(map(torch.from_numpy, tokenizer.ids(TEXTS)), key=len)[::4]
    ids = torch.zeros(2, len(long), dtype=torch.long)
    ids[0, : len(short)], ids[1] = short, long
    valid = torch.arange(len(long)) < torch.tensor([[len(short)], [len(long)]])
    with torch.no_grad():
        frames = encoder(ids, valid)
        for row, tokens in enumerate((short, long)):
            expected = loaded.model(input_ids=tokens[None]).last_hidden_state[0]
            torch.testing.assert_close(frames[row, : len(tokens)], expected, rtol=1e-5, atol=1e-5)


def test_positions_before_the_first_token_are_not_used(xlmr: Path) -> None:
    loaded = load_encoder(str(xlmr))
    assert loaded.max_tokens == 40 - 2
    encoder = TransformerTextEncoder(loaded.model).eval()
    assert encoder.max_tokens == 40 - 2
    ids = torch.ones(1, encoder.max_tokens, dtype=torch.long)
    assert encoder(ids, torch.ones(1, encoder.max_tokens)).shape == (1, 38, 16)


@pytest.mark.slow
def test_positions_are_constants_in_the_graph(xlmr: Path) -> None:
    encoder = TransformerTextEncoder(load_encoder(str(xlmr)).model).eval().exportable()
    (module,) = build_text_encoder_modules(TextGraph("", encoder, encoder.dim, 16), [16]).values()
    operators = {node.op_type for node in export_onnx(module).graph.node}
    assert not operators & {"CumSum", "Range", "NonZero", "Not"}
