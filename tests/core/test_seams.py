"""No seams of our making: the same place has the same values, however the scene was cut."""

import numpy as np
import pytest
import torch

from s2sharp_core import S2SharpError, load_sharpener, sharpen, sharpening
from s2sharp_core.bands import COARSE, GSDS
from s2sharp_core.blocks import context, sharpen_block
from s2sharp_core.lattice import Box

from .scenes import box_at, crop, native, scene, wild_dsen2

ROWS, COLS = 38, 33
WHOLE = box_at(ROWS, COLS)
WINDOW = 16


@pytest.fixture(scope="module", params=["bicubic", "wild", "dsen2"])
def sharpener(request, tmp_path_factory):
    """Random weights find a seam that trained ones would hide; trained ones are what people use."""
    if request.param == "wild":
        return wild_dsen2(tmp_path_factory.mktemp("wild"))
    return load_sharpener(request.param)


@pytest.fixture(scope="module")
def picture():
    return scene(ROWS, COLS)


@pytest.fixture(scope="module")
def whole(picture, sharpener):
    return sharpen(picture, sharpener, window=WINDOW)


def inside(result, outer, inner):
    """The cells `inner` of a result over `outer`, all coarse bands: (bands, 6h, 6w)."""
    rows, cols = outer.slices(inner, 10)
    return np.stack([result[b].values[rows, cols] for b in COARSE])


def identical(a, b):
    """Bit for bit, NaN included."""
    return np.array_equal(a.view(np.uint32), b.view(np.uint32))


@pytest.mark.parametrize("seed", range(2))
def test_a_crop_shows_what_the_whole_shows(picture, whole, sharpener, seed):
    rng = np.random.default_rng(seed)
    margin = context(sharpener)
    height, width = rng.integers(2 * margin + 2, [ROWS, COLS])
    row, col = WHOLE.row0 + rng.integers(ROWS - height), WHOLE.col0 + rng.integers(COLS - width)
    part = Box(int(row), int(row + height), int(col), int(col + width))
    result = sharpen(crop(picture, part, WHOLE), sharpener, window=WINDOW)
    inner = part.grow(-margin)
    assert identical(inside(result, part, inner), inside(whole, WHOLE, inner))


@pytest.mark.parametrize("seed", range(2))
def test_dask_chunks_leave_no_trace(picture, whole, sharpener, seed, monkeypatch):
    monkeypatch.setattr(sharpening, "_LAZY", 16)  # several blocks in a small scene
    rng = np.random.default_rng(seed)

    def cuts(n):
        edges = np.unique([0, n, *rng.integers(1, n, 3)])
        return tuple(int(i) for i in np.diff(edges))

    lazy = picture.copy()
    for gsd in GSDS:
        child = lazy[f"r{gsd}m"].to_dataset()
        lazy[f"r{gsd}m"] = child.chunk({"y": cuts(child.sizes["y"]), "x": cuts(child.sizes["x"])})
    result = sharpen(lazy, sharpener, window=WINDOW)
    assert min(map(len, result["B05"].chunks)) > 1
    done = result.compute()
    assert identical(inside(done, WHOLE, WHOLE), inside(whole, WHOLE, WHOLE))


@pytest.mark.parametrize("window", [12, 64])
def test_other_windows_change_at_most_one_dn_in_a_thousandth_of_the_pixels(
    picture, whole, sharpener, window
):
    results = sharpen(picture, sharpener, window=window), whole
    dn, expected = (np.round(inside(x, WHOLE, WHOLE) * 10_000).astype(int) for x in results)
    difference = np.abs(dn - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() <= 0.001


def test_the_number_of_threads_changes_nothing(picture, whole, sharpener):
    part = WHOLE.grow(-9)
    inner = part.grow(-context(sharpener))
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if threads > 1 else 2)
    try:
        result = sharpen(crop(picture, part, WHOLE), sharpener, window=WINDOW)
    finally:
        torch.set_num_threads(threads)
    assert identical(inside(result, part, inner), inside(whole, WHOLE, inner))


def test_what_lies_beyond_the_context_changes_nothing(sharpener):
    """Not even holes, nor extreme values."""
    want = Box(90_020, 90_029, 8_350, 8_361)
    have = want.grow(context(sharpener) + 5)
    rng = np.random.default_rng(0)
    near = native(rng.uniform(0, 1, (12, *have.pixels(10))).astype(np.float32))
    first = sharpen_block(near, have, want, sharpener, WINDOW)
    needed = want.grow(context(sharpener))
    far = {}
    for band, y in near.items():
        gsd = 60 * have.shape[0] // y.shape[0]
        beyond = np.ones(y.shape, dtype=bool)
        beyond[have.slices(needed, gsd)] = False
        strange = rng.choice([np.nan, -1, 0, 6.5], y.shape).astype(np.float32)
        far[band] = np.where(beyond, strange, y)
    second = sharpen_block(far, have, want, sharpener, WINDOW)
    for band in COARSE:
        assert np.isfinite(first[band]).all()
        assert identical(first[band], second[band])


def test_the_halo_is_no_larger_than_needed(sharpener):
    """Its outermost cells do change something: so the tests above look where it matters."""
    want = Box(90_020, 90_029, 8_350, 8_361)
    have = want.grow(context(sharpener))
    rng = np.random.default_rng(1)
    data = native(rng.uniform(0, 1, (12, *have.pixels(10))).astype(np.float32))
    first = sharpen_block(data, have, want, sharpener, WINDOW)
    rings = {}
    for band, y in data.items():
        gsd = 60 * have.shape[0] // y.shape[0]
        ring = np.zeros(y.shape, dtype=bool)
        ring[have.slices(want.grow(sharpener.halo), gsd)] = True
        ring[have.slices(want.grow(sharpener.halo - 1), gsd)] = False
        rings[band] = np.where(ring, y + np.float32(1), y)
    second = sharpen_block(rings, have, want, sharpener, WINDOW)
    assert any(not identical(first[band], second[band]) for band in COARSE)


def test_a_block_read_without_its_context_is_refused(sharpener):
    want = Box(90_020, 90_029, 8_350, 8_361)
    have = want.grow(context(sharpener) - 1)
    data = native(np.full((12, *have.pixels(10)), 0.2, dtype=np.float32))
    with pytest.raises(S2SharpError, match="cells around") as error:
        sharpen_block(data, have, want, sharpener, WINDOW)
    assert error.value.kind == "context-missing"
