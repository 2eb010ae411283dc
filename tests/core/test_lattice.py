import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2sharp_core import S2SharpError
from s2sharp_core.bands import CELL, GSDS
from s2sharp_core.lattice import Box, Lattice

rows = st.integers(-500, 200_000)
sizes = st.integers(1, 90)


@st.composite
def boxes(draw):
    row, col = draw(rows), draw(rows)
    return Box(row, row + draw(sizes), col, col + draw(sizes))


def tile(left, top):
    """The bounds of one of ESA's 109 800 m tiles."""
    return left, top - 109_800, left + 109_800, top


# Upper-left corners as ESA's tiling grid has them, two in the north and three in the south.
@pytest.mark.parametrize(
    ("epsg", "left", "top"),
    [
        (32633, 300_000, 5_400_000),
        (32632, 699_960, 5_000_040),
        (32755, 600_000, 6_200_020),
        (32749, 300_000, 7_200_040),
        (32733, 300_000, 9_590_200),
    ],
)
def test_esas_tiles_lie_on_the_lattice_of_their_code(epsg, left, top):
    lattice = Lattice.of(epsg)
    box = lattice.box(tile(left, top), "tile")
    assert box.shape == (1830, 1830)
    assert lattice.bounds(box) == tile(left, top)


def test_the_southern_lattice_is_40_m_off_the_multiples_of_60():
    assert Lattice.of(32733).y0 % CELL == 40
    assert Lattice.of(32633).y0 % CELL == 0


def test_a_southern_grid_snapped_to_multiples_of_60_is_refused_by_name():
    with pytest.raises(S2SharpError, match="B01 of T33") as error:
        Lattice.of(32733).box(tile(300_000, 9_590_160), "B01 of T33")
    assert error.value.kind == "off-lattice"


def test_a_tenth_of_a_pixel_off_is_refused():
    with pytest.raises(S2SharpError) as error:
        Lattice.of(32633).box((300_001, 5_000_000, 300_061, 5_000_040), "clip")
    assert error.value.kind == "off-lattice"


@pytest.mark.parametrize("epsg", [4326, 3857, 32600, 32661, 32700, 32761])
def test_a_code_that_is_no_utm_zone_is_refused(epsg):
    with pytest.raises(S2SharpError) as error:
        Lattice.of(epsg)
    assert error.value.kind == "crs-unknown"


@pytest.mark.parametrize("epsg", [32601, 32660, 32701, 32760])
def test_through_any_corner_goes_the_same_lattice(epsg):
    lattice = Lattice.of(epsg)
    left, bottom, right, top = lattice.bounds(Box(12_345, 12_400, 7_001, 7_100))
    assert Lattice.through(epsg, left, top) == Lattice.through(epsg, right, bottom) == lattice


@given(boxes(), st.sampled_from([32633, 32733]))
def test_a_box_and_its_bounds_say_the_same(box, epsg):
    lattice = Lattice.of(epsg)
    assert lattice.box(lattice.bounds(box), "box") == box
    assert lattice.around(lattice.bounds(box)) == box
    left, bottom, right, top = lattice.bounds(box)
    assert lattice.around((left - 1, bottom - 1, right + 1, top + 1)) == box.grow(1)


@given(boxes(), st.integers(1, 64))
def test_tiles_cover_every_cell_once_wherever_the_area_begins(box, size):
    seen = np.zeros(box.shape, dtype=int)
    for square in box.tiles(size):
        assert (square.row0 % size, square.col0 % size, square.shape) == (0, 0, (size, size))
        seen[box.slices(square & box, 60)] += 1
    assert (seen == 1).all()


@given(boxes(), st.sampled_from(GSDS), st.sampled_from([32633, 32733]), st.data())
def test_slices_cut_out_the_pixels_whose_coordinates_they_mean(box, gsd, epsg, data):
    lattice = Lattice.of(epsg)
    row = data.draw(st.integers(box.row0, box.row1 - 1))
    col = data.draw(st.integers(box.col0, box.col1 - 1))
    inner = Box(row, data.draw(st.integers(row + 1, box.row1)), col, box.col1)
    x, y = lattice.coords(box, gsd)
    at_rows, at_cols = box.slices(inner, gsd)
    inner_x, inner_y = lattice.coords(inner, gsd)
    assert np.array_equal(x[at_cols], inner_x)
    assert np.array_equal(y[at_rows], inner_y)


@given(boxes())
def test_pixels_of_all_three_grids_fill_the_same_ground(box):
    lattice = Lattice.of(32733)
    left, bottom, right, top = lattice.bounds(box)
    for gsd in GSDS:
        x, y = lattice.coords(box, gsd)
        a, _, c, _, e, f = lattice.transform(box, gsd)
        assert (x[0] - gsd / 2, x[-1] + gsd / 2) == (left, right)
        assert (y[0] + gsd / 2, y[-1] - gsd / 2) == (top, bottom)
        assert (c + a * (len(x) - 0.5), f + e * (len(y) - 0.5)) == (x[-1], y[-1])
        assert box.pixels(gsd) == (len(y), len(x))


@given(boxes(), boxes())
def test_what_two_boxes_share_lies_in_both_and_both_lie_in_their_union(a, b):
    assert (a | b).contains(a)
    assert (a | b).contains(b)
    if not (a & b).empty:
        assert a.contains(a & b)
        assert b.contains(a & b)


@given(boxes(), st.integers(1, 64))
def test_snapping_grows_to_whole_squares_and_no_farther(box, size):
    snapped = box.snap(size)
    assert snapped.contains(box)
    assert snapped.snap(size) == snapped
    assert max(np.subtract(snapped.shape, box.shape)) < 2 * size
