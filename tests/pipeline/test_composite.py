"""Which observation a pixel shows, against the definition written out pixel by pixel."""

import itertools

import numpy as np
import pytest
from s2sharp.cube.layout import FILL
from s2sharp.mosaic.composite import (
    FAR,
    blending_weights,
    distance_from_cloud,
    feathered,
    medians,
    medoid,
)

RNG = np.random.default_rng


def layers(seed: int, shape: tuple[int, int] = (40, 50)) -> tuple[np.ndarray, np.ndarray]:
    """Classes with cloud (8, 9), shadow (3), cirrus (10), snow, a defect; and gaps."""
    rng = RNG(seed)
    cloud = rng.choice([0, 1, 2, 4, 5, 6, 7, 11], shape).astype(np.uint8)
    for kind in (3, 8, 9, 10):
        row, col = rng.integers(0, shape[0]), rng.integers(0, shape[1])
        cloud[row : row + 3, col : col + 2] = kind
    valid = np.ones(shape, dtype=np.uint8)
    valid[rng.random(shape) < 0.01] = 0
    return cloud, valid


def nearest(mask: np.ndarray) -> np.ndarray:
    """Distance to the nearest set pixel, each pair looked at."""
    rows, cols = np.indices(mask.shape)
    there = np.argwhere(mask)
    if not len(there):
        return np.full(mask.shape, np.inf)
    far = [(rows - r) ** 2 + (cols - c) ** 2 for r, c in there]
    return np.sqrt(np.min(far, axis=0))


@pytest.mark.parametrize("dilate", [0, 2.5, 6])
def test_a_pixel_is_as_clear_as_cloud_and_the_edge_are_far(dilate):
    for seed in range(3):
        cloud, valid = layers(seed)
        hidden = (cloud == 3) | (cloud == 8) | (cloud == 9) | (cloud == 10)
        expected = np.ceil(np.minimum(nearest(hidden) - dilate, FAR))
        edge = np.ceil(nearest(valid == 0))
        expected = np.where(edge <= 12, np.minimum(expected, edge), expected)
        expected[(cloud == 1) | (expected < 0)] = 0
        np.testing.assert_array_equal(distance_from_cloud(cloud, valid, dilate), expected)


def test_snow_is_ground_and_a_defect_spoils_itself_alone():
    cloud = np.full((9, 9), 11, dtype=np.uint8)
    cloud[4, 4] = 1
    clear = distance_from_cloud(cloud, np.ones((9, 9), dtype=np.uint8), 3)
    assert clear[4, 4] == 0
    assert (np.delete(clear.ravel(), 40) == FAR).all()


def test_without_a_classification_all_that_is_valid_is_clear():
    valid = np.ones((300, 300), dtype=np.uint8)
    valid[:, :10] = 0
    clear = distance_from_cloud(np.zeros_like(valid), valid, 10)
    assert (clear[:, :10] == 0).all()
    np.testing.assert_array_equal(clear[7, 10:22], np.arange(1, 13))
    assert (clear[:, 22:] == FAR).all()


def test_a_margin_of_context_makes_a_part_as_clear_as_the_whole():
    rng = RNG(1)
    cloud = np.where(rng.random((700, 700)) < 2e-5, 9, 4).astype(np.uint8)
    valid = (rng.random((700, 700)) > 1e-5).astype(np.uint8)
    dilate = 10.0
    whole = distance_from_cloud(cloud, valid, dilate)
    margin = FAR + 11
    part = np.s_[250 - margin : 300 + margin, 330 - margin : 380 + margin]
    inner = distance_from_cloud(cloud[part], valid[part], dilate)[margin:-margin, margin:-margin]
    np.testing.assert_array_equal(inner, whole[250:300, 330:380])
    assert len(np.unique(inner)) > 5


def stack_of(seed: int, count: int, bands: int = 3, side: int = 12) -> np.ndarray:
    rng = RNG(seed)
    stack = rng.integers(-500, 9_000, (count, bands, side, side)).astype(np.int16)
    gone = rng.random((count, 1, side, side)) < 0.3
    stack = np.where(gone, np.int16(FILL), stack)
    stack[:, :, 0, 0] = FILL
    stack[0, :, 1, 1] = 32_767
    return stack


@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_a_median_is_numpys_of_what_is_there(count):
    stack = stack_of(count, count)[:, 0]
    known = np.where(stack == FILL, np.nan, stack.astype(float))
    with np.errstate(all="ignore"), pytest.warns(RuntimeWarning, match="All-NaN"):
        expected = np.rint(np.nanmedian(known, axis=0))
    np.testing.assert_array_equal(medians(stack), np.where(np.isnan(expected), FILL, expected))


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_a_medoid_has_the_smallest_sum_of_distances(count):
    stack = stack_of(count, count)
    index = medoid(stack)
    for row, col in itertools.product(*map(range, index.shape)):
        spectra = stack[:, :, row, col].astype(float)
        there = np.flatnonzero(spectra[:, 0] != FILL)
        if not len(there):
            assert index[row, col] == -1
            continue
        sums = [np.linalg.norm(spectra[there] - spectra[i], axis=1).sum() for i in there]
        best = min(sums)
        # The first of equals: two observations are always equally far from each other.
        assert index[row, col] == next(i for i, s in zip(there, sums, strict=True) if s == best)


def test_shares_fall_linearly_across_a_straight_border_and_add_up():
    chosen = np.repeat(np.where(np.arange(200) < 100, 1, 2)[None], 120, axis=0)
    everywhere = np.ones(chosen.shape, dtype=bool)
    reach = 20
    first, second = (blending_weights(chosen, everywhere, k, reach)[60] for k in (1, 2))
    total = first + second
    inner = slice(reach, -reach)
    assert (total[inner] == (2 * reach + 1) ** 2).all()
    part = (first / np.maximum(total, 1))[inner]
    assert (part[: 100 - 2 * reach] == 1).all()
    assert (part[100:] == 0).all()
    steps = np.diff(part[100 - 2 * reach - 1 : 101])
    np.testing.assert_allclose(steps[1:-1], -1 / (2 * reach + 1))


def test_a_share_fades_towards_where_a_source_ends():
    chosen = np.repeat(np.where(np.arange(200) < 100, 1, 2)[None], 120, axis=0)
    usable = np.repeat((np.arange(200) < 100)[None], 120, axis=0)  # the first ends at the border
    first = blending_weights(chosen, usable, 1, 20)[60]
    second = blending_weights(chosen, np.ones_like(usable), 2, 20)[60]
    part = (first / np.maximum(first + second, 1))[20:-20]
    assert part[:60].min() == 1
    # At its last pixel nearly nothing of it is left: no edge is seen where it ends.
    assert part[79] < 0.06
    assert (np.diff(part[60:80]) < 0).all()


def test_what_has_no_weight_has_no_value():
    total = np.array([[[10.0, 0.0, -7.5]]])
    np.testing.assert_array_equal(feathered(total, np.array([[4.0, 0.0, 3.0]])), [[[2, FILL, -2]]])
