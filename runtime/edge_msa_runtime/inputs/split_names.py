"""The names of splits in files."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Iterable

from edge_msa_runtime.errors import DataError
from edge_msa_runtime.wording import format_count

if TYPE_CHECKING:
    from typing import Literal

    SplitName = Literal["train", "valid", "test"]

SPLITS: tuple[SplitName, ...] = ("train", "valid", "test")
_ALIASES: dict[str, SplitName] = {
    "train": "train",
    "training": "train",
    "trn": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "validate": "valid",
    "dev": "valid",
    "devel": "valid",
    "development": "valid",
    "test": "test",
    "testing": "test",
    "tst": "test",
}


@dataclasses.dataclass(frozen=True)
class SplitKeys:
    """The keys of a file that name splits.

    Attributes:
        known: the key of each split that the file has, in the order train, valid, test.
        unknown: the other keys.
    """

    known: dict[SplitName, Any]
    unknown: tuple[Any, ...]


def find_split(key: object) -> SplitName | None:
    """Return the split that a key names, such as `valid` for `Dev`; None for another key."""
    return _ALIASES.get(str(key).strip().lower())


def find_splits(keys: Iterable[Any], source: object) -> SplitKeys:
    """Return which keys of a file name which split.

    Keys that differ in case only are different keys. If several keys name one split, the split's own name is used and
    the others count as unknown.

    Raises:
        DataError: Several keys name one split, and none is its own name.
    """
    by_split: dict[SplitName, list[Any]] = {split: [] for split in SPLITS}
    unknown: list[Any] = []
    for key in keys:
        split = find_split(key)
        (unknown if split is None else by_split[split]).append(key)
    known: dict[SplitName, Any] = {}
    for split, names in by_split.items():
        if len(names) > 1 and split not in names:
            listed = " and ".join(repr(str(name)) for name in names)
            raise DataError(f"{source} must have one {split} split, got {listed}. Rename one of them to {split!r}.")
        if names:
            known[split] = split if split in names else names[0]
            unknown += [name for name in names if name != known[split]]
    return SplitKeys(known, tuple(unknown))


def ignored_split_note(key: object, count: int) -> str:
    """Return the note about a split that is not used, with its number of samples."""
    return (
        f"split {str(key)!r} with {format_count(count, 'sample')} is ignored: the splits are train, valid and test "
        "(also: training, val, validation, dev, testing)"
    )
