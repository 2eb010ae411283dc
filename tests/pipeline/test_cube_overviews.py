"""Overviews of a cube: means of what has data, each of the whole level below."""

import warnings

import numpy as np
import pytest
from s2sharp.cube.layout import FILL, LAYERS
from s2sharp.cube.overviews import _halve

from s2sharp_core.lattice import Box

from .odd_cubes import AREA, BANDS, TIMES, layout_of, make, read_all, world


def by_hand(name: str, x: np.ndarray) -> np.ndarray:
    """Means of two by two pixels that have data; a leftover row or column stands alone."""
    padded = np.pad(x.astype(float), [(0, n % 2) for n in x.shape], constant_values=np.nan)
    if name not in LAYERS:
        padded[padded == FILL] = np.nan
    quads = padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2)
    if name in ("valid", "saturated"):
        return np.nanmax(quads, axis=(1, 3))
    if name in LAYERS:
        return quads[:, 0, :, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        mean = np.rint(np.nanmean(quads, axis=(1, 3)))
    return np.where(np.isnan(mean), FILL, mean)


def test_overviews_are_means_of_what_has_data():
    x = np.full((4, 6), FILL, dtype=np.int16)
    x[0, 0], x[0, 2:4], x[1, 2] = -500, (100, 201), 300
    x[2:, 4:] = 32_767
    x[2, 0], x[2, 1], x[3, 0] = -32_767, -32_767, -32_767
    np.testing.assert_array_equal(_halve("B05", x), [[-500, 200, FILL], [-32_767, FILL, 32_767]])
    flags = (x > 0).astype(np.uint8)
    np.testing.assert_array_equal(_halve("valid", flags), [[0, 1, 0], [0, 0, 1]])
    classes = np.arange(24, dtype=np.uint8).reshape(4, 6)
    np.testing.assert_array_equal(_halve("cloud", classes), classes[::2, ::2])


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("shape", [(40, 64), (41, 7), (1, 1)])
def test_overviews_are_these_means_whether_all_some_or_none_has_data(share, shape):
    rng = np.random.default_rng(3)
    x = rng.integers(FILL + 1, 32_767, shape, dtype=np.int16, endpoint=True)
    x[rng.random(shape) < share] = FILL
    halved = _halve("B05", x)
    assert halved.dtype == np.int16
    np.testing.assert_array_equal(halved, by_hand("B05", x))


@pytest.mark.parametrize(
    ("area", "shard", "chunk"),
    [
        (AREA, 8, 24),
        # 480 × 60 px: the narrow side is odd before the wide one fits into a chunk.
        (Box(0, 10, 0, 80), 10, 60),
        (Box(3, 75, 4, 12), 9, 27),
        (Box(0, 5, 0, 5), 8, 48),
    ],
)
def test_every_overview_is_made_of_the_whole_level_below(tmp_path, area, shard, chunk):
    layout = layout_of(area=area, shard=shard, chunk=chunk, times=TIMES[:1])
    store = make(tmp_path, layout, overviews=True)
    for level in range(1, layout.levels + 1):
        everything = slice(None), slice(None)
        below = read_all(store, layout, 0, *everything, level - 1)
        above = read_all(store, layout, 0, *everything, level)
        for name in (*BANDS, *LAYERS):
            assert above[name].shape == layout.shape(level)
            np.testing.assert_array_equal(above[name], by_hand(name, below[name]))
            assert above[name].dtype == below[name].dtype
    finest = read_all(store, layout, 0, slice(None), slice(None), 0)
    np.testing.assert_array_equal(finest["B02"], world("B02", layout.box, TIMES[0]))
