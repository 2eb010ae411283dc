"""A gap goes on as what lies beside it, seen in a mirror, and depends on what is near alone."""

import numpy as np
import pytest

from s2sharp_core import sharpen
from s2sharp_core.bands import BANDS, CELL
from s2sharp_core.gaps import closed, holes_of
from s2sharp_core.scene import make_scene
from s2sharp_core.sensor.simulate import landscape

from .scenes import NORTH, box_at, native

RADIUS = 6
BANDS_USED = ("B02", "B05", "B09")
Arrays = dict[str, np.ndarray]


def picture(rows: int = 30, cols: int = 34) -> Arrays:
    rng = np.random.default_rng(0)
    sides = {band: CELL // BANDS[band].gsd for band in BANDS_USED}
    return {band: rng.random((rows * n, cols * n), dtype=np.float32) for band, n in sides.items()}


def without(arrays: Arrays, rows: slice, cols: slice) -> Arrays:
    """The picture without some cells."""
    out = {}
    for band, y in arrays.items():
        n = CELL // BANDS[band].gsd
        out[band] = y.copy()
        out[band][rows.start * n : rows.stop * n, cols.start * n : cols.stop * n] = np.nan
    return out


def cut(arrays: Arrays, rows: slice, cols: slice) -> Arrays:
    out = {}
    for band, y in arrays.items():
        n = CELL // BANDS[band].gsd
        out[band] = y[rows.start * n : rows.stop * n, cols.start * n : cols.stop * n]
    return out


def test_beyond_a_straight_end_lies_the_mirror_image_also_in_corners() -> None:
    given = picture()
    ended = without(given, slice(20, 30), slice(0, 34))
    ended = without(ended, slice(0, 30), slice(24, 34))
    shown = closed(ended, holes_of(ended), RADIUS)
    for band in BANDS_USED:
        y, n = shown[band], CELL // BANDS[band].gsd
        reach = RADIUS // 2 * n
        inside = given[band][: 20 * n, : 24 * n]
        there = np.pad(inside, ((0, reach), (0, reach)), mode="symmetric")
        found = y[: 20 * n + reach, : 24 * n + reach]
        np.testing.assert_allclose(found, there, atol=1e-6)


def test_what_is_there_stays_and_nothing_is_left_open() -> None:
    given = picture()
    rng = np.random.default_rng(1)
    holed = {b: np.where(rng.random(y.shape) < 0.2, np.nan, y) for b, y in given.items()}
    for band, y in closed(holed, holes_of(holed), RADIUS).items():
        there = ~np.isnan(holed[band])
        assert (y[there] == holed[band][there]).all()
        assert np.isfinite(y).all()
        assert y.dtype == np.float32
    assert closed(given, holes_of(given), RADIUS)["B02"] is given["B02"]


def test_a_hole_goes_on_on_each_of_its_sides_as_the_picture_beside_it() -> None:
    given = {"B02": np.add.outer(np.arange(180), 2 * np.arange(204)).astype(np.float32)}
    holed = without(given, slice(12, 15), slice(14, 17))
    hole = closed(holed, holes_of(holed), RADIUS)["B02"][72:90, 84:102]
    truth = given["B02"][72:90, 84:102]
    for edge in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        assert np.abs(hole[edge] - truth[edge]).mean() < 6


@pytest.mark.parametrize("radius", [1, 2, 3, 6, 7])
def test_what_a_gap_becomes_follows_from_what_is_near_alone(radius: int) -> None:
    """Cut at twice the radius around a valid cell, an array has the same values within the radius of it."""
    rng = np.random.default_rng(radius)
    side = 4 * radius + 20
    gone = rng.random((side, side)) < 0.3
    gone[: side // 2] |= np.add.outer(np.arange(side // 2), np.arange(side)) < side // 2
    given = {}
    for band, y in picture(side, side).items():
        n = CELL // BANDS[band].gsd
        hole = gone.repeat(n, 0).repeat(n, 1) | (rng.random(y.shape) < 0.005)
        given[band] = np.where(hole, np.nan, y)
    whole = closed(given, holes_of(given), radius)
    valid = np.argwhere(~gone[2 * radius : -2 * radius, 2 * radius : -2 * radius]) + 2 * radius
    near = slice(radius, 3 * radius + 1)
    for row, col in rng.permutation(valid)[:12]:
        around = [slice(at - 2 * radius, at + 2 * radius + 1) for at in (row, col)]
        inner = cut(given, around[0], around[1])
        part = cut(closed(inner, holes_of(inner), radius), near, near)
        same = cut(cut(whole, around[0], around[1]), near, near)
        for band, y in part.items():
            assert (same[band] == y).all()


@pytest.mark.parametrize("shape", ["an end", "a slope", "holes"])
def test_beside_a_gap_errors_are_hardly_larger_than_without_it(shape: str) -> None:
    truth = dict(zip(BANDS, landscape((216, 216), seed=7), strict=True))
    inputs = native(np.stack(list(truth.values())))
    rows, cols = np.indices((36, 36))
    gone = {
        "an end": cols >= 18,
        "a slope": cols >= 14 + rows // 5,
        "holes": ((rows % 12) // 3 == 2) & ((cols % 12) // 2 == 3),
    }[shape]
    holed = {}
    for band, y in inputs.items():
        n = CELL // BANDS[band].gsd
        holed[band] = np.where(gone.repeat(n, 0).repeat(n, 1), np.nan, y)

    def sharp(arrays: Arrays) -> Arrays:
        found = sharpen(make_scene(arrays, NORTH, box_at(36, 36)), "s2net-s", sensor="default")
        return {band: found[band].values for band in ("B05", "B8A", "B11", "B01", "B09")}

    beside, usual = sharp(holed), sharp(inputs)
    out = gone.repeat(6, 0).repeat(6, 1)
    near = np.zeros_like(out)
    for shift in ((2, 0), (-2, 0), (0, 2), (0, -2)):
        near |= np.roll(out, shift, (0, 1))
    near &= ~out
    near[:6] = near[-6:] = near[:, :6] = near[:, -6:] = False

    def error(found: Arrays, band: str) -> float:
        return float(np.sqrt(np.square(found[band] - truth[band])[near].mean()))

    ratios = {band: error(beside, band) / error(usual, band) for band in usual}
    coarse = [ratios.pop(band) for band in ("B01", "B09")]
    assert np.mean(list(ratios.values())) < (1.2 if shape == "an end" else 1.7)
    assert np.mean(coarse) < (2.0 if shape == "an end" else 2.4)
