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
    language = contract_of_reader(run).language
    assert language is not None  # noqa: S101 - contract_of_reader sees to it
    return read_spoken(run.path, language.digest)


def contract_of_reader(run: Run) -> Contract:
    """The contract of a run that reads words.

    Raises:
        RunUsageError: it reads features.
    """
    contract = Contract.from_json(run.info.contract)
    if contract.language is None:
        raise RunUsageError(f"{run.path} reads features, not words: give a run of edge-msa language train or distill")
    return contract


def reader_of_words(run: Run) -> tuple[LanguageReader, Spoken]:
    """The reader of such a run, whatever else the run reads; errors are those of `spoken_of`."""
    spoken = spoken_of(run)
    return LanguageReader(spoken.front, student_of(run)).eval(), spoken
