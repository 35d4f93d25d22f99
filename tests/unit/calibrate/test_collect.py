"""Statistics in one pass: any iterable, resumable, by subset."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from edge_msa_calibrate.collect import Checkpoint, collect_statistics, scope_of
from edge_msa_calibrate.errors import CalibrationError
from edge_msa_calibrate.histogram import HistogramBuilder, merged
from edge_msa_calibrate.qdq import quantize
from edge_msa_calibrate.ranges import METHODS, compute_ranges
from edge_msa_calibrate.statistics import Statistics, load_statistics

Array = npt.NDArray[Any]

FRAMES = 12


def graphs_of(maker: Any) -> dict[str, Any]:
    return {"a": maker.window(FRAMES, ("audio",)), "la": maker.window(FRAMES, ("language", "audio"))}


def stream(maker: Any, count: int, seed: int = 0) -> Iterator[dict[str, Array]]:
    rng = np.random.default_rng(seed)
    for turn in range(count):
        names = ("audio",) if turn % 2 else ("language", "audio")
        yield {
            name: rng.standard_normal((int(rng.integers(1, FRAMES + 4)), maker.recipe.dims[name])).astype(np.float32)
            for name in names
        }


def same(one: Statistics, two: Statistics) -> bool:
    return one.samples == two.samples and all(
        np.array_equal(item.counts, two.by_subset[scope][key].counts)
        for scope, found in one.by_subset.items()
        for key, item in found.items()
    )


def test_frames_by_modality_are_padded_and_cut_as_a_window_has_them(maker: Any) -> None:
    short = np.random.default_rng(0).standard_normal((5, maker.recipe.dims["audio"])).astype(np.float32)
    padded = np.zeros((1, FRAMES, short.shape[1]), np.float32)
    padded[0, :5] = short
    by_input = {"frames.audio": padded, "valid.audio": (np.arange(FRAMES) < 5).astype(np.float32)[None]}
    longer = np.concatenate([np.tile(short, (2, 1)), np.tile(short, (2, 1))])
    assert same(
        collect_statistics(graphs_of(maker), [{"audio": short}]), collect_statistics(graphs_of(maker), [by_input])
    )
    assert same(
        collect_statistics(graphs_of(maker), [{"audio": longer}]),
        collect_statistics(graphs_of(maker), [{"audio": longer[:FRAMES]}]),
    )


def test_subsets_are_kept_apart_and_merge_to_what_one_pass_counts(maker: Any) -> None:
    found = collect_statistics(graphs_of(maker), stream(maker, 8))
    assert list(found.by_subset) == ["a", "la"]
    assert not any(key.startswith("encoders.language") for key in found.by_subset["a"])
    key = "encoders.audio.embed.weight:input"
    assert found.histograms[key].count == sum(found.by_subset[scope][key].count for scope in ("a", "la"))
    language = "encoders.language.embed.weight:input"
    assert np.array_equal(found.histograms[language].counts, found.by_subset["la"][language].counts)


def test_merged_histograms_equal_one_of_all_values() -> None:
    rng = np.random.default_rng(1)
    parts = [(rng.standard_normal(500) * scale).astype(np.float32) for scale in (1, 30, 0.01)]
    builders = [HistogramBuilder(64) for _ in parts]
    for builder, values in zip(builders, parts, strict=True):
        builder.add(values)
    whole = HistogramBuilder(64)
    whole.add(np.concatenate(parts))
    one, all_of_them = merged([builder.histogram() for builder in builders]), whole.histogram()
    assert np.array_equal(one.counts, all_of_them.counts)
    assert (one.limit, one.minimum, one.maximum) == (all_of_them.limit, all_of_them.minimum, all_of_them.maximum)
    with pytest.raises(CalibrationError, match="64 bins cannot join one of 32"):
        merged([of_ones(32), builders[0].histogram()])


def of_ones(bins: int) -> Any:
    builder = HistogramBuilder(bins)
    builder.add(np.ones(3, np.float32))
    return builder.histogram()


class InterruptedPassError(Exception):
    pass


def test_an_interrupted_pass_goes_on_without_seeing_a_sample_twice(maker: Any, tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "kept.npz", "these samples", every=3)

    def breaking() -> Iterator[dict[str, Array]]:
        for turn, sample in enumerate(stream(maker, 11)):
            if turn == 8:
                raise InterruptedPassError
            yield sample

    with pytest.raises(InterruptedPassError):
        collect_statistics(graphs_of(maker), breaking(), checkpoint=checkpoint)
    assert load_statistics(checkpoint.path).count == 6
    went_on = collect_statistics(graphs_of(maker), stream(maker, 11), checkpoint=checkpoint)
    assert same(went_on, collect_statistics(graphs_of(maker), stream(maker, 11)))
    assert went_on.count == 11


def test_what_was_kept_of_another_stream_is_not_gone_on_with(maker: Any, tmp_path: Path) -> None:
    path = tmp_path / "kept.npz"
    collect_statistics(graphs_of(maker), stream(maker, 4), checkpoint=Checkpoint(path, "one", every=2))
    other = collect_statistics(graphs_of(maker), stream(maker, 4, 9), checkpoint=Checkpoint(path, "two", every=2))
    assert same(other, collect_statistics(graphs_of(maker), stream(maker, 4, 9)))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [0.0, 0.25, -3.0])
def test_a_single_sample_of_constants_works(maker: Any, run: Any, method: Any, value: float) -> None:
    sample = {"audio": np.full((4, maker.recipe.dims["audio"]), value, np.float32)}
    ranges = compute_ranges(collect_statistics(graphs_of(maker), [sample]), method)
    window = maker.window(FRAMES, ("audio",))
    inputs = {"frames.audio": np.full((1, FRAMES, maker.recipe.dims["audio"]), value, np.float32)}
    inputs["valid.audio"] = np.ones((1, FRAMES), np.float32)
    found = run(quantize(window, ranges, "ort-x86-vnni"), inputs)["tokens.audio"]
    assert np.abs(found - run(window, inputs)["tokens.audio"]).max() < 0.2


def test_a_sample_that_names_nothing_known_is_refused() -> None:
    with pytest.raises(CalibrationError, match="holds speech; name its arrays language, audio, vision, or ids"):
        scope_of({"speech": np.zeros(3)})
