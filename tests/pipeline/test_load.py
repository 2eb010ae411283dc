"""Pixels come as the archive stored them, mean what the metadata say, and are missing where they are missing."""

from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
from s2sharp.cube.layout import encode
from s2sharp.scenes.acquisition import Acquisition
from s2sharp.scenes.offset_check import offset_doubt
from s2sharp.scenes.radiometry import decode
from s2sharp.scenes.read import Files, load_block, load_scl

from s2sharp_core import BANDS
from s2sharp_core.lattice import Box

from ..core.scenes import NORTH, box_at
from .pictures import BOTH, gsd_of, join, noise, overwrite, scenes

THREE = ("B01", "B02", "B05")
ALL = (*THREE, "SCL")
BOX = box_at(30, 30)
LEFT = Box(BOX.row0, BOX.row1, BOX.col0, BOX.col0 + 19)
RIGHT = Box(BOX.row0, BOX.row1, BOX.col0 + 12, BOX.col1)
LINE = 15
"""Columns of BOX that are LEFT's: nearer to its middle than to RIGHT's."""

INNER = Box(BOX.row0 + 2, BOX.row0 + 11, BOX.col0 + 13, BOX.col0 + 27)


def mosaic(acquisition: Acquisition, band: str, box: Box) -> np.ndarray:
    return Files(acquisition).mosaic(band, box)[0]


def place(band: str, box: Box, outer: Box = BOX) -> tuple[slice, slice]:
    return outer.slices(box, gsd_of(band))


def href(item: pystac.Item, band: str) -> Path:
    return Path(item.assets[band].href)


@pytest.mark.parametrize("lattice", BOTH, ids=["north", "south"])
def test_pixels_come_as_they_are_stored_at_their_native_resolution(tmp_path, lattice):
    picture = noise(BOX, *BANDS, "SCL", gaps=0.05)
    (item,) = scenes(tmp_path, picture, BOX, lattice=lattice)
    acquisition = join([item])
    for band in (*BANDS, "SCL"):
        with rasterio.open(href(item, band)) as file:
            stored = file.read(1)
        dn = mosaic(acquisition, band, BOX)
        assert dn.shape == BOX.pixels(gsd_of(band))
        np.testing.assert_array_equal(dn, stored)
        np.testing.assert_array_equal(mosaic(acquisition, band, INNER), stored[place(band, INNER)])


def test_lossless_jpeg_2000_is_read_too(tmp_path):
    picture = noise(BOX, "B02")
    (item,) = scenes(tmp_path, picture, BOX)
    file = href(item, "B02").with_suffix(".jp2")
    # ESA's files keep 15 bits; the encoder takes what it is given.
    overwrite(file, picture["B02"], NORTH.epsg, NORTH.transform(BOX, 10), "JP2OpenJPEG")
    item.assets["B02"].href = str(file)
    np.testing.assert_array_equal(mosaic(join([item]), "B02", BOX), picture["B02"])


def test_beyond_the_picture_there_is_nothing(tmp_path):
    picture = noise(BOX, *ALL)
    acquisition = join(scenes(tmp_path, picture, BOX))
    around = BOX.grow(7)
    for band in ALL:
        dn, source = Files(acquisition).mosaic(band, around)
        inside = np.zeros(dn.shape, dtype=bool)
        inside[place(band, BOX, around)] = True
        np.testing.assert_array_equal(dn[inside], picture[band].ravel())
        assert not dn[~inside].any()
        np.testing.assert_array_equal(source, inside)
    block = load_block(Files(acquisition), acquisition, THREE, BOX.grow(2), 5)
    assert block.box == around
    for band in THREE:
        assert np.isnan(block.data[band]).sum() == block.data[band].size - picture[band].size
    far = Box(0, 3, 0, 4)
    assert not mosaic(acquisition, "B02", far).any()
    assert np.isnan(load_block(Files(acquisition), acquisition, THREE, far, 1).data["B01"]).all()


