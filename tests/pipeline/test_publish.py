"""COGs and STAC of a real cube, read back with rasterio, rio-cogeo and pystac."""

import json
import resource
import shutil
import socket
import tracemalloc
from contextlib import contextmanager
from pathlib import Path

import matplotlib.image
import numpy as np
import pystac
import pytest
import rasterio
import rasterio.warp
import rioxarray  # noqa: F401  (registers .rio)
import zarr
from pystac.extensions.eo import EOExtension
from pystac.extensions.projection import ProjectionExtension
from pystac.extensions.raster import RasterExtension
from pystac.validation import JsonSchemaSTACValidator, validate_dict
from rasterio._env import get_gdal_config
from rio_cogeo import cog_validate
from s2sharp.cube.create import lay_out
from s2sharp.cube.layout import FILL, LAYERS, Layout, encode
from s2sharp.cube.open import open_cube
from s2sharp.cube.write import write_shard
from s2sharp.engine.worker import Clock
from s2sharp.publish.cogs import write_cogs
from s2sharp.publish.frames import BLOCK, CACHE
from s2sharp.publish.raster import CogProfile, Frame, Means
from s2sharp.publish.stac import Provenance, stac_item, write_collection
from s2sharp.publish.visual import write_visual

from s2sharp_core import S2SharpError
from s2sharp_core.lattice import Box

TIMES = ("2024-01-06T10:00:00", "2024-01-01T10:00:00")  # not in order, as acquisitions may come
SECRET = "sv=2024&sig=TOPSECRET"
PROVENANCE = Provenance(
    id="S2B_20240106_R065",
    datetime="2024-01-06T10:00:00Z",
    platform="Sentinel-2B",
    cloud_cover=12.5,
    sources=(
        ("S2B_T33UUP", f"https://me:TOPSECRET@example.com/items/S2B_T33UUP?{SECRET}#TOPSECRET"),
        ("S2B_T33UVP", None),
    ),
    method="dsen2",
    weights={"dsen2-20m.safetensors": "ab12"},
    precision="float32",
    software="0.1.0",
)


def make_cube(out: Path, epsg: int, area: Box, bands=("B02", "B05"), cloudy=True) -> Layout:
    """A cube of random reflectance, dark negatives and nodata included, in shards of 384 px."""
    layout = Layout(epsg, area, shard=64, chunk=192, times=TIMES, bands=bands)
    lay_out(out / "cube.zarr", [layout], {layout.group: {"method": "dsen2"}})
    rng = np.random.default_rng(epsg)
    for time in range(len(TIMES)):
        for row in range(layout.shards()[0]):
            for col in range(layout.shards()[1]):
                data = {b: encode(rng.normal(0.1, 0.1, (384, 384)).astype("f4")) for b in bands}
                for pixels in data.values():
                    pixels[rng.random(pixels.shape) < 0.2] = FILL
                data |= {name: np.zeros((384, 384), kind) for name, (kind, _, _) in LAYERS.items()}
                if cloudy and time == 0:
                    data["cloud"] = rng.integers(0, 12, (384, 384)).astype("u1")
                write_shard(out / "cube.zarr", layout, time, row, col, data)
    return layout


@pytest.fixture(scope="module", params=[32633, 32733], ids=["north", "south"])
def published(request, tmp_path_factory):
    """A cube whose area is no whole number of shards, tiles or overview pixels, and its COGs."""
    out = tmp_path_factory.mktemp("out")
    layout = make_cube(out, request.param, Box(47_670, 47_801, 12_005, 12_114))
    return out, layout, write_cogs(out, layout, 0, "first")


def validate_offline(document: dict) -> None:
    """Validate against the schemas of the STAC core that pystac brings along, without a network.

    Schemas of extensions are not among them: their fields are read back through pystac's classes.
    """
    validate_dict(document, extensions=[], validator=JsonSchemaSTACValidator())


@pytest.fixture
def offline(monkeypatch):
    def refuse(*args, **_):
        raise AssertionError(f"the network was asked: {args}")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


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


