from __future__ import annotations

import math

import numpy as np

from edge_msa_runtime.vision.warping import Region, sample, sample_region

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def test_a_region_of_whole_pixels_is_copied() -> None:
    sampled = sample_region(PIXELS, Region(12, 9, 8, 8), 8, fill=True)
    np.testing.assert_array_equal(sampled, PIXELS[5:13, 8:16])


def test_positions_between_pixels_are_interpolated() -> None:
    found = sample(PIXELS, np.array([[3.5, 7.0], [3.0, 7.25]]), fill=True)
    pixels = PIXELS.astype(np.float64)
    np.testing.assert_array_equal(found[0], np.floor((pixels[7, 3] + pixels[7, 4]) / 2 + 0.5))
    np.testing.assert_array_equal(found[1], np.floor(pixels[7, 3] * 0.75 + pixels[8, 3] * 0.25 + 0.5))


def test_outside_of_the_picture_is_black_or_the_nearest_pixel() -> None:
    positions = np.array([[-5.0, -5.0], [40.0, 10.0]])
    np.testing.assert_array_equal(sample(PIXELS, positions, fill=True), np.zeros((2, 3)))
    np.testing.assert_array_equal(sample(PIXELS, positions, fill=False), PIXELS[[0, 10], [0, 29]])


def test_a_region_can_be_rotated() -> None:
    sampled = sample_region(PIXELS, Region(10, 10, 8, 8, math.pi / 2), 8, fill=True)
    np.testing.assert_array_equal(sampled, np.rot90(PIXELS[6:14, 7:15]))


def test_shares_of_a_region_are_mapped_to_the_picture() -> None:
    corners = Region(10, 20, 4, 2, math.pi / 2).to_picture(np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]))
    np.testing.assert_allclose(corners, [[11, 18], [11, 22], [9, 22]], atol=1e-12)
