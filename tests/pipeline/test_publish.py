"""STAC of a published cube, read back with pystac: it is valid, says all that is known, and no secret."""

import json
import shutil
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
import rasterio.warp
from pystac.extensions.eo import EOExtension
from pystac.extensions.projection import ProjectionExtension
from pystac.extensions.raster import RasterExtension
from s2sharp.cube.layout import Layout
from s2sharp.cube.open import open_cube
from s2sharp.publish.cogs import write_cogs
from s2sharp.publish.stac import Provenance, stac_item, write_collection

from s2sharp_core import S2SharpError
from s2sharp_core.lattice import Box

from .published import PROVENANCE, TIMES, make_cube, validate_offline


@pytest.fixture
def catalog(published):
    """The catalog of two times of a cube, with a thumbnail."""
    out, layout, cogs = published
    picture = out / "stac" / "first.png"
    picture.parent.mkdir(exist_ok=True)
    picture.write_bytes(b"\x89PNG")
    later = Provenance(**{**vars(PROVENANCE), "datetime": "2024-01-01T10:00:00Z"})
    items = [
        stac_item(out, layout, 0, "first", cogs, PROVENANCE, picture),
        stac_item(out, layout, 1, "second", write_cogs(out, layout, 1, "second"), later),
    ]
    return out, layout, write_collection(out, items, "Two dates of a test")


@pytest.mark.usefixtures("offline")
def test_the_catalog_is_valid_stac_offline(catalog):
    out, _, path = catalog
    documents = [path, *(out / "stac" / "items").glob("*.json")]
    assert len(documents) == 3
    for document in documents:
        text = json.loads(document.read_text())
        assert text["stac_version"] == "1.1.0"
        validate_offline(text)


@pytest.mark.usefixtures("offline")
def test_the_validation_is_one(catalog):
    out, _, _ = catalog
    document = json.loads((out / "stac" / "items" / "first.json").read_text())
    document["assets"]["B05"]["data_type"] = "int61"
    with pytest.raises(pystac.STACValidationError):
        validate_offline(document)


@pytest.mark.usefixtures("offline")
def test_pystac_walks_the_catalog_even_after_it_was_moved(catalog, tmp_path):
    out, _, _ = catalog
    shutil.copytree(out, tmp_path / "moved")
    collection = pystac.Collection.from_file(tmp_path / "moved" / "stac" / "collection.json")
    items = {item.id: item for item in collection.get_items()}
    assert set(items) == {"first", "second"}
    assert items["first"].get_collection() is collection
    for item in items.values():
        assert {"B02", "B05", "cube"} <= set(item.assets)
        for asset in item.assets.values():
            assert not Path(asset.href).is_absolute()
            assert Path(asset.get_absolute_href()).resolve().is_relative_to(tmp_path / "moved")
            assert Path(asset.get_absolute_href()).exists()
    assert {"cloud", "thumbnail"} <= set(items["first"].assets)
    assert (Path(items["first"].assets["cube"].get_absolute_href()) / "zarr.json").exists()


@pytest.mark.usefixtures("offline")
def test_extension_fields_come_back_through_pystacs_classes(catalog):
    out, layout, _ = catalog
    item = pystac.Item.from_file(out / "stac" / "items" / "first.json")
    assert EOExtension.ext(item).cloud_cover == 12.5
    assert ProjectionExtension.ext(item).code == f"EPSG:{layout.epsg}"
    assert ProjectionExtension.ext(item).bbox == list(layout.lattice.bounds(layout.area))
    red_edge = item.assets["B05"]
    with rasterio.open(red_edge.get_absolute_href()) as file:
        assert ProjectionExtension.ext(red_edge).code == f"EPSG:{file.crs.to_epsg()}"
        assert ProjectionExtension.ext(red_edge).shape == list(file.shape)
        assert ProjectionExtension.ext(red_edge).transform == list(file.transform)[:6]
        (pixels,) = RasterExtension.ext(red_edge).bands
        assert (pixels.scale, pixels.offset) == (file.scales[0], file.offsets[0])
        assert (pixels.nodata, pixels.data_type) == (file.nodata, file.dtypes[0])
        assert pixels.spatial_resolution == file.res[0]
    (light,) = EOExtension.ext(red_edge).bands
    assert (light.name, light.common_name) == ("B05", "rededge")
    assert light.center_wavelength == pytest.approx(0.7041)  # micrometres
    (pixels,) = RasterExtension.ext(item.assets["cloud"]).bands
    assert (pixels.nodata, pixels.scale) == (0, None)


