"""`edge-msa data encode`: the language stream anew, as a frozen encoder's token features of what was said."""

from __future__ import annotations

from pathlib import Path

from edge_msa.data.archive import check_archive_path, write_archive
from edge_msa.data.dataset import Dataset
from edge_msa.data.words import Words
from edge_msa.errors import UsageError
from edge_msa.flow.console import made, remark
from edge_msa.flow.data import opened
from edge_msa.flow.spoken import spoken_in
from edge_msa.models.fronts import EncoderFront
from edge_msa.models.language import LanguageEncoder, load_encoder
from edge_msa.training.device import resolve_device
from edge_msa.training.spoken import Spoken


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


def encoded(dataset: Dataset, encoder: LanguageEncoder, *, max_tokens: int) -> Dataset:
    """The dataset with that language stream; an utterance without a word has none.

    The encoder's own tokenizer decides about upper case and punctuation.
    """
    spoken = Spoken(Words(encoder.tokenizer, max_tokens, special=True), EncoderFront(encoder.model))
    return spoken_in(dataset, spoken)