def test_every_cog_is_valid_for_rio_cogeo(published):
    _, _, cogs = published
    assert set(cogs) == {"B02", "B05", "cloud"}
    for path in cogs.values():
        assert cog_validate(path, strict=True, quiet=True) == (True, [], [])


def test_a_cog_of_an_area_smaller_than_a_tile_is_valid(tmp_path):
    layout = make_cube(tmp_path, 32633, Box(64, 70, 128, 131))
    for path in write_cogs(tmp_path, layout, 0, "small").values():
        assert cog_validate(path, strict=True, quiet=True)[0]
        with rasterio.open(path) as file:
            assert file.shape == (36, 18)


def test_a_cog_holds_the_pixels_of_the_area_at_its_place(published):
    out, layout, cogs = published
    cube = open_cube(out).sel(time=TIMES[0])
    for band in layout.bands:
        with rasterio.open(cogs[band]) as file:
            pixels = file.read(1)
            assert (pixels == encode(cube[band].values)).all()
            assert file.crs.to_epsg() == layout.epsg == cube.rio.crs.to_epsg()
            assert file.transform == cube.rio.transform(recalc=True)
            assert file.transform.f % 60 == (40 if layout.epsg > 32700 else 0)
        assert (pixels == FILL).any()
        assert (pixels[pixels != FILL] < 0).any()


def test_a_cog_says_what_its_numbers_mean(published):
    _, _, cogs = published
    with rasterio.open(cogs["B05"]) as file:
        assert file.dtypes == ("int16",)
        assert file.nodata == FILL
        assert file.scales == (1e-4,)
        assert file.offsets == (0.0,)
        assert file.descriptions == ("B05 reflectance, 704 nm",)
        assert file.block_shapes == [(512, 512)]
        assert file.compression.name == "deflate"
        assert file.tags(ns="IMAGE_STRUCTURE")["PREDICTOR"] == "2"
        assert file.tags() == {"AREA_OR_POINT": "Area", "OVERVIEW_RESAMPLING": "AVERAGE"}
        assert file.overviews(1) == [2]
    with rasterio.open(cogs["B05"], overview_level=0) as file:
        assert file.block_shapes == [(512, 512)]


def test_overviews_average_what_is_there_and_ignore_nodata(tmp_path):
    """Where every second column lacks data, an overview shows the others, neither fill nor mixture."""
    area = Box(0, 128, 0, 128)
    layout = Layout(32633, area, 64, 192, TIMES, ("B02",))
    lay_out(tmp_path / "cube.zarr", [layout], {layout.group: {}})
    pixels = np.full((384, 384), 1000, "i2")
    pixels[::2] = 3000
    pixels[:, ::2] = FILL
    pixels[:100] = FILL
    data = {"B02": pixels} | {n: np.zeros((384, 384), kind) for n, (kind, _, _) in LAYERS.items()}
    for row in range(2):
        for col in range(2):
            write_shard(tmp_path / "cube.zarr", layout, 0, row, col, data)
    with rasterio.open(write_cogs(tmp_path, layout, 0, "x")["B02"], overview_level=0) as file:
        seen = file.read(1)
    assert (seen[:50] == FILL).all()
    assert (seen[50:192] == 2000).all()


def test_the_cloud_layer_is_written_only_where_the_product_had_one(published):
    out, layout, cogs = published
    with rasterio.open(cogs["cloud"]) as file:
        assert (file.read(1) == open_cube(out).sel(time=TIMES[0])["cloud"].values).all()
        assert (file.nodata, file.dtypes, file.scales) == (0, ("uint8",), (1.0,))
    (out / "cogs" / "clear").mkdir()
    shutil.copy(cogs["cloud"], out / "cogs" / "clear")
    assert set(write_cogs(out, layout, 1, "clear")) == {"B02", "B05"}
    assert not (out / "cogs" / "clear" / "cloud.tif").exists()


def test_writing_again_gives_the_same_files(published):
    out, layout, cogs = published
    before = {band: path.read_bytes() for band, path in cogs.items()}
    assert {b: p.read_bytes() for b, p in write_cogs(out, layout, 0, "first").items()} == before


