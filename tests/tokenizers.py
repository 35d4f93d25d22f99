"""Small tokenizers of every kind, trained on a few texts, as JSON of the tokenizers library."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

CHINESE = ("我不喜欢这部电影！太糟糕了。", "我很喜欢这部电影。太好看了！", "这部电影很糟糕。")  # noqa: RUF001 - as in Chinese texts
ROBERTA_TOKENS = ("<s>", "<pad>", "</s>", "<unk>")


def bert(texts: Sequence[str], *, lowercase: bool) -> str:
    """Return wordpieces with the special tokens of BERT."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token=special[1]))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=600, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return str(tokenizer.to_str())


def unigram(texts: Sequence[str], size: int = 300) -> str:
    """Return the pieces of SentencePiece with the special tokens of XLM-R."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=size, special_tokens=[*ROBERTA_TOKENS], unk_token=ROBERTA_TOKENS[3], show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens(["<mask>"])
    tokenizer.post_processor = _roberta_template()
    return str(tokenizer.to_str())


def byte_level_bpe(texts: Sequence[str], size: int = 500) -> str:
    """Return the pieces of RoBERTa, which are merged from bytes."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[*ROBERTA_TOKENS, "<mask>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    tokenizer.post_processor = _roberta_template()
    return str(tokenizer.to_str())


def tokens_of(tokenizer: str, text: str) -> list[str]:
    """Return the tokens of a text without special tokens."""
    return list(Tokenizer.from_str(tokenizer).encode(text, add_special_tokens=False).tokens)


def _roberta_template() -> processors.TemplateProcessing:
    return processors.TemplateProcessing("<s> $A </s>", "<s> $A </s> </s> $B </s>", [("<s>", 0), ("</s>", 2)])
