"""One offline page of a recording: scores or probabilities, words, modalities and utterances over time."""

from __future__ import annotations

import base64
import html
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterable, Mapping, Sequence

from edge_msa_runtime.atomic_files import write_file
from edge_msa_runtime.classes import describe_classes
from edge_msa_runtime.live.colors import label_color
from edge_msa_runtime.modalities import MODALITIES
from edge_msa_runtime.text.words import join

if TYPE_CHECKING:
    from edge_msa_runtime.live.history import History, Moment, Utterance
    from edge_msa_runtime.live.thumbnails import Thumbnail

_TEMPLATE = Path(__file__).with_name("page.html")
_COLORS = {"language": "--l", "audio": "--a", "vision": "--v"}


def write_page(path: Path, history: History, header: Mapping[str, Any], thumbnails: Sequence[Thumbnail] = ()) -> None:
    """Write the page. It has no external resource, and its policy forbids the browser to load any.

    Args:
        path: HTML file.
        history: what was predicted.
        header: `title`, `subtitle`, `task` (`kind`, `labels`, `low`, `high`), `modalities`, `every`, `seconds`, and
            `notes`.
        thumbnails: pictures to show.

    Raises:
        OSError: the file cannot be written.
    """
    write_file(path, render_page(history, header, thumbnails).encode("utf-8", "backslashreplace"))


def render_page(history: History, header: Mapping[str, Any], thumbnails: Sequence[Thumbnail] = ()) -> str:
    """Return the page."""
    text = _TEMPLATE.read_text("utf-8")
    notes = "".join(f'<p class="note">{html.escape(note)}</p>' for note in header.get("notes", ()))
    parts = {
        "TITLE": html.escape(str(header["title"])),
        "SUBTITLE": html.escape(str(header["subtitle"])),
        "NOTES": notes,
        "LEGEND": _legend(history, header),
        "UTTERANCES": _utterances(history.utterances),
        "EVENTS": _events(history.events),
        "DATA": _embed(_data(history, header, thumbnails)),
    }
    before, *rest = text.split("@@")
    # Every other piece is the name of a part; what a part contains is never searched for names.
    return before + "".join(parts[piece] if index % 2 == 0 else piece for index, piece in enumerate(rest))


def _data(history: History, header: Mapping[str, Any], thumbnails: Sequence[Thumbnail]) -> dict[str, Any]:
    moments = history.moments
    words = sorted(history.words, key=lambda word: word.start or 0.0)
    labels = _class_labels(header)
    series: list[dict[str, Any]] = [
        {
            "name": label,
            "color": label_color(number),
            "values": [_number(moment.probabilities.get(label)) for moment in moments],
        }
        for number, label in enumerate(labels)
    ]
    if not labels:
        series = [{"name": "score", "color": "var(--score)", "values": [_number(moment.score) for moment in moments]}]
    scale = (0.0, 1.0) if labels else _scale(moments, header["task"])
    last = [moment.time for moment in moments] + [word.end or 0.0 for word in words]
    return {
        "seconds": max([_number(header.get("seconds")) or 0.0, *last, 0.1]),
        "every": header["every"],
        "modalities": [name for name in MODALITIES if name in header["modalities"]],
        "scale": scale,
        "ticks": _ticks(*scale),
        "series": series,
        "stacked": header["task"]["kind"] == "classes",
        "sure": [moment.prediction_set is None or len(moment.prediction_set) == 1 for moment in moments],
        "times": [_number(moment.time) for moment in moments],
        "low": [None if moment.interval is None else _number(moment.interval[0]) for moment in moments],
        "high": [None if moment.interval is None else _number(moment.interval[1]) for moment in moments],
        "subsets": [moment.subset for moment in moments],
        "finals": [moment.is_final for moment in moments],
        "titles": [describe_moment(moment) for moment in moments],
        "results": [moment.label if moment.score is None else _signed(moment.score) for moment in moments],
        "words": [[word.text, _number(word.start), _number(word.end)] for word in words],
        "faces": [[_number(item.time), _data_uri(item.jpeg), item.width] for item in thumbnails],
    }


