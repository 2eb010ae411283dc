"""Where tiles overlap there is one line between them, whatever is asked for; how far they disagree is measured."""

import itertools
from pathlib import Path

import numpy as np
import pystac
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from s2sharp.demo.synthetic import write_catalog
from s2sharp.engine.ledger import Ledger
from s2sharp.scenes.acquisition import Acquisition
from s2sharp.scenes.disagreement import disagreement
from s2sharp.scenes.read import Files, precedence

from s2sharp_core.lattice import Box, Lattice

from ..core.scenes import box_at
from .pictures import gsd_of, join, noise, scenes
from .runs import config, run

TILE = 109_800
BANDS = ("B01", "B02", "B05")
BOX = box_at(60, 60)
LEFT = Box(BOX.row0, BOX.row1, BOX.col0, BOX.col0 + 40)
RIGHT = Box(BOX.row0, BOX.row1, BOX.col0 + 20, BOX.col1)


def tile(lattice: Lattice, column: int, row: int) -> Box:
    """The cells of the MGRS tile of a 100 km square."""
    left, top = column * 100_000 // 60 * 60, -(-(row + 1) * 100_000 // 20) * 20
    top += (lattice.y0 - top) % 60
    return lattice.box((left, top - TILE, left + TILE, top), "tile")


@pytest.mark.parametrize("epsg", [32633, 32733])
def test_between_real_tiles_the_line_is_straight_and_in_the_middle_of_their_overlap(epsg):
    lattice = Lattice.of(epsg)
    west, east, south = tile(lattice, 4, 52), tile(lattice, 5, 52), tile(lattice, 4, 51)
    shared = west & east
    (first, *_) = precedence((west, east), shared)
    lines = {int((row == 0).sum()) for row in first}
    assert len(lines) == 1
    assert abs(lines.pop() - shared.shape[1] / 2) <= 0.5
    shared = west & south
    (first, *_) = precedence((west, south), shared)
    lines = {int((column == 0).sum()) for column in first.T}
    # Their left edges may be a cell apart, so the line may step once.
    assert len(lines) <= 2
    assert all(abs(line - shared.shape[0] / 2) <= 1 for line in lines)


def boxes() -> st.SearchStrategy[Box]:
    side = st.integers(1, 12)
    return st.builds(
        lambda r, c, h, w: Box(r, r + h, c, c + w),
        st.integers(0, 12), st.integers(0, 12), side, side,
    )  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(boxes(), min_size=1, max_size=6), boxes())
def test_who_gives_a_cell_depends_on_nothing_but_the_scenes_that_hold_it(tiles, window):
    order = precedence(tuple(tiles), window)
    for row, col in itertools.product(
        range(window.row0, window.row1), range(window.col0, window.col1)
    ):
        cell = Box(row, row + 1, col, col + 1)
        here = [tiles[i] for i in order[:, row - window.row0, col - window.col0] if i >= 0]
        holding = [box for box in tiles if not (box & cell).empty]
        alone = precedence(tuple(holding), cell)[:, 0, 0] if holding else []
        assert here == [holding[i] for i in alone]
        middles = [
            (2 * row + 1 - b.row0 - b.row1) ** 2 + (2 * col + 1 - b.col0 - b.col1) ** 2
            for b in here
        ]
        assert middles == sorted(middles)


def overlapping(folder: Path, gain: float, gaps: float = 0.0) -> list[pystac.Item]:
    """Two tiles of Level-2A: of one land, each corrected by itself."""
    whole = noise(BOX, *BANDS, gaps=gaps)
    other = {
        band: np.where(dn > 0, np.maximum(np.rint((dn - 1000.0) * gain + 1000), 1), 0).astype(
            "uint16"
        )
        for band, dn in whole.items()
    }
    items = scenes(folder / "a", whole, BOX, LEFT)
    return items + scenes(folder / "b", other, BOX, RIGHT, name="33UAB")


