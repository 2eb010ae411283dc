"""What a file calls missing is missing, however it says so, and spoils nothing beside it."""

from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
from s2sharp.scenes.radiometry import missing
from s2sharp.scenes.read import Files, load_block

from ..core.scenes import box_at
from .pictures import join, noise, scenes

BOX = box_at(8, 8)
BANDS = ("B02", "B05", "B01")
FILL = 1234


def gap(shape: tuple[int, int]) -> np.ndarray:
    """The right third."""
    gone = np.zeros(shape, dtype=bool)
    gone[:, shape[1] - shape[1] // 3 :] = True
    return gone


def told(item: pystac.Item, band: str) -> str:
    """Take away what the item says of gaps, and return the file that is left to say it."""
    item.assets[band].extra_fields.get("raster:bands", [{}])[0].pop("nodata", None)
    item.assets[band].extra_fields.pop("nodata", None)
    return item.assets[band].href


def rewrite(file: str, dn: np.ndarray, way: str) -> None:
    with rasterio.open(file) as old:
        about = {**old.profile, "driver": "GTiff", "nodata": None}
    gone = gap(dn.shape)
    bands = 2 if way == "alpha" else 1
    about |= {"alpha": "yes"} if way == "alpha" else {}
    if way.isdecimal():
        dn, about["nodata"] = np.where(gone, int(way), dn).astype(dn.dtype), int(way)
    Path(file).unlink()
    internal = {"GDAL_TIFF_INTERNAL_MASK": way != "beside"}
    with rasterio.Env(**internal), rasterio.open(file, "w", **{**about, "count": bands}) as out:
        out.write(dn, 1)
        if way in ("mask", "beside"):
            out.write_mask(~gone)
        if way == "alpha":
            out.write(np.where(gone, 0, 65_535).astype(dn.dtype), 2)


@pytest.mark.parametrize("way", ["65535", "1234", "mask", "beside", "alpha"])
def test_what_the_file_says_of_gaps_counts_although_the_item_says_nothing(tmp_path, way):
    picture = {band: np.full_like(dn, 2500) for band, dn in noise(BOX, *BANDS).items()}
    (item,) = scenes(tmp_path, picture, BOX)
    for band in BANDS:
        rewrite(told(item, band), picture[band], way)
        assert Path(f"{item.assets[band].href}.msk").exists() == (way == "beside")
    acquisition = join([item])
    block = load_block(Files(acquisition), acquisition, BANDS, BOX, 0)
    for band in BANDS:
        y = block.data[band]
        np.testing.assert_array_equal(np.isnan(y), gap(y.shape))
        np.testing.assert_allclose(y[~gap(y.shape)], 0.15, atol=1e-6)
    assert not block.saturated.any()
    assert (block.source == 0).sum() == gap(block.source.shape).sum()


def test_what_one_file_lacks_its_neighbour_fills(tmp_path):
    whole, holed = noise(BOX, "B02", seed=1), noise(BOX, "B02", seed=2)
    (one,) = scenes(tmp_path / "a", holed, BOX)
    (two,) = scenes(tmp_path / "b", whole, BOX, name="33UAB")
    rewrite(told(one, "B02"), holed["B02"], "mask")
    acquisition = join([one, two])
    dn, _ = Files(acquisition).mosaic("B02", BOX)
    expected = np.where(gap(dn.shape), whole["B02"], holed["B02"])
    np.testing.assert_array_equal(dn, expected)


def test_item_and_file_may_each_name_a_number(tmp_path):
    picture = {"B02": np.full(BOX.pixels(10), 2500, dtype=np.uint16)}
    picture["B02"][:3] = 65_535
    (item,) = scenes(tmp_path, picture, BOX)
    rewrite(item.assets["B02"].href, picture["B02"], str(FILL))
    item.assets["B02"].extra_fields["raster:bands"][0]["nodata"] = 65_535
    acquisition = join([item])
    block = load_block(Files(acquisition), acquisition, ("B02",), BOX, 0)
    gone = gap(block.data["B02"].shape)
    gone[:3] = True
    np.testing.assert_array_equal(np.isnan(block.data["B02"]), gone)
    assert not block.saturated.any()


def test_a_mask_of_another_size_is_no_mask(tmp_path):
    picture = noise(BOX, "B02")
    (item,) = scenes(tmp_path, picture, BOX)
    file = item.assets["B02"].href
    with rasterio.open(file) as old:
        about = {**old.profile, "driver": "GTiff", "dtype": "uint8", "width": 7, "nodata": None}
    with rasterio.open(f"{file}.msk", "w", **about) as out:
        out.write(np.zeros((out.height, 7), dtype=np.uint8), 1)
    acquisition = join([item])
    with pytest.raises(Exception, match=r"B02: cannot read .* has \(48, 7\) pixels"):
        Files(acquisition).mosaic("B02", BOX)


@pytest.mark.parametrize("kind", ["virtual", "text"])
def test_a_mask_beside_leads_to_no_other_file(tmp_path, kind):
    picture = noise(BOX, "B02")
    (item,) = scenes(tmp_path, picture, BOX)
    file = item.assets["B02"].href
    other = scenes(tmp_path / "other", picture, BOX)[0].assets["B02"].href
    text = f'<VRTDataset rasterXSize="48" rasterYSize="48"><VRTRasterBand dataType="Byte" band="1"><SimpleSource><SourceFilename>{other}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>'
    Path(f"{file}.msk").write_text(text if kind == "virtual" else "x")
    acquisition = join([item])
    with pytest.raises(Exception, match="B02: cannot read"):
        Files(acquisition).mosaic("B02", BOX)


def test_where_nothing_is_said_nothing_is_compared():
    dn = np.arange(9, dtype=np.uint16)
    assert missing(dn, 0, None) is None
    assert missing(dn.astype(np.int16), 0).sum() == 1
    assert missing(np.array([1.0, np.nan, np.inf], dtype=np.float32)).sum() == 2


def test_a_fill_that_no_file_states_is_no_dark_pixel():
    dn = np.array([-9999, -32768, -1050, 0, 900], dtype=np.int16)
    assert missing(dn, None, None).tolist() == [True, True, False, False, False]
    assert missing(dn, 0, None).tolist() == [True, True, False, True, False]
    assert missing(dn[2:], None) is None