def describe_moment(moment: Moment) -> str:
    """Return the result of a prediction, such as `+1.20 positive` or `happy 0.55 (or sad)`."""
    if moment.score is None:
        return describe_classes(moment.label, moment.probabilities, moment.prediction_set)
    return f"{moment.score:+.2f} {moment.label}".strip()


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "\u2212")


def _class_labels(header: Mapping[str, Any]) -> list[str]:
    """Return the names of classes or emotions; nothing for scores."""
    task = header["task"]
    return list(task["labels"]) if task["kind"] in {"classes", "emotions"} else []


def _scale(moments: Iterable[Moment], task: Mapping[str, Any]) -> tuple[float, float]:
    """Return the ends of the axis: those of the task, or else of what was predicted."""
    if task.get("low") is not None and task.get("high") is not None:
        return float(task["low"]), float(task["high"])
    values = [value for moment in moments for value in (moment.score, *(moment.interval or ())) if value is not None]
    finite = [value for value in values if math.isfinite(value)]
    low, high = math.floor(min([*finite, -1.0])), math.ceil(max([*finite, 1.0]))
    return float(low), float(high)


def _ticks(low: float, high: float) -> list[float]:
    middle = 0.0 if low < 0 < high else (low + high) / 2
    return [low, middle, high]


def _legend(history: History, header: Mapping[str, Any]) -> str:
    has_score = any(moment.score is not None for moment in history.moments)
    entries = [("--score", "score")] if has_score else []
    if any(moment.interval is not None for moment in history.moments):
        entries.append(("--band", f"interval that contains {100 * header.get('coverage', 0.9):g} % of the labels"))
    entries += [(_COLORS[name], name) for name in MODALITIES if name in header["modalities"]]
    items = [f'<li><i style="background:var({color})"></i>{html.escape(text)}</li>' for color, text in entries]
    items += [
        f'<li><i style="background:{label_color(number)}"></i>{html.escape(label)}</li>'
        for number, label in enumerate(_class_labels(header))
    ]
    if any(moment.prediction_set is not None for moment in history.moments):
        coverage = f"{100 * header.get('coverage', 0.9):g} %"
        items.append(f"<li>pale: several classes are needed to contain {coverage} of the labels</li>")
    return "".join([*items, "<li>dashed: end of an utterance</li>"])


def _utterances(utterances: Sequence[Utterance]) -> str:
    if not utterances:
        return '<p class="note">No utterance has ended.</p>'
    rows = []
    shown_as = "interval" if all(item.final.prediction_set is None for item in utterances) else "set"
    for item in utterances:
        words = join([word.text for word in item.words])
        interval, labels = item.final.interval, item.final.prediction_set
        shown = ", ".join(labels or ()) if interval is None else f"{interval[0]:+.2f} to {interval[1]:+.2f}"
        cells = [f"{item.start:.1f} to {item.final.time:.1f} s", describe_moment(item.final), shown, item.final.subset]
        numbers = "".join(f'<td class="number">{html.escape(cell)}</td>' for cell in cells)
        rows.append(f'<tr>{numbers}<td class="words">{html.escape(words)}</td></tr>')
    head = "".join(f"<th>{name}</th>" for name in ("time", "prediction", shown_as, "from", "words"))
    body = "".join(rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _events(events: Sequence[tuple[float, str]]) -> str:
    if not events:
        return ""
    items = "".join(f"<li>{time:.1f} s: {html.escape(message)}</li>" for time, message in events)
    return f"<h2>Absent modalities</h2><ul>{items}</ul>"


def _number(value: Any) -> float | None:
    """Return a rounded number; JSON has no NaN and no infinity."""
    return round(float(value), 4) if value is not None and math.isfinite(value) else None


def _data_uri(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}"


def _embed(value: Any) -> str:
    """Return JSON that cannot end the script element that contains it."""
    text = json.dumps(value, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
