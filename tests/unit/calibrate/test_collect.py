from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from onnx import numpy_helper

from edge_msa_calibrate.collect import Checkpoint, collect_statistics, graph_for_sample
from edge_msa_calibrate.errors import CalibrationError
from edge_msa_calibrate.qdq import quantize
from edge_msa_calibrate.ranges import METHODS, compute_ranges
from edge_msa_calibrate.statistics import Statistics, load_statistics
from edge_msa_runtime.bundle.manifest import GraphKey
from edge_msa_runtime.modalities import Subset
from tests.unit.calibrate.graphs import FRAMES, window_sample

Array = npt.NDArray[Any]
Graphs = dict[GraphKey, Any]
Samples = Callable[[], list[Any]]


def random_samples(maker: Any, count: int, seed: int = 0) -> Iterator[dict[str, Array]]:
    """Yield samples of frames by modality, with and without language alternating."""
    rng = np.random.default_rng(seed)
    for index in range(count):
        names = ("audio",) if index % 2 else ("language", "audio")
        yield {
            name: rng.standard_normal((int(rng.integers(1, FRAMES + 4)), maker.recipe.dims[name])).astype(np.float32)
            for name in names
        }


def same(one: Statistics, two: Statistics) -> bool:
    return one.samples == two.samples and all(
        np.array_equal(item.counts, two.by_graph[graph][key].counts)
        for graph, histograms in one.by_graph.items()
        for key, item in histograms.items()
    )


def test_frames_are_padded_or_cut_to_the_window(maker: Any, window_graphs: Graphs) -> None:
    short = np.random.default_rng(0).standard_normal((5, maker.recipe.dims["audio"])).astype(np.float32)
    padded = np.zeros((1, FRAMES, short.shape[1]), np.float32)
    padded[0, :5] = short
    by_input = {"frames.audio": padded, "valid.audio": (np.arange(FRAMES) < 5).astype(np.float32)[None]}
    longer = np.tile(short, (4, 1))
    assert same(collect_statistics(window_graphs, [{"audio": short}]), collect_statistics(window_graphs, [by_input]))
    assert same(
        collect_statistics(window_graphs, [{"audio": longer}]),
        collect_statistics(window_graphs, [{"audio": longer[:FRAMES]}]),
    )


def test_statistics_are_kept_per_graph_and_merge(maker: Any, window_graphs: Graphs) -> None:
    statistics = collect_statistics(window_graphs, random_samples(maker, 8))
    a, la = GraphKey.window(Subset.A), GraphKey.window(Subset.LA)
    assert set(statistics.by_graph) == {a, la}
    assert not any(key.startswith("encoders.language") for key in statistics.by_graph[a])
    key = "encoders.audio.embed.weight:input"
    assert statistics.histograms[key].count == sum(statistics.by_graph[graph][key].count for graph in (a, la))
    language = "encoders.language.embed.weight:input"
    assert np.array_equal(statistics.histograms[language].counts, statistics.by_graph[la][language].counts)


def test_only_valid_frames_of_every_graph_are_counted(
    maker: Any, run: Any, window_graphs: Graphs, window_samples: Samples
) -> None:
    histogram = collect_statistics(window_graphs, window_samples()).histograms["encoders.audio.score.weight:input"]
    observed = []
    for sample in window_samples():
        if "frames.audio" in sample:
            count = int(sample["valid.audio"].sum())
            audio = {name: value for name, value in sample.items() if name.endswith("audio")}
            observed.append(run(maker.window(FRAMES, ("audio",)), audio)["features.audio"][:, :, :count].ravel())
    values = np.concatenate(observed)
    assert histogram.count == values.size
    assert histogram.minimum == pytest.approx(values.min(), rel=1e-5, abs=1e-6 * float(np.abs(values).max()))
    assert histogram.maximum == pytest.approx(values.max(), rel=1e-5)
    # A value next to a bin edge may fall into either bin.
    assert np.abs(np.histogram(values, histogram.edges)[0] - histogram.counts).sum() <= 1e-3 * values.size


