"""Scale and offset of an item are those of a Sentinel-2 product, or the item is refused with what was meant, perhaps."""

from contextlib import suppress

import numpy as np
import pystac
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from s2sharp.catalog.sources import Source, sources
from s2sharp.cube.layout import encode
from s2sharp.scenes.read import Files, load_block

from s2sharp_core.bands import BANDS
from s2sharp_core.errors import S2SharpError

from . import items
from .pictures import box_at, join, scenes


def stating(scale: object = None, offset: object = None, baseline: str = "05.11") -> pystac.Item:
    document = items.generic(baseline=baseline)
    said = {"data_type": "uint16", "nodata": 0, "scale": scale, "offset": offset}
    for asset in document["assets"].values():
        asset["raster:bands"] = [{key: v for key, v in said.items() if v is not None}]
    return pystac.Item.from_dict(document)


@pytest.mark.parametrize(
    ("scale", "offset", "meant"),
    [
        (0.0001, -1000, "scale 0.0001 and offset -0.1"),
        (10_000, -1000, "scale 0.0001 and offset -0.1"),
        (10_000, 0, "scale 0.0001 and offset 0"),
        (10_000, -0.1, "scale 0.0001 and offset -0.1"),
        (0.0001, 1000, "scale 0.0001 and offset -0.1"),
        (0.0001, 0.1, "scale 0.0001 and offset -0.1"),
        (None, -1000, "scale 0.0001 and offset -0.1"),
        (0, -0.1, "scale 0.0001 and offset -0.1"),
        (-0.0001, 0, "scale 0.0001 and offset 0"),
        (0.01, None, "scale 0.0001"),
        (1e-9, None, "scale 0.0001"),
        (1000, None, "scale 0.001"),
    ],
)
def test_what_no_product_has_is_refused_and_what_was_meant_is_named(scale, offset, meant):
    with pytest.raises(S2SharpError) as error:
        sources(stating(scale, offset), ["B05"])
    assert error.value.kind == "radiometry-implausible"
    assert "B05" in error.value.message
    assert f"Plausible: {meant}." in error.value.message


@settings(max_examples=200, deadline=None)
@given(
    scale=st.one_of(st.none(), st.floats(), st.integers(-20_000, 20_000)),
    offset=st.one_of(st.none(), st.floats(), st.integers(-20_000, 20_000)),
)
def test_whatever_is_stated_reflectance_is_one_or_there_is_none(scale, offset):
    with suppress(S2SharpError):
        check(sources(stating(scale, offset), ["B05"])["B05"])


def check(found: Source) -> None:
    # The brightest that is not saturated, and the darkest that is no gap.
    assert 0 < 65_534 * found.scale + found.offset < 400
    assert -0.3 < found.scale + found.offset < 0.01


def test_a_flag_of_the_archive_does_not_excuse_a_wrong_scale():
    document = items.earth_search()
    for asset in document["assets"].values():
        for band in asset.get("raster:bands", []):
            band["scale"] = 10_000
    with pytest.raises(S2SharpError, match="scale 10000"):
        sources(pystac.Item.from_dict(document), ["B05"])


def test_sen2cor_of_a_user_has_no_baseline_of_esas():
    """Its number is above 04.00, and says nothing of the offset; what it states counts."""
    for number in ("99.99", "99.98"):
        with pytest.raises(S2SharpError) as error:
            sources(stating(baseline=number), ["B05"])
        assert error.value.kind == "offset-unknown"
        assert number in error.value.message
        assert sources(stating(0.0001, -0.1, number), ["B05"])["B05"].offset == -0.1
        assert sources(stating(0.0001, 0, number), ["B05"])["B05"].offset == 0


def test_signed_dn_keep_what_lies_below_zero(tmp_path):
    """As Geoscience Australia has them: int16, −999 where there is nothing, and 0 is a value."""
    import rasterio

    box = box_at(4, 4)
    (item,) = scenes(tmp_path, {"B02": np.full(box.pixels(10), 2500, dtype=np.uint16)}, box)
    dn = np.full(box.pixels(10), 2500, dtype=np.int16)
    dn[0, :6] = [-999, -900, -1, 0, 1, 12_000]
    file = item.assets["B02"].href
    with rasterio.open(file) as old:
        about = {**old.profile, "driver": "GTiff", "dtype": "int16", "nodata": -999}
    with rasterio.open(file, "w", **about) as out:
        out.write(dn, 1)
    facts = {"data_type": "int16", "nodata": -999, "scale": 0.0001, "offset": 0}
    item.assets["B02"].extra_fields["raster:bands"] = [facts]
    acquisition = join([item])
    block = load_block(Files(acquisition), acquisition, ("B02",), box, 0)
    np.testing.assert_array_equal(
        encode(block.data["B02"])[0, :6], [-32_768, -900, -1, 0, 1, 12_000]
    )
    assert not block.saturated.any()
    # Beside a neighbour whose DN are unsigned, with ESA's offset.
    raw = np.full(box.pixels(10), 3500, dtype=np.uint16)
    (other,) = scenes(tmp_path / "raw", {"B02": raw}, box, name="33UAB")
    both = join([item, other])
    y = load_block(Files(both), both, ("B02",), box, 0).data["B02"]
    assert encode(y)[0, 0] == 2500
    np.testing.assert_array_equal(encode(y)[0, 1:6], [-900, -1, 0, 1, 12_000])


def test_signed_files_are_not_taken_where_the_item_does_not_speak_of_them(tmp_path):
    import rasterio

    box = box_at(4, 4)
    (item,) = scenes(tmp_path, {"B02": np.full(box.pixels(10), 2500, dtype=np.uint16)}, box)
    file = item.assets["B02"].href
    with rasterio.open(file) as old:
        about = {**old.profile, "driver": "GTiff", "dtype": "int16"}
    with rasterio.open(file, "w", **about) as out:
        out.write(np.full(box.pixels(10), 2500, dtype=np.int16), 1)
    acquisition = join([item])
    with pytest.raises(S2SharpError, match="int16, not unsigned DN of 16 bits"):
        Files(acquisition).mosaic("B02", box)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"count": 3}, "holds 3 bands, not one"),
        ({"count": 2}, "holds 2 bands, not one"),
        ({"dtype": "uint8"}, "uint8, not unsigned DN of 16 bits"),
        ({"dtype": "uint32"}, "uint32, not unsigned DN of 16 bits"),
        ({"dtype": "float32"}, "float32, not unsigned DN of 16 bits"),
    ],
)
def test_a_file_that_is_no_band_of_reflectance_is_not_taken_for_one(tmp_path, change, why):
    """As a stack of bands, a picture for the eye or a product of somebody's are."""
    import rasterio

    box = box_at(4, 4)
    (item,) = scenes(tmp_path, {"B02": np.full(box.pixels(10), 250, dtype=np.uint16)}, box)
    file = item.assets["B02"].href
    with rasterio.open(file) as old:
        about = {**old.profile, "driver": "GTiff", **change}
    with rasterio.open(file, "w", **about) as out:
        for band in range(1, out.count + 1):
            out.write(np.full(box.pixels(10), 250, dtype=about["dtype"]), band)
    with pytest.raises(S2SharpError, match=why):
        Files(join([item])).mosaic("B02", box)


def test_every_archive_that_is_known_is_plausible():
    for make in (items.earth_search, items.earth_search_c1, items.planetary_computer, items.cdse):
        assert len(sources(pystac.Item.from_dict(make()), BANDS)) == 12
