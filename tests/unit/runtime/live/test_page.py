from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from edge_msa_runtime.live.history import History
from edge_msa_runtime.live.page import render_page, write_page
from edge_msa_runtime.live.thumbnails import Thumbnail
from edge_msa_runtime.replay.items import WordChunk
from tests.unit.runtime.live.histories import HEADER, make_history
from tests.unit.runtime.replay.made_predictions import make


def read_data(page: str) -> dict[str, Any]:
    match = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert match is not None
    found: dict[str, Any] = json.loads(match[1])
    return found


def test_the_page_has_everything_that_was_predicted_and_said(tmp_path: Path) -> None:
    write_page(tmp_path / "page.html", make_history(), HEADER)
    page = (tmp_path / "page.html").read_text("utf-8")
    data = read_data(page)
    assert len(data["times"]) == 84
    assert data["seconds"] == 42.0
    assert data["scale"] == [-3.0, 3.0]
    assert data["series"][0]["values"][1] == pytest.approx(0.3973, abs=1e-4)
    assert data["subsets"][29] == "la"
    assert [data["times"][i] for i, final in enumerate(data["finals"]) if final] == [6, 12, 18, 24, 30, 36, 42]
    assert data["words"][0] == ["i", 0.0, 0.35]
    assert data["faces"] == []
    assert "vision is absent: its newest frame is 1.1 s old" in page
    assert page.count("<tr>") == 1 + 7
    assert "@@" not in page


def test_the_page_asks_for_nothing_outside_of_it() -> None:
    page = render_page(make_history(), HEADER, [Thumbnail(1.0, b"jpeg", 75)])
    assert "default-src 'none'" in page
    addresses = set(re.findall(r"https?://[^\s\"'<]+", page))
    assert addresses == {"http://www.w3.org/2000/svg"}  # the name of the SVG elements, which nothing loads
    assert not re.search(r"<(link|img|iframe|script)[^>]*(src|href)=", page)
    assert read_data(page)["faces"] == [[1.0, "data:image/jpeg;base64,anBlZw==", 75]]


def test_text_of_others_is_only_text() -> None:
    history, attack = History(), '</script><script>alert("@@DATA@@")</script>'
    history.on_words(1.0, WordChunk((attack,), ((0.5, 1.0),)))
    history.on_prediction(make(1.0, 1.0, is_final=True))
    page = render_page(history, {**HEADER, "title": attack, "notes": [attack]})
    assert page.count("<script") == 2
    assert read_data(page)["words"][0][0] == attack
    assert "&lt;/script&gt;" in page


def test_emotions_have_a_line_each() -> None:
    history = History()
    for time in (1.0, 2.0):
        history.on_prediction(make(time, None, label="joy", probabilities={"joy": 0.75, "anger": 0.1}))
    task: dict[str, Any] = {"kind": "emotions", "labels": ["joy", "anger"], "low": None, "high": None}
    data = read_data(render_page(history, {**HEADER, "task": task}))
    assert not data["stacked"]
    assert [(item["name"], item["values"]) for item in data["series"]] == [("joy", [0.75, 0.75]), ("anger", [0.1, 0.1])]
    assert data["scale"] == [0.0, 1.0]


def test_classes_are_bars_that_are_pale_if_several_are_possible() -> None:
    history = History()
    for time, chosen in ((1.0, ("joy",)), (2.0, ("joy", "<calm>"))):
        shares = {"joy": 0.75, "<calm>": 0.25}
        history.on_prediction(
            make(time, None, label="joy", probabilities=shares, prediction_set=chosen, is_final=time == 2.0)
        )
    task = {"kind": "classes", "labels": ["joy", "<calm>"], "low": None, "high": None}
    page = render_page(history, {**HEADER, "task": task})
    data = read_data(page)
    assert (data["stacked"], data["sure"], data["results"]) == (True, [True, False], ["joy", "joy"])
    assert data["titles"] == ["joy 0.75", "joy 0.75 (or <calm>)"]
    assert len({item["color"] for item in data["series"]}) == 2
    assert "<th>set</th>" in page
    assert "joy, &lt;calm&gt;" in page
    assert "pale: several classes are needed to contain 90 % of the labels" in page


def test_a_task_without_a_scale_gets_that_of_its_scores() -> None:
    history = History()
    history.on_prediction(make(1.0, 4.5, interval=(2.0, float("inf"))))
    task: dict[str, Any] = {"kind": "regression", "labels": [], "low": None, "high": None}
    data = read_data(render_page(history, {**HEADER, "task": task}))
    assert data["scale"] == [-1.0, 5.0]
    assert data["high"] == [None]


def test_an_empty_history_is_a_page_too() -> None:
    page = render_page(History(), HEADER)
    assert read_data(page)["times"] == []
    assert "No utterance has ended." in page


def test_the_words_of_an_utterance_get_a_line_of_their_own_in_narrow_windows() -> None:
    page = render_page(make_history(), HEADER)
    narrow = page[page.index("@media (max-width: 40rem)") :]
    assert "td.words { flex: 1 0 100%;" in narrow[: narrow.index("</style>")]
