"""A gap goes on as what lies beside it, seen in a mirror, and depends on what is near alone."""

import numpy as np
import pytest

from s2sharp_core import sharpen
from s2sharp_core.bands import BANDS, CELL
from s2sharp_core.gaps import closed
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
    for band, y in closed(ended, RADIUS).items():
        n = CELL // BANDS[band].gsd
        reach = RADIUS // 2 * n
        inside = given[band][: 20 * n, : 24 * n]
        there = np.pad(inside, ((0, reach), (0, reach)), mode="symmetric")
        found = y[: 20 * n + reach, : 24 * n + reach]
        np.testing.assert_allclose(found, there, atol=1e-6)


def test_what_is_there_stays_and_nothing_is_left_open() -> None:
    given = picture()
    rng = np.random.default_rng(1)
    holed = {b: np.where(rng.random(y.shape) < 0.2, np.nan, y) for b, y in given.items()}
    for band, y in closed(holed, RADIUS).items():
        there = ~np.isnan(holed[band])
        assert (y[there] == holed[band][there]).all()
        assert np.isfinite(y).all()
        assert y.dtype == np.float32
    assert closed(given, RADIUS)["B02"] is given["B02"]


def test_a_hole_goes_on_on_each_of_its_sides_as_the_picture_beside_it() -> None:
    given = {"B02": np.add.outer(np.arange(180), 2 * np.arange(204)).astype(np.float32)}
    holed = without(given, slice(12, 15), slice(14, 17))
    hole = closed(holed, RADIUS)["B02"][72:90, 84:102]
    truth = given["B02"][72:90, 84:102]
    for edge in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        assert np.abs(hole[edge] - truth[edge]).mean() < 6


def test_what_a_gap_becomes_follows_from_what_is_near_alone() -> None:
    """Of an array cut at twice the radius, nothing within the radius of what is valid is another value."""
    rng = np.random.default_rng(2)
    given = picture(60, 60)
    for rows, cols in ((slice(0, 22), slice(0, 60)), (slice(30, 33), slice(31, 34))):
        given = without(given, rows, cols)
    given = {b: np.where(rng.random(y.shape) < 0.002, np.nan, y) for b, y in given.items()}
    whole = closed(given, RADIUS)
    for row, col in ((12, 12), (24, 30), (20, 40)):
        want = slice(row, row + 4), slice(col, col + 4)
        near = [slice(s.start - RADIUS, s.stop + RADIUS) for s in want]
        wide = [slice(s.start - 2 * RADIUS, s.stop + 2 * RADIUS) for s in want]
        part = closed(cut(given, wide[0], wide[1]), RADIUS)
        valid = ~np.isnan(cut(given, *want)["B09"])
        if not valid.any():
            continue
        inner = slice(RADIUS, RADIUS + 4 + RADIUS + RADIUS)
        for band, y in cut(whole, near[0], near[1]).items():
            assert (cut(part, inner, inner)[band] == y).all()


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
        return {band: found[band].values for band in ("B05", "B8A", "B11")}

    beside, usual = sharp(holed), sharp(inputs)
    out = gone.repeat(6, 0).repeat(6, 1)
    near = np.zeros_like(out)
    for shift in ((2, 0), (-2, 0), (0, 2), (0, -2)):
        near |= np.roll(out, shift, (0, 1))
    near &= ~out
    near[:6] = near[-6:] = near[:, :6] = near[:, -6:] = False

    def error(found: Arrays, band: str) -> float:
        return float(np.sqrt(np.square(found[band] - truth[band])[near].mean()))

    ratios = [error(beside, band) / error(usual, band) for band in usual]
    assert np.mean(ratios) < (1.2 if shape == "an end" else 1.7)
