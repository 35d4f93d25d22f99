from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from edge_msa_calibrate.collect import collect_statistics
from edge_msa_calibrate.errors import CalibrationError
from edge_msa_calibrate.histogram import HistogramBuilder
from edge_msa_calibrate.statistics import load_statistics

Array = npt.NDArray[Any]

FRAMES = 12


def sample(counts: dict[str, int], dims: dict[str, int], seed: int, padding: float = 0.0) -> Any:
    rng = np.random.default_rng(seed)
    inputs: dict[str, Array] = {}
    for name, count in counts.items():
        frames = rng.standard_normal((1, FRAMES, dims[name])).astype(np.float32)
        frames[:, count:] = padding
        inputs[f"frames.{name}"] = frames
        inputs[f"valid.{name}"] = (np.arange(FRAMES) < count).astype(np.float32)[None]
    return inputs


def graphs_of(maker: Any) -> dict[str, Any]:
    return {
        "l": maker.window(FRAMES, ("language",)),
        "a": maker.window(FRAMES, ("audio",)),
        "la": maker.window(FRAMES, ("language", "audio")),
    }


def samples_of(maker: Any) -> list[Any]:
    dims = dict(maker.recipe.dims)
    return [
        sample({"language": 12, "audio": 5}, dims, 0),
        sample({"audio": 9}, dims, 1),
        sample({"language": 1}, dims, 2),
        sample({"language": 3, "audio": 12}, dims, 3),
    ]


def test_histogram_equals_numpy_s_of_the_whole_data_at_once() -> None:
    values = np.random.default_rng(0).standard_normal(5000).astype(np.float32) * 3
    builder = HistogramBuilder(64)
    for part in np.array_split(np.sort(np.abs(values)) * np.sign(values), 17):
        builder.add(part)
    found = builder.histogram()
    told = np.sort(np.abs(values)) * np.sign(values)
    assert np.array_equal(found.counts, np.histogram(told, found.edges)[0])
    assert (found.minimum, found.maximum, found.count) == (told.min(), told.max(), 5000)
    assert found.limit / 2 <= np.abs(told).max() < found.limit


def test_histogram_does_not_depend_on_order_or_batches() -> None:
    values = (np.random.default_rng(1).standard_normal(3000) ** 5).astype(np.float32)
    one, many = HistogramBuilder(), HistogramBuilder()
    one.add(values)
    for part in np.array_split(values[::-1], 29):
        many.add(part)
    assert np.array_equal(one.histogram().counts, many.histogram().counts)
    assert one.histogram().limit == many.histogram().limit


def test_histogram_refuses_what_is_not_finite() -> None:
    with pytest.raises(CalibrationError, match="NaN or infinite"):
        HistogramBuilder().add(np.array([0.0, np.nan], np.float32))
    with pytest.raises(CalibrationError, match="bins is 3"):
        HistogramBuilder(3)


def test_statistics_are_of_valid_frames_of_every_graph(maker: Any, run: Any) -> None:
    samples = samples_of(maker)
    found = collect_statistics(graphs_of(maker), iter(samples))
    seen = []
    for item in samples:
        if "frames.audio" in item:
            count = int(item["valid.audio"].sum())
            alone = {name: value for name, value in item.items() if name.endswith("audio")}
            seen.append(run(maker.window(FRAMES, ("audio",)), alone)["features.audio"][:, :, :count].ravel())
    raw = np.concatenate(seen)
    histogram = found.histograms["encoders.audio.score.weight:input"]
    assert histogram.count == raw.size
    assert histogram.minimum == pytest.approx(raw.min(), abs=1e-6)
    assert histogram.maximum == pytest.approx(raw.max(), rel=1e-6)
    assert np.abs(np.histogram(raw, histogram.edges)[0] - histogram.counts).sum() <= 4


def test_padding_leaves_no_trace(maker: Any) -> None:
    dims = dict(maker.recipe.dims)
    clean = collect_statistics(graphs_of(maker), [sample({"audio": 6}, dims, 4)])
    dirty = collect_statistics(graphs_of(maker), [sample({"audio": 6}, dims, 4, padding=1e4)])
    for key, histogram in clean.histograms.items():
        assert np.array_equal(histogram.counts, dirty.histograms[key].counts)
        assert histogram.maximum == dirty.histograms[key].maximum


