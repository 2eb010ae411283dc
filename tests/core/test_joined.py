"""Windows that are sharpened as one: fewer calls, the same bits, and only where the net vouches for them."""

from dataclasses import replace
from functools import lru_cache
from math import prod

import numpy as np
import pytest
import torch

from s2sharp_core import BANDS, load_sharpener
from s2sharp_core.blocks import context, prepare_block, sharpen_prepared
from s2sharp_core.lattice import Box
from s2sharp_core.networks.corrector import Corrector
from s2sharp_core.networks.int8 import supported
from s2sharp_core.networks.s2net import S2Net
from s2sharp_core.sensor.response import SENTINEL2
from s2sharp_core.sensor.simulate import landscape
from s2sharp_core.sharpeners import NetSharpener
from s2sharp_core.sharpeners.error90 import WithError90
from s2sharp_core.sharpeners.trust import WithTrust

from .scenes import native

SIDE = 16


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@lru_cache
def drawn(shape):
    return native(landscape(shape, 9))


def sharpened(monkeypatch, sharpener, want, *, joins, within=None):
    """Sharpen a part of a drawn scene with a gap; return its bands and the sides in cells of what was sharpened at once."""
    within = within or want
    have = within.grow(context(sharpener))
    data = {band: values.copy() for band, values in drawn(have.pixels(10)).items()}
    hole = Box(within.row0 + 5, within.row0 + 8, within.col0 + 9, within.col0 + 11)
    for band, values in data.items():
        values[have.slices(hole, BANDS[band].gsd)] = np.nan
    sides, whole = [], NetSharpener.sharpen_inner

    def counted(self, y10, *rest):
        sides.append(tuple(n // 6 - 2 * self.halo for n in y10.shape[2:]))
        return whole(self, y10, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(NetSharpener, "sharpen_inner", counted)
        if not joins:
            patch.setattr(NetSharpener, "joins", lambda *_: False)
            patch.setattr(sharpener, "any_shape", False)
        block = prepare_block(data, have, want, sharpener)
        return sharpen_prepared(block, sharpener, SIDE), sides


vnni = pytest.mark.skipif(
    not supported(), reason="no processor with VNNI: nets compute in bfloat16"
)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", pytest.param("int8", marks=vnni)])
def test_windows_joined_have_the_same_bits(monkeypatch, threads, precision):
    threads(1)
    sharpener = load_sharpener("s2net-s", device="cpu", precision=precision)
    # Two windows by three, the last ones cut off: four as one and two alone, or also as one where any shape will do.
    want = Box(90_048, 90_080, 8_352, 8_393)
    joined, sides = sharpened(monkeypatch, sharpener, want, joins=True)
    alone, each = sharpened(monkeypatch, sharpener, want, joins=False)
    whole = (2 * SIDE, 2 * SIDE)
    assert sorted(sides) == (
        [(2 * SIDE, 9), whole] if precision == "int8" else [(SIDE, SIDE)] * 2 + [whole]
    )
    assert each == [(SIDE, SIDE)] * 6
    for band, x in alone.items():
        assert np.array_equal(x, joined[band], equal_nan=True), band


def test_a_sensor_that_shifts_bands_changes_nothing_of_that(monkeypatch, threads):
    threads(1)
    sharpener = load_sharpener("s2net-s", device="cpu", precision="float32", sensor=_shifted())
    want = Box(90_048, 90_080, 8_352, 8_384)
    joined, sides = sharpened(monkeypatch, sharpener, want, joins=True)
    alone, _ = sharpened(monkeypatch, sharpener, want, joins=False)
    assert sides == [(2 * SIDE, 2 * SIDE)]
    for band, x in alone.items():
        assert np.array_equal(x, joined[band], equal_nan=True), band


def _shifted():
    responses = [
        replace(SENTINEL2.response(band), dy=0.1 * i, dx=0.3 - 0.1 * i)
        for i, band in enumerate(("B01", "B05", "B8A", "B11"))
    ]
    return replace(SENTINEL2, responses=tuple(responses))


@pytest.mark.parametrize(
    ("count", "expected"), [(2, [SIDE] * 4), (2, [2 * SIDE] * 2), (3, [SIDE] * 8)]
)
def test_no_thread_is_left_without_a_window(monkeypatch, threads, count, expected):
    threads(count)
    sharpener = load_sharpener("s2net-s", device="cpu", precision="float32")
    columns = sum(side * side for side in expected) // (2 * SIDE)
    want = Box(90_048, 90_080, 8_352, 8_352 + columns)
    _, sides = sharpened(monkeypatch, sharpener, want, joins=True)
    assert sides == [(side, side) for side in expected]


@vnni
def test_windows_with_layers_stay_whole(monkeypatch, threads):
    """A library adds up the layers of a single band in an order that the shape decides."""
    threads(1)
    bare = load_sharpener("s2net-s", ["B01"], device="cpu", precision="int8")
    sharpener = WithError90(WithTrust(bare))
    around = Box(90_048, 90_080, 8_352, 8_384)
    whole, _ = sharpened(monkeypatch, sharpener, around, joins=False)
    random = np.random.default_rng(7)
    for _ in range(6):
        row, col = (int(n) for n in random.integers(0, 20, 2))
        height, width = (int(n) for n in random.integers(1, 12, 2))
        want = Box(90_048 + row, 90_048 + row + height, 8_352 + col, 8_352 + col + width)
        part, _ = sharpened(monkeypatch, sharpener, want, joins=True, within=around)
        for band, x in part.items():
            assert np.array_equal(x, whole[band][around.slices(want, 10)], equal_nan=True), band


@vnni
def test_windows_end_with_the_area_and_have_the_bits_of_whole_ones(monkeypatch, threads):
    threads(1)
    sharpener = load_sharpener("s2net-s", device="cpu", precision="int8")
    around = Box(90_048, 90_080, 8_352, 8_384)
    whole, _ = sharpened(monkeypatch, sharpener, around, joins=False)
    random = np.random.default_rng(5)
    for _ in range(6):
        row, col = random.integers(0, 2 * SIDE, 2)
        rows, cols = random.integers((row + 1, col + 1), 2 * SIDE + 1)
        want = Box(90_048 + row, 90_048 + rows, 8_352 + col, 8_352 + cols)
        part, sides = sharpened(monkeypatch, sharpener, want, joins=True, within=around)
        assert sum(map(prod, sides)) == prod(want.shape)
        for band, x in part.items():
            assert np.array_equal(x, whole[band][around.slices(want, 10)], equal_nan=True), band


def test_a_net_whose_bits_depend_on_the_shape_is_not_joined(monkeypatch):
    """As where a library convolves larger pictures in another order."""
    net = S2Net(8, 1)
    assert net.joins(SIDE)
    whole = Corrector.forward

    def otherwise(self, x, rim=0):
        return whole(self, x, rim) + (1e-7 if x.shape[-1] > 100 else 0)

    monkeypatch.setattr(Corrector, "forward", otherwise)
    assert net.joins(SIDE)  # it was tried once
    assert not S2Net(8, 1).joins(SIDE)