@pytest.mark.parametrize("seed", range(3))
def test_joining_tiles_is_copying(tmp_path, seed):
    """However a picture is cut into overlapping tiles, what is read is the picture."""
    rng = np.random.default_rng(seed)
    picture = noise(BOX, *ALL, seed=seed, gaps=0.1)
    rows = [0, *np.sort(rng.choice(np.arange(4, 26), 2, replace=False)), 30]
    cols = [0, *np.sort(rng.choice(np.arange(4, 26), 1, replace=False)), 30]
    cuts = [
        Box(
            BOX.row0 + rows[i],
            BOX.row0 + rows[i + 1],
            BOX.col0 + cols[j],
            BOX.col0 + cols[j + 1],
        ).grow(int(rng.integers(0, 4)))
        & BOX
        for i in range(3)
        for j in range(2)
    ]
    acquisition = join(scenes(tmp_path, picture, BOX, *[cuts[i] for i in rng.permutation(6)]))
    for band in ALL:
        np.testing.assert_array_equal(mosaic(acquisition, band, BOX), picture[band])
        for _ in range(5):
            top, left = rng.integers(0, 25, 2)
            box = Box(BOX.row0 + top, BOX.row1, BOX.col0 + left, BOX.col0 + left + 5)
            expected = picture[band][place(band, box)]
            np.testing.assert_array_equal(mosaic(acquisition, band, box), expected)


def test_where_the_nearer_tile_has_nothing_the_other_one_counts(tmp_path):
    first, second = noise(BOX, *ALL, seed=1, gaps=0.3), noise(BOX, *ALL, seed=2, gaps=0.3)
    items = scenes(tmp_path / "a", first, BOX, LEFT)
    items += scenes(tmp_path / "b", second, BOX, RIGHT, name="33UAB")
    for order in (items, items[::-1]):
        acquisition = join(order)
        for band in ALL:
            one, two = np.zeros_like(first[band]), np.zeros_like(first[band])
            one[place(band, LEFT)] = first[band][place(band, LEFT)]
            two[place(band, RIGHT)] = second[band][place(band, RIGHT)]
            left = np.arange(one.shape[1]) < LINE * 60 // gsd_of(band)
            which = np.where(left & (one > 0) | (two == 0), 1 * (one > 0), 2)
            dn, source = Files(acquisition).mosaic(band, BOX)
            np.testing.assert_array_equal(dn, np.choose(which, [0, one, two]))
            np.testing.assert_array_equal(source, which)


@pytest.mark.parametrize("offset", [0.0, -0.1, float(np.float32(-0.1))])
@pytest.mark.parametrize("scale", [1e-4, float(np.float32(1e-4))])
def test_every_dn_comes_back_from_the_cube(offset, scale):
    dn = np.arange(1, 32_767, dtype=np.uint16)
    reflectance, saturated = decode(dn, scale, offset)
    assert reflectance.dtype == np.float32
    assert not saturated.any()
    whole = dn.astype(int) - (1000 if offset else 0)
    np.testing.assert_allclose(reflectance, whole / 10_000, rtol=1e-7, atol=1e-9)
    np.testing.assert_array_equal(encode(reflectance), whole)


def test_dark_negatives_survive_and_zero_is_no_data(tmp_path):
    picture = {"B02": np.full(BOX.pixels(10), 1500, dtype=np.uint16)}
    picture["B02"][0, :5] = [0, 1, 400, 999, 1000]
    acquisition = join(scenes(tmp_path, picture, BOX))
    y = load_block(Files(acquisition), acquisition, ("B02",), BOX, 0).data["B02"]
    assert np.isnan(y[0, 0])
    assert np.isnan(y).sum() == 1
    np.testing.assert_allclose(y[0, 1:6], [-0.0999, -0.06, -0.0001, 0, 0.05], atol=1e-7)


@pytest.mark.parametrize("band", THREE)
def test_a_saturated_pixel_is_flagged_and_has_no_value(tmp_path, band):
    picture = noise(BOX, *THREE)
    picture[band][7, 4] = 65_535
    picture[band][7, 5] = 65_534
    acquisition = join(scenes(tmp_path, picture, BOX))
    want = Box(BOX.row0 + 1, BOX.row1 - 1, BOX.col0, BOX.col1)
    block = load_block(Files(acquisition), acquisition, THREE, want, 1)
    n = gsd_of(band) // 10
    flagged = np.zeros(BOX.pixels(10), dtype=bool)
    flagged[7 * n : 8 * n, 4 * n : 5 * n] = True
    np.testing.assert_array_equal(block.saturated, flagged[place("B02", want)])
    nothing = {
        name: int(np.isnan(y[block.box.slices(BOX, gsd_of(name))]).sum())
        for name, y in block.data.items()
    }
    assert nothing == {name: int(name == band) for name in THREE}


