from __future__ import annotations

from dataclasses import replace

import numpy as np

from edge_msa.data.dataset import Dataset
from edge_msa.data.extraction.segment_dataset import Sample, build_segment_dataset
from edge_msa.data.extraction.segment_job import SegmentResult
from edge_msa.data.extraction.table import Segment
from edge_msa.data.options import LoadOptions
from edge_msa.data.tasks import MOSI, NO_TASK
from edge_msa_runtime.features import FeatureSource

ONES = SegmentResult({"audio": np.ones((3, 2), np.float32)}, {"audio": np.array([True, False, True])})
FACELESS = SegmentResult({"vision": np.zeros((4, 5), np.float32)}, {"vision": np.zeros(4, np.bool_)})


def segment(name: str, **others: object) -> Segment:
    return replace(Segment(name, name, 2, label=(1.0,), video=name), **others)  # type: ignore[arg-type]


def build(*samples: Sample) -> Dataset:
    features = {"audio": FeatureSource("a", rate_hz=100), "vision": FeatureSource("v", rate_hz=15)}
    return build_segment_dataset("clips", MOSI, samples, options=LoadOptions(), features=features, notes=["one"])


def test_samples_keep_order_masks_and_provenance() -> None:
    long = SegmentResult({"audio": np.full((5, 2), 2, np.float32)}, {"audio": np.ones(5, np.bool_)})
    dataset = build(
        (segment("a[2:3]", video="a", position=2.0, text="so good"), ONES),
        (segment("a[0:1]", video="a", position=0.0, label=(-2.0,)), long),
        (segment("b", split="test"), SegmentResult()),
    )
    train, test = dataset.splits["train"], dataset.splits["test"]
    assert train.ids == ("a[2:3]", "a[0:1]")
    assert train.groups == ("a", "a")
    assert train.positions == (2.0, 0.0)
    assert train.texts == ("so good", "")
    assert train.labels.tolist() == [1, -2]
    audio = train.modalities["audio"]
    assert audio.valid.tolist() == [[True, False, True, False, False], [True] * 5]
    assert audio.take()[0].tolist() == [[1, 1], [0, 0], [1, 1], [0, 0], [0, 0]]
    assert not test.modalities["audio"].valid.any()
    assert dataset.features == {"audio": FeatureSource("a", rate_hz=100)}
    assert dataset.notes[0] == "one"


def test_a_modality_without_a_valid_frame_is_left_out() -> None:
    assert build((segment("a"), ONES), (segment("b"), FACELESS)).dims == {"audio": 2}
    seen = SegmentResult({"vision": np.ones((1, 5), np.float32)}, {"vision": np.ones(1, np.bool_)})
    dataset = build((segment("a"), seen), (segment("b"), FACELESS))
    assert dataset.splits["train"].modalities["vision"].valid.tolist() == [[True, *[False] * 3], [False] * 4]


def test_tables_without_labels_make_unlabeled_samples() -> None:
    samples = [(segment("a", label=()), ONES)]
    dataset = build_segment_dataset("clips", NO_TASK, samples, options=LoadOptions(), features={})
    assert np.isnan(dataset.splits["train"].labels).all()
