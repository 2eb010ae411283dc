"""Pictures of a cube in true colours: what they show and where, and what leads to them."""

import json

import matplotlib.image
import numpy as np
import pystac
import pytest
import rasterio
import rasterio.warp
import zarr
from pystac.extensions.eo import EOExtension
from pystac.extensions.raster import RasterExtension
from rio_cogeo import cog_validate
from s2sharp.cube.create import lay_out
from s2sharp.cube.layout import FILL, LAYERS, Layout
from s2sharp.cube.write import write_shard
from s2sharp.publish.cog_profile import Frame
from s2sharp.publish.cogs import write_cogs
from s2sharp.publish.stac import stac_item, write_collection
from s2sharp.publish.visual import write_visual

from s2sharp_core.lattice import Box

from .published import PROVENANCE, TIMES, validate_offline


@pytest.fixture(scope="module")
def coloured(tmp_path_factory):
    """A cube with the bands of true colours; a part of the area has no data in one of them."""
    out = tmp_path_factory.mktemp("coloured")
    layout = Layout(32633, Box(0, 128, 0, 192), 64, 192, TIMES, ("B02", "B03", "B04"))
    lay_out(out / "cube.zarr", [layout], {layout.group: {}})
    levels = {"B02": 400, "B03": 800, "B04": 1600}
    for row, col in np.ndindex(2, 3):
        data = {band: np.full((384, 384), dn, "i2") for band, dn in levels.items()}
        if col == 2:
            data["B03"][:] = FILL
        data |= {name: np.zeros((384, 384), kind) for name, (kind, _, _) in LAYERS.items()}
        data["valid"][:] = col < 2
        write_shard(out / "cube.zarr", layout, 0, row, col, data)
    target, small = out / "cogs" / "first" / "visual.tif", out / "pictures" / "first-small.jpg"
    cogs = write_cogs(out, layout, 0, "first")
    arrays = zarr.open_group(out / "cube.zarr", path=layout.group, mode="r")
    assert write_visual(dict(arrays.arrays()), 0, Frame.of(layout), target, small)
    return out, layout, {**cogs, "visual": target}, small


def test_true_colours_are_a_valid_cog_that_shows_more_where_more_was_reflected(coloured):
    _, _, cogs, _ = coloured
    assert cog_validate(cogs["visual"], strict=True, quiet=True) == (True, [], [])
    with rasterio.open(cogs["visual"]) as file:
        assert file.dtypes == ("uint8",) * 3
        assert [c.name for c in file.colorinterp] == ["red", "green", "blue"]
        red, green, blue = (band[0, 0] for band in file.read())
        assert 255 > red > green > blue > 1
        # What has no data in one band has no colour.
        assert (file.read()[:, :, 768:] == 0).all()
        assert file.nodata == 0
        assert file.overviews(1) == [2]


def test_the_small_picture_is_small_and_shows_the_same(coloured):
    *_, small = coloured
    pixels = matplotlib.image.imread(small).astype(int)
    assert pixels.shape == (341, 512, 3)
    red, green, blue = pixels[100, 100]
    assert red > green + 20 > blue + 40
    assert np.ptp(pixels[100, 500]) < 8, "nothing is grey"
    assert pixels[100, 500].min() > 200
    assert small.stat().st_size < 50_000


def test_a_mask_shows_where_data_are(coloured):
    _, _, cogs, _ = coloured
    with rasterio.open(cogs["valid"]) as file:
        mask = file.read(1)
        assert (mask[:, :768] == 1).all()
        assert (mask[:, 768:] == 0).all()
        assert (file.nodata, file.dtypes) == (0, ("uint8",))


@pytest.mark.usefixtures("offline")
def test_what_is_there_to_look_at_is_told_by_its_role(coloured):
    out, layout, cogs, small = coloured
    both = small.parent / "first.png"
    both.write_bytes(b"\x89PNG")
    item = stac_item(out, layout, 0, "first", cogs, PROVENANCE, small, before_after=both)
    roles = {name: asset.roles for name, asset in item.assets.items()}
    assert roles["valid"] == ["data-mask"]
    assert roles["visual"] == ["visual"]
    assert roles["thumbnail"] == ["thumbnail"]
    assert roles["overview"] == ["overview"]
    assert item.assets["thumbnail"].media_type == pystac.MediaType.JPEG
    assert item.assets["overview"].media_type == pystac.MediaType.PNG
    visual = item.assets["visual"]
    assert [b.common_name for b in EOExtension.ext(visual).bands] == ["red", "green", "blue"]
    assert len(RasterExtension.ext(visual).bands) == 3
    write_collection(out, [item], "One")
    validate_offline(json.loads((out / "stac" / "items" / "first.json").read_text()))


def test_a_cube_without_those_bands_has_no_true_colours(published, tmp_path):
    out, layout, _ = published
    arrays = zarr.open_group(out / "cube.zarr", path=layout.group, mode="r")
    target = tmp_path / "visual.tif"
    assert not write_visual(
        dict(arrays.arrays()), 0, Frame.of(layout), target, tmp_path / "small.jpg"
    )
    assert not target.exists()