def test_another_nodata_value_is_heeded(tmp_path):
    picture = {"B02": noise(BOX, "B02")["B02"]}
    picture["B02"][:3] = 65_535
    picture["B02"][3:6] = 0
    (item,) = scenes(tmp_path, picture, BOX)
    item.assets["B02"].extra_fields["raster:bands"][0]["nodata"] = 65_535
    acquisition = join([item])
    block = load_block(Files(acquisition), acquisition, ("B02",), BOX, 0)
    assert not block.saturated.any()
    np.testing.assert_array_equal(np.isnan(block.data["B02"]).any(axis=1), np.arange(180) < 6)


def harmonised(folder: Path, left: dict, right: dict, a: dict, b: dict) -> Acquisition:
    items = scenes(folder / "a", left, BOX, LEFT, **a)
    items += scenes(folder / "b", right, BOX, RIGHT, name="33UAB", **b)
    return join(items)


def reflectances(acquisition: Acquisition) -> dict[str, np.ndarray]:
    return dict(load_block(Files(acquisition), acquisition, THREE, BOX, 3).data)


@pytest.mark.parametrize("raw_first", [True, False])
def test_scenes_of_differing_offset_are_one_picture(tmp_path, raw_first):
    """One item with its offset, the neighbour without: the seam between them does not show."""
    raw = noise(BOX, *THREE, gaps=0.1)
    raw = {band: np.where(dn > 0, dn + 1000, 0).astype(np.uint16) for band, dn in raw.items()}
    done = {band: np.where(dn > 0, dn - 1000, 0).astype(np.uint16) for band, dn in raw.items()}
    about_raw, about_done = {"offset": -0.1}, {"offset": 0.0}
    expected = reflectances(join(scenes(tmp_path / "whole", raw, BOX)))
    if raw_first:
        mixed = harmonised(tmp_path, raw, done, about_raw, about_done)
    else:
        mixed = harmonised(tmp_path, done, raw, about_done, about_raw)
    for band, y in reflectances(mixed).items():
        np.testing.assert_array_equal(y, expected[band])


def test_dark_negatives_survive_beside_a_scene_that_has_none(tmp_path):
    raw = np.full(BOX.pixels(10), 940, dtype=np.uint16)
    done = np.full(BOX.pixels(10), 7, dtype=np.uint16)
    mixed = harmonised(tmp_path, {"B02": done}, {"B02": raw}, {"offset": 0.0}, {"offset": -0.1})
    y = load_block(Files(mixed), mixed, ("B02",), BOX, 0).data["B02"]
    expected = np.full(BOX.pixels(10), -60)
    expected[:, : LINE * 6] = 7
    np.testing.assert_array_equal(encode(y), expected)


def test_a_flag_that_says_applied_holds_for_its_item_only(tmp_path):
    raw = {"B02": np.full(BOX.pixels(10), 2345, dtype=np.uint16)}
    done = {"B02": np.full(BOX.pixels(10), 1345, dtype=np.uint16)}
    items = scenes(tmp_path / "a", raw, BOX, LEFT)
    items += scenes(tmp_path / "b", done, BOX, RIGHT, name="33UAB")
    items[1].properties["earthsearch:boa_offset_applied"] = True
    items[0].properties["earthsearch:boa_offset_applied"] = False
    acquisition = join(items)
    y = load_block(Files(acquisition), acquisition, ("B02",), BOX, 0).data["B02"]
    np.testing.assert_array_equal(encode(y), 1345)


def test_harmonising_keeps_gaps_gaps_and_saturation_saturated(tmp_path):
    dn = np.full(BOX.pixels(10), 5000, dtype=np.uint16)
    dn[0], dn[1], dn[2], dn[3] = 0, 65_535, 65_534, 1
    acquisition = harmonised(
        tmp_path, {"B02": dn}, {"B02": np.zeros_like(dn)}, {"offset": 0.0}, {"offset": -0.1}
    )
    block = load_block(Files(acquisition), acquisition, ("B02",), LEFT, 0)
    y, glare = block.data["B02"][:, 0], block.saturated[:, 0]
    assert np.isnan(y[:2]).all()
    np.testing.assert_array_equal(np.flatnonzero(glare), [1])
    np.testing.assert_allclose(y[3:5], [0.0001, 0.5], atol=1e-6)
    # 10 000 times what a cube can hold, still the largest there is.
    assert encode(y)[2] == 32_767


