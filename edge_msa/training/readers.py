"""From a language run back to its reader."""

from __future__ import annotations

from edge_msa.contract import Contract
from edge_msa.errors import RunUsageError
from edge_msa.models.fronts import LanguageReader
from edge_msa.runs import Run
from edge_msa.training.load import student_of
from edge_msa.training.spoken import Spoken, read_spoken


def spoken_of(run: Run) -> Spoken:
    """The tokenizer and front of a run that reads words, in evaluation mode on the CPU.

    Raises:
        RunUsageError: it reads features.
        RunError: its files cannot be used.
    """
    language = Contract.from_json(run.info.contract).language
    if language is None:
        raise RunUsageError(f"{run.path} reads features, not words: give a run of edge-msa language train or distill")
    return read_spoken(run.path, language.digest)


def reader_of_words(run: Run) -> tuple[LanguageReader, Spoken]:
    """The reader of such a run, whatever else the run reads; errors are those of `spoken_of`."""
    spoken = spoken_of(run)
    return LanguageReader(spoken.front, student_of(run)).eval(), spoken