def test_padding_does_not_change_the_statistics(maker: Any, window_graphs: Graphs) -> None:
    dims = dict(maker.recipe.dims)
    zeros = collect_statistics(window_graphs, [window_sample({"audio": 6}, dims, 4)])
    large = collect_statistics(window_graphs, [window_sample({"audio": 6}, dims, 4, padding=1e4)])
    for key, histogram in zeros.histograms.items():
        assert np.array_equal(histogram.counts, large.histograms[key].counts)
        assert histogram.maximum == large.histograms[key].maximum


def test_convolution_outputs_are_observed_after_the_relu(window_graphs: Graphs, window_samples: Samples) -> None:
    histograms = collect_statistics(window_graphs, window_samples()).histograms
    roots = [f"encoders.{m}.{n}" for m in ("audio", "language") for n in ("blocks.0", "blocks.1", "embed", "score")]
    assert list(histograms) == [f"{root}.weight:{end}" for root in roots for end in ("input", "output")]
    assert histograms["encoders.audio.blocks.0.weight:output"].minimum == 0
    assert histograms["encoders.audio.score.weight:output"].minimum < 0


def test_memory_is_not_part_of_the_statistics(window_graphs: Graphs, window_samples: Samples) -> None:
    histograms = collect_statistics(window_graphs, window_samples()).histograms
    block, embedding = (histograms[f"encoders.audio.{n}"] for n in ("blocks.0.weight:input", "embed.weight:output"))
    assert np.array_equal(block.counts, embedding.counts)


def test_order_of_samples_does_not_matter(window_graphs: Graphs, window_samples: Samples) -> None:
    forwards = collect_statistics(window_graphs, window_samples())
    backwards = collect_statistics(window_graphs, reversed(window_samples()))
    assert list(forwards.samples) == list(backwards.samples)
    for key, histogram in forwards.histograms.items():
        assert np.array_equal(histogram.counts, backwards.histograms[key].counts)


def test_text_encoder_counts_valid_tokens_and_channels(text_encoders: Any) -> None:
    graph, samples = text_encoders.graph(FRAMES), text_encoders.samples(FRAMES)
    statistics = collect_statistics({GraphKey.text_encoder(FRAMES): graph}, samples)
    histogram = statistics.histograms["text_encoder.one.weight:input"]
    (table,) = (item for item in graph.graph.initializer if item.name == "text_encoder.embeddings.weight")
    tokens = np.concatenate([sample["ids"][0][sample["valid"][0] > 0] for sample in samples])
    rows = numpy_helper.to_array(table)[tokens]
    assert (histogram.minimum, histogram.maximum, histogram.count) == (rows.min(), rows.max(), rows.size)
    channel_ranges = statistics.channel_ranges["text_encoder.one.weight:input"]
    assert np.array_equal(channel_ranges, [rows.min(axis=0), rows.max(axis=0)])
    assert statistics.samples == {GraphKey.text_encoder(FRAMES): len(samples)}


class InterruptedPassError(Exception):
    pass


def test_interrupted_pass_resumes_from_its_checkpoint(maker: Any, window_graphs: Graphs, tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "checkpoint.npz", "these samples", every=3)

    def interrupted() -> Iterator[dict[str, Array]]:
        for index, sample in enumerate(random_samples(maker, 11)):
            if index == 8:
                raise InterruptedPassError
            yield sample

    with pytest.raises(InterruptedPassError):
        collect_statistics(window_graphs, interrupted(), checkpoint=checkpoint)
    assert load_statistics(checkpoint.path).count == 6
    resumed = collect_statistics(window_graphs, random_samples(maker, 11), checkpoint=checkpoint)
    assert same(resumed, collect_statistics(window_graphs, random_samples(maker, 11)))
    assert resumed.count == 11