def test_what_a_killed_run_left_is_swept_away(published):
    out, layout, cogs = published
    leftover = out / "cogs" / "first" / ".partial-killed"
    leftover.mkdir()
    (leftover / "raw.tif").write_bytes(b"half")
    write_cogs(out, layout, 0, "first")
    assert sorted(p.name for p in (out / "cogs" / "first").iterdir()) == sorted(
        p.name for p in cogs.values()
    )


def test_a_disk_that_gives_out_leaves_the_old_cogs_and_nothing_half(published):
    out, layout, cogs = published
    before = {path.name: path.read_bytes() for path in cogs.values()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for size in (
        100_000,
        1_100_000,
    ):  # enough for no file, and for the first of two but not the second
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            with pytest.raises(S2SharpError, match=r"B02\.tif could not be written") as caught:
                write_cogs(out, layout, 0, "first")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert caught.value.kind == "store-unwritable"
        assert {p.name: p.read_bytes() for p in (out / "cogs" / "first").iterdir()} == before


def test_memory_does_not_grow_with_the_area(tmp_path):
    peaks = []
    for name, cells in (("small", 128), ("large", 320)):
        out = tmp_path / name
        layout = make_cube(out, 32633, Box(0, cells, 0, cells), bands=("B02",), cloudy=False)
        write_cogs(out, layout, 1, "warm")
        tracemalloc.start()
        write_cogs(out, layout, 0, "x")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


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


@pytest.mark.parametrize("compression", ["deflate", "zstd", "lzw"])
def test_memory_and_threads_change_no_byte_and_compression_no_pixel(published, compression):
    out, layout, cogs = published
    steps = Clock()
    means = [Means(compression), Means(compression, 1e9, 1, steps), Means(compression, 1e9, 3)]
    made = [write_cogs(out, layout, 0, f"{compression}{n}", x) for n, x in enumerate(means)]
    for variable, path in made[0].items():
        assert all(there[variable].read_bytes() == path.read_bytes() for there in made)
        assert cog_validate(path, strict=True, quiet=True)[0]
        with rasterio.open(path) as file, rasterio.open(cogs[variable]) as other:
            assert file.compression.name == compression
            assert (file.read() == other.read()).all()
    assert set(steps.seconds) == {"cogs read", "cogs overviews", "cogs compress"}
    assert min(steps.seconds.values()) > 0


def test_gdal_keeps_blocks_while_a_file_is_made(published):
    """With room for none, blocks are written out by whatever thread comes along, of which GDAL has died."""
    out, layout, _ = published
    room = []

    @contextmanager
    def look(_):
        room.append(get_gdal_config("GDAL_CACHEMAX"))
        yield

    write_cogs(out, layout, 0, "room", Means(clock=look))
    assert min(room) == max(room) == CACHE > 4 * 2 * BLOCK**2


def test_no_more_is_held_than_may_be():
    """A full tile fits into what a unit of 512 cells takes if it is alone there; by files several do."""
    tile, quarter = (
        Frame.of(Layout(32633, Box(0, n, 0, n), 512, 512, TIMES, ("B02",))) for n in (1830, 915)
    )
    band = CogProfile.of("B02")
    assert 1.33 * 2 * 10_980**2 < tile.need(band, in_memory=True) < 0.49e9
    assert quarter.need(band, in_memory=True) < 0.4 * tile.need(band, in_memory=True)
    least = tile.need(band, in_memory=False)
    assert 2 * 2 * 3072**2 < least < 0.05e9
    for threads, most, memory, count in ((1, 12, 0.49e9, 1), (4, 12, 0.49e9, 4), (4, 3, 0.49e9, 3)):
        found, each = Means(memory=memory, threads=threads).split(most, least)
        assert found == count
        assert (each.memory, each.threads) == (memory / count, 1)
    assert Means(memory=0, threads=16).split(12, least) == (1, Means(memory=0, threads=16))
    assert Means(memory=0.49e9, threads=16).split(12, least)[0] * least <= 0.49e9


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
