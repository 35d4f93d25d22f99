"""Properties of streams that hold for any input: what arrives in which order, chunks, copies and faults."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, Callable, Iterator

import numpy as np
import pytest

from edge_msa_runtime import Session, Stream, UsageError, load
from tests.tolerances import assert_close_to_scale
from tests.unit.runtime.fake_bundles import DIMS, random_frames

pytest.importorskip("hypothesis")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

PERIODS = {"audio": 0.04, "vision": 0.1}
COUNTS = {"audio": 40, "vision": 16}
LATENESS = 0.5
FRAMES: dict[str, Any] = {name: random_frames(name, count) for name, count in COUNTS.items()}
FAULTS = (
    "nan",
    "width",
    "type",
    "negative",
    "future",
    "period",
    "mask",
    "text",
    "modality",
    "untimed",
    "good",
    "masked",
)

few = settings(
    max_examples=30,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def session(shared_bundle: Path) -> Iterator[Session]:
    with load(shared_bundle, "onnxruntime") as opened:
        yield opened


@pytest.fixture(scope="module")
def gap_session(make_bundle: Callable[..., Path]) -> Iterator[Session]:
    with load(make_bundle(gap_frames=("audio",)), "onnxruntime") as opened:
        yield opened


@st.composite
def chunkings(draw: st.DrawFn, name: str) -> list[tuple[int, int]]:
    """Ranges of frames that cover a modality."""
    cuts = draw(st.sets(st.integers(1, COUNTS[name] - 1), max_size=12))
    edges = [0, *sorted(cuts), COUNTS[name]]
    return list(zip(edges, edges[1:]))


@st.composite
def arrivals(draw: st.DrawFn) -> list[tuple[str, int, int]]:
    """Chunks of two modalities in an order within the lateness, some of them twice."""
    delayed = []
    for name, period in PERIODS.items():
        for start, end in draw(chunkings(name)):
            for _ in range(draw(st.sampled_from([1, 1, 1, 2]))):
                # A chunk arrives after its last frame, at most `LATENESS` after its first one.
                delay = draw(st.floats(0, max(0.0, LATENESS - (end - 1 - start) * period - 1e-3)))
                delayed.append(((end - 1) * period + delay, name, start, end))
    return [(name, start, end) for _, name, start, end in sorted(delayed)]


def push(stream: Stream, name: str, start: int, end: int, offset: float = 0.0, valid: Any = None) -> None:
    stream.push(name, FRAMES[name][start:end], offset + start * PERIODS[name], period=PERIODS[name], valid=valid)


@few
@given(order=arrivals(), moments=st.lists(st.integers(0, 40), max_size=4))
def test_any_order_within_the_lateness_gives_the_same_predictions(
    session: Session, order: list[tuple[str, int, int]], moments: list[int]
) -> None:
    stream = session.create_stream(lateness=LATENESS)
    for index, (name, start, end) in enumerate(order):
        push(stream, name, start, end)
        if index in moments:
            stream.predict()
    prediction = stream.predict()
    assert_close_to_scale(prediction.outputs, session.predict(**FRAMES).outputs)
    assert prediction.masked == {"audio": 0.0, "vision": 0.0}
    sent = {name: sum(end - start for kind, start, end in order if kind == name) for name in PERIODS}
    for name, count in COUNTS.items():
        counters = stream.counters[name]
        assert (counters.sent, counters.used, counters.late) == (sent[name], count, 0)
        assert counters.duplicate == sent[name] - count


@few
@given(chunks=st.fixed_dictionaries({name: chunkings(name) for name in PERIODS}), seed=st.integers(0, 999))
def test_chunks_and_the_moments_of_predictions_do_not_matter(
    session: Session, chunks: dict[str, list[tuple[int, int]]], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    stream, at = session.create_stream(), 0.0
    pushes = sorted((end, name, start) for name, ranges in chunks.items() for start, end in ranges)
    for end, name, start in pushes:
        push(stream, name, start, end)
        if rng.random() < 0.3 and stream.counters["audio"].used:
            at = max(at, float(rng.uniform(0, 1)))
            stream.predict(at)
    used = {name: FRAMES[name][: round(1.0 / period) + 1] for name, period in PERIODS.items()}
    assert_close_to_scale(stream.predict(1.0).outputs, session.predict(**used).outputs)
    assert_close_to_scale(stream.predict().outputs, session.predict(**FRAMES).outputs)


@few
@given(step=st.floats(0.0, 3000.0), where=st.integers(1, 15), lateness=st.sampled_from([0.0, LATENESS]))
def test_a_forward_step_of_all_clocks_changes_no_prediction(
    session: Session, step: float, where: int, lateness: float
) -> None:
    stream = session.create_stream(lateness=lateness)
    for tick in range(16):
        offset = step if tick >= where else 0.0
        push(stream, "audio", round(tick * 2.5), round(tick * 2.5 + 2.5), offset)
        push(stream, "vision", tick, tick + 1, offset)
        stream.predict()
    assert_close_to_scale(stream.predict().outputs, session.predict(**FRAMES).outputs)


def push_fault(stream: Stream, name: str, fault: str, now: float) -> int:
    """Push a chunk with a fault, and return the number of its frames."""
    values = random_frames(name, 3, seed=round(now * 100)).astype("f8")
    arguments: dict[str, Any] = {"timestamp": now, "period": PERIODS[name]}
    frames: Any = values
    if fault == "nan":
        values[1, 0] = np.nan
    elif fault == "width":
        frames = np.ones((3, DIMS[name] + 1))
    elif fault == "type":
        frames = "sound"
    elif fault == "mask":
        arguments["valid"] = np.ones(4, bool)
    elif fault == "masked":
        arguments["valid"] = np.array([True, False, True])
    elif fault == "untimed":
        arguments = {}
    elif fault != "good":
        key = "period" if fault == "period" else "timestamp"
        arguments[key] = {"negative": -1.0, "future": 1e7, "period": 0.0}.get(fault, "soon")
    with contextlib.suppress(UsageError):
        stream.push(name, frames, **arguments)
    return 1 if fault == "type" else 3


@few
@given(
    faults=st.lists(st.tuples(st.sampled_from(sorted(PERIODS)), st.sampled_from(FAULTS), st.floats(0, 3)), max_size=25),
    options=st.fixed_dictionaries(
        {
            "bad_frames": st.sampled_from(["error", "drop", "mask"]),
            "late_frames": st.sampled_from(["error", "drop"]),
            "max_queue": st.sampled_from([5, 4096]),
            "lateness": st.sampled_from([0.0, 0.3]),
        }
    ),
)
def test_counters_add_up_after_any_mixture_of_pushes(
    session: Session, faults: list[tuple[str, str, float]], options: dict[str, Any]
) -> None:
    events: list[Any] = []
    stream = session.create_stream(on_event=events.append, **options)
    sent = dict.fromkeys(PERIODS, 0)
    for name, fault, at in faults:
        if fault == "modality":
            with pytest.raises(UsageError, match="has no modality 'sound'"):
                stream.push("sound", [[1.0]], at)
            continue
        sent[name] += push_fault(stream, name, fault, at)
        counters = stream.counters[name]
        assert counters.sent == counters.used + counters.dropped + counters.refused == sent[name]
        if at > 2 and stream.subset:
            stream.predict()
            assert stream.counters[name].sent == sent[name]
    for name in PERIODS:
        counts = stream.counters[name].to_json()
        for kind in ("late", "duplicate", "overflow", "refused", "masked"):
            assert sum(event.count for event in events if (event.kind, event.modality) == (kind, name)) == counts[kind]


@few
@given(faults=st.lists(st.sampled_from([f for f in FAULTS if f not in {"good", "masked", "modality"}]), min_size=1))
def test_a_refused_push_leaves_the_next_prediction_unchanged(session: Session, faults: list[str]) -> None:
    stream, alone = session.create_stream(), session.create_stream()
    for index, fault in enumerate(faults[:10]):
        now = index * 0.5
        for other in (stream, alone):
            push(other, "audio", index, index + 2, now)
        push_fault(stream, "audio", fault, now + 0.2)
        one, two = stream.predict(), alone.predict()
        assert (one.outputs, one.subset, one.ages, one.masked) == (two.outputs, two.subset, two.ages, two.masked)
    assert stream.counters["audio"].refused > 0


@st.composite
def lossy_arrivals(draw: st.DrawFn) -> tuple[Any, list[tuple[int, int, bool]]]:
    """A mask of frames, and the chunks in an order within the lateness: first, last, and whether it is masked."""
    valid = np.array(draw(st.lists(st.booleans(), min_size=COUNTS["audio"], max_size=COUNTS["audio"])))
    cuts = draw(st.sets(st.integers(1, COUNTS["audio"] - 1), max_size=15))
    edges = [0, *sorted(cuts), COUNTS["audio"]]
    chunks = []
    for begin, end in zip(edges, edges[1:]):
        for first in range(begin, end, 10):
            last = min(end, first + 10)
            delay = draw(st.floats(0, LATENESS - (last - 1 - first) * PERIODS["audio"] - 1e-3))
            chunks += [(last * PERIODS["audio"] + delay, first, last, draw(st.booleans()))] * draw(
                st.sampled_from([1, 1, 2])
            )
    return valid, [chunk[1:] for chunk in sorted(chunks)]


@few
@given(arrived=lossy_arrivals(), moments=st.sets(st.integers(0, 20), max_size=6))
def test_gap_frames_depend_on_the_frames_only(
    gap_session: Session, arrived: tuple[Any, list[tuple[int, int, bool]]], moments: set[int]
) -> None:
    """Frames that are not valid are masked in some chunks, and missing in others."""
    valid, chunks = arrived
    stream = gap_session.create_stream(lateness=LATENESS)
    for index, (first, last, is_masked) in enumerate(chunks):
        if is_masked:
            push(stream, "audio", first, last, valid=valid[first:last])
        else:
            for frame in np.flatnonzero(valid[first:last]) + first:
                push(stream, "audio", int(frame), int(frame) + 1)
        if index in moments and stream.subset:
            stream.predict()
    if valid.any():
        whole = gap_session.predict(audio=FRAMES["audio"], valid={"audio": valid})
        assert_close_to_scale(stream.predict().outputs, whole.outputs)