def test_checkpoint_of_other_samples_is_ignored(maker: Any, window_graphs: Graphs, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.npz"
    collect_statistics(window_graphs, random_samples(maker, 4), checkpoint=Checkpoint(path, "one", every=2))
    other = collect_statistics(window_graphs, random_samples(maker, 4, 9), checkpoint=Checkpoint(path, "two", every=2))
    assert same(other, collect_statistics(window_graphs, random_samples(maker, 4, 9)))


def test_first_samples_may_lack_valid_frames(maker: Any, window_graphs: Graphs, tmp_path: Path) -> None:
    def samples() -> Iterator[dict[str, Array]]:
        for _ in range(4):
            yield {"audio": np.zeros((0, maker.recipe.dims["audio"]), np.float32)}
        yield from random_samples(maker, 4)

    checkpoint = Checkpoint(tmp_path / "checkpoint.npz", "these samples", every=2)
    statistics = collect_statistics(window_graphs, samples(), checkpoint=checkpoint)
    assert statistics.count == 8
    assert same(statistics, collect_statistics(window_graphs, samples()))


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(64)
    path.write_bytes(content)


def change_schema(path: Path) -> None:
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    np.savez(path, **{**arrays, "schema": np.array(1)})


@pytest.mark.parametrize("change", [damage, change_schema, lambda path: path.write_bytes(b"no archive")])
def test_unusable_checkpoint_restarts_the_pass(
    maker: Any, window_graphs: Graphs, tmp_path: Path, change: Callable[[Path], object]
) -> None:
    checkpoint = Checkpoint(tmp_path / "checkpoint.npz", "these samples", every=2)
    expected = collect_statistics(window_graphs, random_samples(maker, 4), checkpoint=checkpoint)
    change(checkpoint.path)
    assert same(collect_statistics(window_graphs, random_samples(maker, 4), checkpoint=checkpoint), expected)
    assert load_statistics(checkpoint.path).count == 4


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [0.0, 0.25, -3.0])
def test_one_constant_sample_is_enough_to_quantize(
    maker: Any, run: Any, window_graphs: Graphs, method: Any, value: float
) -> None:
    sample = {"audio": np.full((4, maker.recipe.dims["audio"]), value, np.float32)}
    ranges = compute_ranges(collect_statistics(window_graphs, [sample]), method)
    inputs = {"frames.audio": np.full((1, FRAMES, maker.recipe.dims["audio"]), value, np.float32)}
    inputs["valid.audio"] = np.ones((1, FRAMES), np.float32)
    window = window_graphs[GraphKey.window(Subset.A)]
    expected = run(window, inputs)["tokens.audio"]
    actual = run(quantize(window, ranges, "ort-x86-vnni"), inputs)["tokens.audio"]
    assert np.abs(actual - expected).max() < 0.1 * np.abs(expected).max()


def test_sample_without_a_known_array_is_rejected() -> None:
    with pytest.raises(CalibrationError, match="named language, audio, vision or ids, got speech"):
        graph_for_sample({"speech": np.zeros(3)})


def test_unusable_samples_are_rejected(maker: Any, window_graphs: Graphs) -> None:
    dims = dict(maker.recipe.dims)
    with pytest.raises(CalibrationError, match="No calibration sample has a valid frame"):
        collect_statistics(window_graphs, [])
    with pytest.raises(CalibrationError, match="needs the graph 'window v'"):
        collect_statistics(window_graphs, [{"vision": np.zeros((2, 3), np.float32)}])
    with pytest.raises(CalibrationError, match="does not fit"):
        collect_statistics(window_graphs, [window_sample({"audio": 3}, {"audio": 7}, 0)])
    holes = window_sample({"audio": 3}, dims, 0)
    holes["valid.audio"][0, 0] = 0
    with pytest.raises(CalibrationError, match="must have its ones first"):
        collect_statistics(window_graphs, [holes])
    infinite = window_sample({"audio": 3}, dims, 0)
    infinite["frames.audio"][0, 0, 0] = np.inf
    with pytest.raises(CalibrationError, match="NaN or infinite"):
        collect_statistics(window_graphs, [infinite])
