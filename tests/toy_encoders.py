"""Small encoders with random weights, as folders in the format of the transformers package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel, XLMRobertaConfig, XLMRobertaModel

_SIZES: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
_ROBERTA: dict[str, Any] = {"type_vocab_size": 1, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
_CLASSES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "BertTokenizer": (BertConfig, BertModel, {}),
    "RobertaTokenizer": (RobertaConfig, RobertaModel, _ROBERTA),
    "XLMRobertaTokenizer": (XLMRobertaConfig, XLMRobertaModel, _ROBERTA),
}


def write_encoder(folder: Path, tokenizer: str, tokenizer_class: str, *, positions: int = 40) -> Path:
    """Write an encoder of two layers with a tokenizer in the format of the tokenizers library."""
    from tokenizers import Tokenizer

    folder.mkdir(parents=True)
    (folder / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
    bert = tokenizer_class == "BertTokenizer"
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    tokens = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]") if bert else ("<pad>", "<unk>", "<s>", "</s>", "<mask>")
    config = {"tokenizer_class": tokenizer_class, **dict(zip(names, tokens, strict=True))}
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"do_lower_case": False}), encoding="utf-8")
    config_class, model_class, special = _CLASSES[tokenizer_class]
    size = Tokenizer.from_str(tokenizer).get_vocab_size()
    torch.manual_seed(0)
    model_class(config_class(vocab_size=size, max_position_embeddings=positions, **_SIZES, **special)).save_pretrained(
        folder
    )
    return folder
