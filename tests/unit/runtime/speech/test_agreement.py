from __future__ import annotations

from edge_msa_runtime.speech.agreement import LocalAgreement, normalize, overlap
from edge_msa_runtime.text.words import Word


def words(text: str, start: float = 0.0) -> list[Word]:
    """Return words of half a second."""
    return [Word(word, start + k / 2, start + k / 2 + 0.5) for k, word in enumerate(text.split())]


def texts(found: list[Word]) -> str:
    return " ".join(word.text for word in found)


def test_words_of_two_consecutive_hypotheses_become_final_once() -> None:
    agreement = LocalAgreement()
    found = [
        agreement.update(words(text))
        for text in ("I", "I love", "I love this fill", "I love this film very", "I love this film very much")
    ]
    assert [texts(new) for new in found] == ["", "I", "love", "this", "film very"]
    assert texts(agreement.update(words("I love this film very much"), final=True)) == "much"
    assert agreement.until == 3.0


def test_case_and_punctuation_do_not_matter() -> None:
    agreement = LocalAgreement()
    agreement.update(words("Well i love"))
    assert texts(agreement.update(words("Well, I love it"))) == "Well, I love"
    assert normalize("Don't!") == "dont"
    assert normalize("...") == "..."


def test_a_final_word_that_a_later_hypothesis_changes_is_not_repeated() -> None:
    agreement = LocalAgreement()
    agreement.update(words("a terrible waste"))
    agreement.update(words("a terrible waste of"))
    assert texts(agreement.update(words("the terribly waste of time"))) == "of"
    assert texts(agreement.update(words("the terribly waste of time"), final=True)) == "time"


def test_a_repeated_word_is_kept() -> None:
    agreement = LocalAgreement()
    agreement.update(words("very"))
    assert texts(agreement.update(words("very"))) == "very"
    agreement.update(words("very very"))
    assert texts(agreement.update(words("very very good"))) == "very"


def test_times_of_final_words_never_decrease() -> None:
    agreement = LocalAgreement()
    first = agreement.update([Word("a", 0.0, 1.0)], final=True)
    second = agreement.update([Word("a", 0.0, 0.6), Word("b", 0.6, 0.9), Word("c", 0.9, 1.4)], final=True)
    assert [(word.start, word.end) for word in first + second] == [(0.0, 1.0), (1.0, 1.0), (1.0, 1.4)]


def test_late_words_are_final_without_agreement() -> None:
    agreement = LocalAgreement()
    agreement.update(words("hello word"))
    assert texts(agreement.update(words("yellow world again"), before=1.2)) == "yellow world"


def test_words_of_sound_that_was_cut_are_not_expected_again() -> None:
    agreement = LocalAgreement()
    agreement.update(words("one two three four"), final=True)
    agreement.drop(1.0)
    assert texts(agreement.context) == "three four"
    assert texts(agreement.update(words("three four five", start=1.0), final=True)) == "five"
    agreement.forget()
    assert texts(agreement.update(words("four five", start=9.0), final=True)) == "four five"


def test_the_overlap_prefers_the_same_time_among_equal_texts() -> None:
    known = words("very")
    assert overlap(known, words("very very very")) == 1
    assert overlap([], words("a b")) == 0
    assert overlap(known, []) == 0