def test_classes_are_repeated_at_10_m_never_averaged(tmp_path):
    picture = noise(BOX, "B02", "SCL")
    acquisition = join(scenes(tmp_path, picture, BOX))
    expected = np.kron(picture["SCL"], np.ones((2, 2), dtype=np.uint8))
    cloud = load_scl(Files(acquisition), BOX)
    assert cloud.dtype == np.uint8
    np.testing.assert_array_equal(cloud, expected)
    block = load_block(Files(acquisition), acquisition, ("B02",), INNER, 4)
    np.testing.assert_array_equal(block.cloud, expected[place("B02", INNER)])


def test_without_classes_the_cloud_layer_is_empty(tmp_path):
    acquisition = join(scenes(tmp_path, noise(BOX, "B02"), BOX))
    assert not load_block(Files(acquisition), acquisition, ("B02",), INNER, 4).cloud.any()


def test_source_tells_which_scene_a_pixel_is_from(tmp_path):
    picture = noise(BOX, *THREE)
    picture["B02"][0], picture["B05"][-1] = 0, 0
    acquisition = join(scenes(tmp_path, picture, BOX, LEFT, RIGHT))
    # Of the band that is read first.
    block = load_block(Files(acquisition), acquisition, ("B05", "B02"), BOX.grow(1), 2)
    expected = np.full(BOX.pixels(10), 2)
    expected[:, : LINE * 6] = 1
    expected[-2:] = 0
    np.testing.assert_array_equal(block.source, np.pad(expected, 6))


# What the dark end of the pixels says of the offset


def doubt(folder: Path, low: int, high: int, flag: bool | None = None, **about) -> str | None:
    rng = np.random.default_rng(1)
    picture = {
        band: rng.integers(low, high, BOX.grow(3).pixels(gsd_of(band))).astype(np.uint16)
        for band in THREE
    }
    items = scenes(folder, picture, BOX.grow(3), **about)
    if flag is not None:
        items[0].properties["earthsearch:boa_offset_applied"] = flag
    acquisition = join(items)
    block = load_block(Files(acquisition), acquisition, THREE, BOX, 3)
    found = offset_doubt(block, acquisition)
    return found.text if found else None


def test_an_offset_taken_twice_is_told(tmp_path):
    said = doubt(tmp_path, 20, 2500, offset=-0.1)
    assert said is not None
    assert said.startswith("Item S2A_33UAA")
    assert "applied it already" in said
    assert "item metadata" in said


def test_an_offset_not_taken_is_told(tmp_path):
    for number, about in enumerate(({"offset": 0.0}, {"flag": True})):
        said = doubt(tmp_path / str(number), 1010, 4000, **about)
        assert said is not None
        assert "0.1 too high" in said
        assert ("boa_offset_applied" in said) == ("flag" in about)


@pytest.mark.parametrize(
    ("low", "high", "about"),
    [
        (1010, 4000, {"offset": -0.1}),
        (950, 1400, {"offset": -0.1}),  # deep water: a little below zero
        (4000, 9000, {"offset": -0.1}),  # desert
        (20, 2500, {"offset": 0.0}),
        (20, 2500, {"flag": True}),
        (20, 2500, {"offset": 0.0, "baseline": "02.14"}),
        (2500, 7000, {"offset": 0.0, "baseline": "03.01"}),  # desert, old
    ],
)
def test_what_is_right_raises_no_doubt(tmp_path, low, high, about):
    assert doubt(tmp_path, low, high, **about) is None


def test_a_tiles_own_offset_is_what_its_pixels_are_held_against(tmp_path):
    """The neighbour, first in order and right, doesn't vouch for it."""
    rng = np.random.default_rng(1)
    far = Box(BOX.row0, BOX.row1, BOX.col0 - 60, BOX.col0 - 40)
    here = BOX.grow(3)
    raw = {b: rng.integers(1010, 4000, here.pixels(gsd_of(b))).astype(np.uint16) for b in THREE}
    items = scenes(tmp_path / "a", noise(far, *THREE), far)
    items += scenes(tmp_path / "b", raw, here, name="33UAB", offset=0.0)
    acquisition = join(items)
    said = offset_doubt(load_block(Files(acquisition), acquisition, THREE, BOX, 3), acquisition)
    assert said is not None
    assert "too high" in said.text
    assert said.item == items[1].id
