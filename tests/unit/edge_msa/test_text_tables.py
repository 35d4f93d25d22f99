from __future__ import annotations

import random

import pytest

from edge_msa.text_tables import elide, format_number, text_table


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.31, "0.310"),
        (12.34, "12.3"),
        (812.4, "812"),
        (123456.0, "123456"),
        (3e-7, "3.0e-07"),
        (0, "0.00"),
    ],
)
def test_numbers_have_three_significant_digits(value: float | None, text: str) -> None:
    assert format_number(value) == text


HEADER = ["target", "p50 ms", "relative latency"]
ROWS = [["laptop-x86", "0.21", "1.00"], ["raspberry-pi-5", "-", "12.50"]]


def test_a_table_has_its_full_width_where_there_is_no_terminal() -> None:
    assert text_table(HEADER, ROWS).splitlines() == [
        "target          p50 ms  relative latency",
        "--------------  ------  ----------------",
        "laptop-x86        0.21              1.00",
        "raspberry-pi-5       -             12.50",
    ]


def test_the_header_of_a_wide_table_has_several_lines() -> None:
    assert text_table(HEADER, ROWS, width=32).splitlines() == [
        "                 p50  relative",
        "target            ms   latency",
        "--------------  ----  --------",
        "laptop-x86      0.21      1.00",
        "raspberry-pi-5     -     12.50",
    ]


def test_names_lose_their_middle_before_columns_move() -> None:
    assert text_table(HEADER, ROWS, width=27).splitlines()[3:] == [
        "laptop-x86   0.21      1.00",
        "raspb..pi-5     -     12.50",
    ]


def test_columns_move_to_a_table_with_the_same_names() -> None:
    assert text_table(HEADER, ROWS, width=22).splitlines() == [
        "                 p50",
        "target            ms",
        "--------------  ----",
        "laptop-x86      0.21",
        "raspberry-pi-5     -",
        "",
        "              relative",
        "target         latency",
        "------------  --------",
        "laptop-x86        1.00",
        "raspb..-pi-5     12.50",
    ]


def test_further_tables_can_repeat_the_first_name_only() -> None:
    header, rows = ["#", "target", "p50 ms", "size KB"], [["1*", "raspberry-pi-5-with-a-long-name", "0.21", "12"]]
    assert text_table(header, rows, left=2, keys=1, width=20).splitlines() == [
        "                 p50",
        "#   target        ms",
        "--  ----------  ----",
        "1*  rasp..name  0.21",
        "",
        "    size",
        "#     KB",
        "--  ----",
        "1*    12",
    ]


def test_texts_move_below_their_rows() -> None:
    header, rows = ["rule", "nodes", "message"], [["dla", "3", "Erf is not supported on the DLA."], ["fp16", "1", ""]]
    wide = text_table(header, rows, texts=1).splitlines()
    assert wide[2] == "dla       3  Erf is not supported on the DLA."
    assert text_table(header, rows, texts=1, width=32).splitlines() == [
        "rule  nodes",
        "----  -----",
        "dla       3",
        "    message: Erf is not",
        "        supported on the DLA.",
        "fp16      1",
    ]


@pytest.mark.parametrize("seed", range(30))
def test_every_table_fits_and_keeps_its_numbers(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - not for cryptography
    columns = rng.randint(1, 14)
    left = rng.randint(0, columns)
    texts = rng.randint(0, columns - 1) if rng.random() < 0.3 else 0

    def make_word(most: int) -> str:
        return "".join(rng.choices("abcdefghij", k=rng.randint(1, most)))

    header = [" ".join(make_word(12) for _ in range(rng.randint(1, 3))) for _ in range(columns)]
    rows = [
        [
            make_word(60) if column < left else f"{rng.random() * 10 ** rng.randint(0, 5):.3f}"
            for column in range(columns)
        ]
        for _ in range(rng.randint(1, 5))
    ]
    lines = text_table(header, rows, left=left, texts=texts, width=80).splitlines()
    assert max(map(len, lines)) <= 80
    words = " ".join(lines).split()
    for row in rows:
        assert set(row[left:]) <= set(words)


@pytest.mark.parametrize(("width", "text"), [(11, "raspberry-p"), (9, "rasp..y-p"), (3, "ras"), (1, "r")])
def test_elided_texts_have_the_width(width: int, text: str) -> None:
    assert elide("raspberry-p", width) == text
