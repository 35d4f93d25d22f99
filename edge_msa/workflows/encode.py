"""`edge-msa data encode`: the language stream anew, as a frozen encoder's token features of what was said."""

from __future__ import annotations

from pathlib import Path

from edge_msa.console import made, remark
from edge_msa.data.dataset import Dataset
from edge_msa.data.formats.archive import check_archive_path, write_archive
from edge_msa.data.tokenization import TextTokenizer
from edge_msa.errors import UsageError
from edge_msa.models.pretrained import PretrainedEncoder, load_encoder
from edge_msa.models.text_encoders import TransformerTextEncoder
from edge_msa.training.device import resolve_device
from edge_msa.training.text.apply import with_text_frames
from edge_msa.training.text.text_input import TextInput
from edge_msa.workflows.data import opened


def encode_language(
    source: str,
    output: Path,
    encoder: str,
    *,
    max_tokens: int = 64,
    layers: int | None = None,
    device: str = "auto",
    task_name: str | None = None,
) -> None:
    """Write the file as an archive whose language stream is the encoder's."""
    check_archive_path(output)
    if max_tokens < 3:
        raise UsageError(f"--max-tokens is {max_tokens}; two of them are special, so give at least 3")
    dataset = opened(source, task_name)
    for name, split in dataset.splits.items():
        if not split.texts:
            raise UsageError(f"the {name} split of {source} does not say what was said (raw_text): nothing to encode")
    loaded = load_encoder(encoder, layers=layers, device=resolve_device(device))
    if max_tokens > loaded.longest:
        raise UsageError(f"--max-tokens is {max_tokens}; {encoder} has positions for {loaded.longest}")
    remark(f"encoding with {loaded.name}: {loaded.width} features a token")
    write_archive(encoded(dataset, loaded, max_tokens=max_tokens), output)
    made("archive", output, f"edge-msa train --data {output} --output-dir teacher")


def encoded(dataset: Dataset, encoder: PretrainedEncoder, *, max_tokens: int) -> Dataset:
    """The dataset with that language stream; an utterance without a word has none.

    The encoder's own tokenizer decides about upper case and punctuation.
    """
    text_input = TextInput(
        TextTokenizer(encoder.tokenizer, max_tokens, special=True), TransformerTextEncoder(encoder.model)
    )
    return with_text_frames(dataset, text_input)
