"""What tests of several rooms start from. Read by Python 3.8 too, which has no torch: imports are inside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "i", "love", "it", "not", "at", "all")


@pytest.fixture(scope="session")
def toy_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a BERT of 16 features, 2 layers and six words."""
    import torch
    from transformers import BertConfig, BertModel

    path = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
    )
    BertModel(config).save_pretrained(path)
    (path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    (path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": True}))
    return path