def test_every_pixel_can_be_traced_from_its_item(catalog):
    out, _, _ = catalog
    item = pystac.Item.from_file(out / "stac" / "items" / "first.json")
    assert item.common_metadata.platform == "sentinel-2b"
    assert item.common_metadata.constellation == "sentinel-2"
    assert item.common_metadata.instruments == ["msi"]
    assert item.common_metadata.gsd == 10
    assert item.datetime.isoformat() == "2024-01-06T10:00:00+00:00"
    assert item.properties["s2sharp:method"] == "dsen2"
    assert item.properties["s2sharp:weights"] == {"dsen2-20m.safetensors": "ab12"}
    assert item.properties["s2sharp:precision"] == "float32"
    assert item.properties["s2sharp:sources"] == ["S2B_T33UUP", "S2B_T33UVP"]
    assert item.properties["processing:software"] == {"s2sharp": "0.1.0"}
    assert any("/processing/v1" in uri for uri in item.stac_extensions)
    links = item.get_links("derived_from")
    assert [link.href for link in links] == ["https://example.com/items/S2B_T33UUP"]
    cube = open_cube(out).sel(time=item.assets["cube"].extra_fields["s2sharp:time"])
    assert str(cube.time.values).startswith("2024-01-06T10:00:00")


def test_no_secret_of_a_signed_address_is_published(catalog):
    out, _, _ = catalog
    files = [p for p in out.rglob("*") if p.is_file()]
    assert len(files) > 10
    assert not [p for p in files if b"TOPSECRET" in p.read_bytes()]


def test_the_footprint_is_the_area_in_degrees(catalog):
    out, layout, _ = catalog
    document = json.loads((out / "stac" / "items" / "first.json").read_text())
    (ring,) = document["geometry"]["coordinates"]
    assert ring[0] == ring[-1]
    lon, lat = np.transpose(ring)
    assert (lon[:-1] * lat[1:] - lon[1:] * lat[:-1]).sum() > 0  # counterclockwise, as GeoJSON asks
    assert document["bbox"] == pytest.approx([lon.min(), lat.min(), lon.max(), lat.max()])
    x, y = rasterio.warp.transform(4326, layout.epsg, lon, lat)
    edges = (min(x), min(y), max(x), max(y))
    assert edges == pytest.approx(layout.lattice.bounds(layout.area), abs=0.1)
    assert (lat.min() > 0) == (layout.epsg < 32700)


def test_the_footprint_of_a_whole_tile_follows_its_bent_edges(tmp_path):
    layout = Layout(32633, Box(60_000, 61_830, 5_000, 6_830), 512, 512, TIMES, ("B02",))
    item = stac_item(tmp_path, layout, 0, "tile", {}, PROVENANCE)
    (ring,) = item.geometry["coordinates"]
    x, y = rasterio.warp.transform(4326, layout.epsg, *np.transpose(ring))
    halfway = (np.add(x[:-1], x[1:]) / 2, np.add(y[:-1], y[1:]) / 2)
    between = (np.array(ring[:-1]) + ring[1:]) / 2
    drawn = rasterio.warp.transform(4326, layout.epsg, *between.T)
    assert np.abs(np.subtract(drawn, halfway)).max() < 10  # metres: one pixel


def test_publishing_again_keeps_the_day_of_creation(catalog):
    out, layout, _ = catalog
    path = out / "stac" / "items" / "first.json"
    document = json.loads(path.read_text())
    document["properties"]["created"] = "2020-02-02T00:00:00Z"
    path.write_text(json.dumps(document))
    item = stac_item(out, layout, 0, "first", {}, PROVENANCE)
    assert item.common_metadata.created.year == 2020
    assert item.common_metadata.updated.year > 2020


@pytest.mark.usefixtures("offline")
def test_what_is_unknown_is_left_out(tmp_path):
    layout = make_cube(tmp_path, 32633, Box(64, 70, 128, 131))
    unknown = Provenance(**{**vars(PROVENANCE), "platform": None, "cloud_cover": None})
    item = stac_item(tmp_path, layout, 0, "x", write_cogs(tmp_path, layout, 0, "x"), unknown)
    path = write_collection(tmp_path, [item], "One")
    document = json.loads((path.parent / "items" / "x.json").read_text())
    validate_offline(document)
    assert not {"platform", "eo:cloud_cover"} & set(document["properties"])
    assert "null" not in (path.parent / "items" / "x.json").read_text()
    assert "thumbnail" not in document["assets"]


def test_a_catalog_of_nothing_is_refused_by_name(tmp_path):
    with pytest.raises(S2SharpError) as caught:
        write_collection(tmp_path, [], "nothing")
    assert caught.value.kind == "nothing-published"