def corrected(folder: Path, gain: float, gaps: float = 0.0) -> Acquisition:
    return join(overlapping(folder, gain, gaps))


@pytest.mark.parametrize("gaps", [0.0, 0.3])
def test_the_disagreement_of_two_tiles_is_what_their_correction_differs_by(tmp_path, gaps):
    whole = noise(BOX, *BANDS, gaps=gaps)
    said = disagreement(corrected(tmp_path, 1.03, gaps), BANDS, BOX)
    assert list(said) == list(BANDS)
    shared = LEFT & RIGHT
    for band, median in said.items():
        dn = whole[band][BOX.slices(shared, gsd_of(band))].astype(float)
        truth = np.median(np.abs(dn[dn > 0] - 1000) * 0.03)
        # Of a sample, and rounded.
        assert median == pytest.approx(truth, rel=0.15, abs=1)


def test_tiles_that_were_cut_from_one_picture_do_not_disagree(tmp_path):
    assert disagreement(corrected(tmp_path, 1.0), BANDS, BOX) == dict.fromkeys(BANDS, 0.0)


def test_where_one_tile_is_alone_there_is_nothing_to_disagree_with(tmp_path):
    acquisition = corrected(tmp_path, 1.03)
    assert disagreement(acquisition, BANDS, Box(BOX.row0, BOX.row1, BOX.col0, BOX.col0 + 19)) == {}


def test_radiometry_is_made_alike_before_it_is_compared(tmp_path):
    raw = noise(BOX, "B02")
    raw["B02"] = np.maximum(raw["B02"], 2000)
    done = {"B02": raw["B02"] - 1000}
    items = scenes(tmp_path / "a", raw, BOX, LEFT, offset=-0.1)
    items += scenes(tmp_path / "b", done, BOX, RIGHT, name="33UAB", offset=0.0)
    assert disagreement(join(items), ["B02"], BOX) == {"B02": 0.0}


def test_a_saturated_pixel_is_no_disagreement(tmp_path):
    whole = noise(BOX, "B02")
    glare = {"B02": np.full_like(whole["B02"], 65_535)}
    items = scenes(tmp_path / "a", whole, BOX, LEFT)
    items += scenes(tmp_path / "b", glare, BOX, RIGHT, name="33UAB")
    assert disagreement(join(items), ["B02"], BOX) == {}


@pytest.mark.parametrize("gain", [1.0, 1.03])
def test_the_cut_is_the_same_in_every_window(tmp_path, gain):
    """Also where the tiles differ, and one of them has holes."""
    acquisition = corrected(tmp_path, gain, gaps=0.2)
    rng = np.random.default_rng(5)
    for band in BANDS:
        dn, source = Files(acquisition).mosaic(band, BOX)
        for _ in range(8):
            row, col = rng.integers(0, 50, 2)
            height, width = rng.integers(1, 10, 2)
            box = Box(
                BOX.row0 + row, BOX.row0 + row + height, BOX.col0 + col, BOX.col0 + col + width
            )
            part, number = Files(acquisition).mosaic(band, box)
            place = BOX.slices(box, gsd_of(band))
            np.testing.assert_array_equal(part, dn[place])
            np.testing.assert_array_equal(number, source[place])


@pytest.mark.parametrize("gain", [1.0, 1.03])
def test_a_run_records_how_far_its_tiles_disagree(tmp_path, scheduler, gain):
    write_catalog(tmp_path, overlapping(tmp_path, gain))
    _, outcome = run(config(tmp_path, tmp_path / "out", scheduler, bands="B02,B05"))
    records = [r for r in Ledger(tmp_path / "out" / "ledger").records() if "/x1_" in r.unit]
    said = [r.disagreement["B02"] for r in records if r.disagreement]
    assert 0 < len(said) < len(records)
    assert outcome.disagreement["B02"] == max(said)
    assert (max(said) > 0) == (gain != 1)