def test_every_convolution_is_observed_behind_its_relu(maker: Any) -> None:
    found = collect_statistics(graphs_of(maker), samples_of(maker))
    roots = [f"encoders.{m}.{n}" for m in ("audio", "language") for n in ("blocks.0", "blocks.1", "embed", "score")]
    assert list(found.histograms) == [f"{root}.weight:{end}" for root in roots for end in ("input", "output")]
    assert found.histograms["encoders.audio.blocks.0.weight:output"].minimum == 0
    assert found.histograms["encoders.audio.score.weight:output"].minimum < 0
    # A chunk's frames alone, without the memory: what the first block reads is what the embedding makes.
    first, embedded = (
        found.histograms[f"encoders.audio.{n}"] for n in ("blocks.0.weight:input", "embed.weight:output")
    )
    assert np.array_equal(first.counts, embedded.counts)


def test_samples_are_counted_by_subset_and_modality(maker: Any) -> None:
    found = collect_statistics(graphs_of(maker), samples_of(maker))
    assert found.samples == {"l": 1, "a": 1, "la": 2}
    assert found.modality_samples == {"language": 3, "audio": 3}


def test_order_of_samples_does_not_matter(maker: Any) -> None:
    forwards = collect_statistics(graphs_of(maker), samples_of(maker))
    backwards = collect_statistics(graphs_of(maker), reversed(samples_of(maker)))
    assert list(forwards.samples) == list(backwards.samples)
    for key, histogram in forwards.histograms.items():
        assert np.array_equal(histogram.counts, backwards.histograms[key].counts)


def test_saved_statistics_read_back_the_same(maker: Any, tmp_path: Path) -> None:
    path = tmp_path / "statistics.npz"
    found = collect_statistics(graphs_of(maker), samples_of(maker))
    found.save(path)
    again = load_statistics(path)
    assert again.samples == found.samples
    assert list(again.histograms) == list(found.histograms)
    for key, histogram in found.histograms.items():
        assert np.array_equal(histogram.counts, again.histograms[key].counts)
        assert (histogram.limit, histogram.minimum, histogram.maximum) == (
            again.histograms[key].limit,
            again.histograms[key].minimum,
            again.histograms[key].maximum,
        )
    assert [item.name for item in tmp_path.iterdir()] == ["statistics.npz"]


def test_a_file_that_is_not_whole_is_refused(maker: Any, tmp_path: Path) -> None:
    path = tmp_path / "statistics.npz"
    with pytest.raises(CalibrationError, match="cannot read"):
        load_statistics(path)
    collect_statistics(graphs_of(maker), samples_of(maker)).save(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CalibrationError, match="calibrate again"):
        load_statistics(path)
    np.savez(path, other=np.zeros(3))
    with pytest.raises(CalibrationError, match="does not hold statistics"):
        load_statistics(path)
    with pytest.raises(CalibrationError, match="cannot write"):
        collect_statistics(graphs_of(maker), samples_of(maker)).save(tmp_path / "absent" / "statistics.npz")


def test_samples_that_cannot_be_used_are_refused(maker: Any) -> None:
    dims = dict(maker.recipe.dims)
    graphs = graphs_of(maker)
    with pytest.raises(CalibrationError, match="not empty"):
        collect_statistics(graphs, [])
    with pytest.raises(CalibrationError, match="subset 'v'"):
        collect_statistics(graphs, [{"vision": np.zeros((2, 3), np.float32)}])
    with pytest.raises(CalibrationError, match="does not fit"):
        collect_statistics(graphs, [sample({"audio": 3}, {"audio": 7}, 0)])
    holes = sample({"audio": 3}, dims, 0)
    holes["valid.audio"][0, 0] = 0
    with pytest.raises(CalibrationError, match="ones first"):
        collect_statistics(graphs, [holes])
    broken = sample({"audio": 3}, dims, 0)
    broken["frames.audio"][0, 0, 0] = np.inf
    with pytest.raises(CalibrationError, match="NaN or infinite"):
        collect_statistics(graphs, [broken])
