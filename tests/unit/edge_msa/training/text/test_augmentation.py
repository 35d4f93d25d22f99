from __future__ import annotations

import numpy as np

from edge_msa.training.text.augmentation import change_some_texts, changed_copies

TEXTS = tuple(f"a{row} b{row} c{row} d{row} e{row} f{row} g{row} h{row}" for row in range(200))
VOCABULARY = {word for text in TEXTS for word in text.split()}


def is_subsequence(part: list[str], whole: list[str]) -> bool:
    rest = iter(whole)
    return all(word in rest for word in part)


def test_share_of_the_texts_loses_or_replaces_a_few_words() -> None:
    changed = change_some_texts(TEXTS, 0.5, 2, np.random.default_rng(0))
    assert 70 < len(changed) < 130
    lengths = set()
    for row, text in changed.items():
        before, after = TEXTS[row].split(), text.split()
        lengths.add(len(after))
        assert set(after) <= VOCABULARY
        if len(after) == len(before):
            assert sum(old != new for old, new in zip(before, after, strict=True)) <= 2
        else:
            assert is_subsequence(after, before)
    assert lengths == {6, 7, 8}


def test_a_labeled_text_keeps_three_quarters_of_its_words() -> None:
    changed = change_some_texts(["not bad at", "not bad at all"], 1.0, 5, np.random.default_rng(0))
    assert list(changed) == [1]
    assert len(changed[1].split()) >= 3


def test_copies_are_new_texts_with_half_of_the_words() -> None:
    copies = changed_copies(TEXTS, 3, seed=0)
    assert 550 < len(copies) <= 600
    assert len(set(copies)) == len(copies)
    assert not set(copies) & set(TEXTS)
    for copy in copies:
        assert len(copy.split()) >= 4
        assert set(copy.split()) <= VOCABULARY
    assert {len(copy.split()) for copy in copies} == {4, 5, 6, 7, 8}


def test_copies_depend_on_the_seed_only() -> None:
    assert changed_copies(TEXTS, 2, seed=1) == changed_copies(TEXTS, 2, seed=1)
    assert changed_copies(TEXTS, 2, seed=1) != changed_copies(TEXTS, 2, seed=2)


def test_texts_of_one_word_have_no_copies() -> None:
    assert changed_copies(("good", "", "bad"), 3, seed=0) == {}


def test_copies_know_their_original() -> None:
    for copy, row in changed_copies(("a b c d", "e f g h"), 2, seed=0).items():
        assert set(copy.split()) & set(("a b c d", "e f g h")[row].split())
