"""A product as ESA delivers it gives the cube that the same scene gives through a catalog."""

import json
import shutil
import warnings
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pystac
import pytest
import zarr
from s2sharp.catalog.search import search
from s2sharp.demo.synthetic import write_catalog, write_scenes
from s2sharp.scenes.acquisition import Acquisition, group
from s2sharp.scenes.read import Files

from s2sharp_core import BANDS, S2SharpError
from s2sharp_core.lattice import Box, Lattice
from s2sharp_core.sensor.simulate import landscape, observe
from tests.web import http_server

from .products import SCL, product_name, read, write_eopf, write_safe, zipped
from .runs import config, run, shards

WHEN = datetime(2024, 6, 1, 10, 10, 31, tzinfo=UTC)
WORLD = (-180.0, -90.0, 180.0, 90.0)


def archive(
    folder: Path, epsg: int, baseline: str, offset: float, level: str, tiles: int = 1
) -> list[pystac.Item]:
    """A catalog of one synthetic scene, or of two tiles that overlap; north or south of the equator."""
    lattice = Lattice.of(epsg)
    corner = lattice.around((600_000, 5_400_000, 600_060, 5_400_060))
    box = Box(corner.row0, corner.row0 + 20, corner.col0, corner.col0 + 20)
    seen = observe(landscape(box.pixels(10), 5), seed=5)
    bands = {}
    for gsd, pictures in seen.items():
        names = [name for name, band in BANDS.items() if band.gsd == gsd]
        for name, picture in zip(names, pictures, strict=True):
            dn = np.clip(np.rint((picture - offset) * 10_000), 1, 65_534).astype(np.uint16)
            dn[: 120 // gsd, : 300 // gsd] = 0
            bands[name] = dn
    bands["B04"][70:72, 70] = 65_535
    if level == "2A":
        bands["SCL"] = np.where(bands["B05"] == 0, 0, 4 + bands["B05"] % 3).astype(np.uint8)
    middle = (box.col0 + box.col1) // 2
    parts = [
        Box(box.row0, box.row1, box.col0, middle + 2),
        Box(box.row0, box.row1, middle - 2, box.col1),
    ]
    return write_scenes(
        folder,
        bands,
        lattice,
        box,
        parts if tiles == 2 else [box],
        WHEN,
        baseline=baseline,
        offset=offset,
    )


SMALL = {"bbox": WORLD, "shard": 64, "bands": "B02,B04,B8A,B09"}

CASES = {
    "L2A, north, with an offset": (32633, "05.11", -1000, "2A", 2),
    "L1C, south, with an offset": (32756, "04.00", -1000, "1C", 1),
    "L2A, south, before offsets": (32756, "02.09", 0, "2A", 1),
    "L1C, north, before offsets": (32633, "02.08", 0, "1C", 1),
}


@pytest.mark.parametrize("case", CASES)
def test_a_run_over_products_gives_the_cube_of_the_same_scenes_in_a_catalog(
    case: str, tmp_path: Path, scheduler: str
) -> None:
    epsg, baseline, offset, level, tiles = CASES[case]
    items = archive(tmp_path / "stac", epsg, baseline, offset / 10_000, level, tiles)
    write_catalog(tmp_path / "stac", items)
    folder, eopf = tmp_path / "downloads" / "2024", tmp_path / "eopf"
    for number, item in enumerate(items):
        safe = write_safe(folder, item, level, offset)
        if number == 0:
            zipped(safe)
        write_eopf(eopf, item, level, offset / 10_000)
    ways = {
        "stac": {},
        "safe": {
            "catalog": str(tmp_path / "downloads"),
            "collection": f"sentinel-2-l{level}",
            "bbox": None,  # all of it
            "datetime": None,
        },
        "eopf": {"catalog": str(eopf), "collection": f"sentinel-2-l{level}"},
    }
    made = {}
    for way, where in ways.items():
        settings = config(tmp_path / "stac", tmp_path / way, scheduler, **(SMALL | where))
        plan, outcome = run(settings)
        assert not outcome.failed
        assert [len(a.scenes) for a in plan.acquisitions] == [tiles]
        made[way] = shards(tmp_path / way)
    assert made["safe"] == made["stac"]
    assert made["eopf"] == made["stac"]
    known = zarr.open_group(tmp_path / "safe" / "cube.zarr", mode="r")[f"{epsg}/B8A"]
    assert np.asarray(known[...]).max() > 0


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> pystac.Item:
    return archive(tmp_path_factory.mktemp("scene"), 32633, "05.11", -0.1, "2A")[0]


@pytest.fixture
def safe(scene: pystac.Item, tmp_path: Path) -> Path:
    return write_safe(tmp_path / "products", scene, "2A", -1000, cloud=12.5)


def found(catalog: str | Path, when: str = "2024", level: str = "l2a") -> list[pystac.Item]:
    return list(search(str(catalog), f"sentinel-2-{level}", WORLD, when))


def joined(items: list[pystac.Item], catalog: str | Path) -> Acquisition:
    acquisitions, refused, _ = group(items, (*BANDS,), str(catalog))
    assert not refused
    return acquisitions[0]


def same_pixels(items: list[pystac.Item], catalog: str | Path, scene: pystac.Item) -> None:
    acquisition = joined(items, catalog)
    for band in (*BANDS, "SCL"):
        dn, _ = Files(acquisition).mosaic(band, acquisition.box)
        np.testing.assert_array_equal(dn, read(scene, band))


def test_a_products_item_says_what_its_metadata_say(safe: Path, scene: pystac.Item) -> None:
    (item,) = found(safe)
    assert item.id == product_name(scene, "2A")
    assert item.datetime == datetime(2024, 6, 1, 10, 10, 31, 24_000, tzinfo=UTC)
    assert item.properties["eo:cloud_cover"] == 12.5
    assert item.properties["sat:relative_orbit"] == 22
    assert item.properties["s2:datatake_id"] == "GS2A_20240601T101031_046900_N05.11"
    assert item.bbox == pytest.approx(scene.bbox)
    acquisition = joined([item], safe)
    (one,) = acquisition.scenes
    assert (one.platform, one.baseline, one.cloud) == ("sentinel-2a", (5, 11), 12.5)
    assert one.processed == "20240601T140000"
    assert {(s.scale, s.offset, s.origin) for s in one.sources} == {(1e-4, -0.1, "item metadata")}


def test_offsets_belong_to_their_own_bands(safe: Path) -> None:
    file = safe / "MTD_MSIL2A.xml"
    # Band ids count from 0, and 8 is B8A: from there on they are not the bands' numbers.
    for number in range(13):
        old = f'<BOA_ADD_OFFSET band_id="{number}">-1000<'
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, old.replace("-1000", f"{-1000 - number}")))
    (item,) = found(safe)
    offsets = {s.band: round(s.offset * 10_000) for s in joined([item], safe).scenes[0].sources}
    assert offsets["B08"] == -1007
    assert offsets["B8A"] == -1008
    assert offsets["B09"] == -1009
    assert offsets["B11"] == -1011


def test_only_bands_at_native_resolution_are_read(safe: Path) -> None:
    (item,) = found(safe)
    assert set(item.assets) == {*BANDS, "SCL"}
    assert item.assets["B02"].href.endswith("R10m/T33UAA_20240601T101031_B02_10m.jp2")
    assert item.assets["B01"].href.endswith("_B01_60m.jp2")


def test_time_place_and_level_select_among_products(safe: Path, scene: pystac.Item) -> None:
    write_eopf(safe.parent, scene, "1C", -0.1)
    with pytest.warns(UserWarning, match="1C, which are left out.*--collection sentinel-2-l1c"):
        assert len(found(safe.parent)) == 1
    with pytest.warns(UserWarning, match="2A, which are left out.*--collection sentinel-2-l2a"):
        assert len(found(safe.parent, level="l1c")) == 1
    # Of what does not meet the query, nothing is told.
    assert found(safe.parent, when="2023") == []
    assert list(search(str(safe.parent), "sentinel-2-l2a", (0, 0, 1, 1), "2024")) == []
    with pytest.raises(S2SharpError, match="it has sentinel-2-l2a") as error:
        found(safe, level="l1c")
    assert error.value.kind == "collection-missing"


def test_a_zip_is_read_where_it_lies(safe: Path, scene: pystac.Item) -> None:
    file = zipped(safe)
    before = {path: path.stat().st_size for path in file.parent.rglob("*")}
    items = found(file)
    assert items[0].assets["B02"].href.startswith(f"{file}!/")
    same_pixels(items, file, scene)
    assert {path: path.stat().st_size for path in file.parent.rglob("*")} == before


def test_eopf_products_are_read_over_the_web(tmp_path: Path, scene: pystac.Item) -> None:
    store = write_eopf(tmp_path / "web", scene, "2A", -0.1)
    with http_server(tmp_path / "web") as url:
        items = found(f"{url}/{store.name}")
        same_pixels(items, f"{url}/{store.name}", scene)


def test_eopf_products_that_tell_no_transform_have_coordinates(
    tmp_path: Path, scene: pystac.Item
) -> None:
    store = write_eopf(tmp_path, scene, "2A", -0.1)
    root = zarr.open_group(store, mode="r+", zarr_format=2, use_consolidated=False)
    arrays = [f"measurements/reflectance/r{b.gsd}m/{band.lower()}" for band, b in BANDS.items()]
    for path in (*arrays, f"{SCL}/scl"):
        array, folder = root[path], root[path.rpartition("/")[0]]
        step, _, left, _, _, top = array.attrs["proj:transform"][:6]
        array.attrs.put(
            {key: array.attrs[key] for key in ("scale_factor", "add_offset") if key in array.attrs}
        )
        rows, cols = (step / 2 + step * np.arange(n) for n in array.shape)
        for name, values in (("x", left + cols), ("y", top - rows)):
            if name not in folder:
                folder.create_array(name, data=values.astype(np.int64))
    zarr.consolidate_metadata(store, zarr_format=2)
    same_pixels(found(store), store, scene)


@pytest.mark.parametrize("where", ["compressor", "filters"])
def test_what_would_run_code_when_it_is_unpacked_is_refused(
    where: str, tmp_path: Path, scene: pystac.Item
) -> None:
    store = write_eopf(tmp_path, scene, "2A", -0.1)
    for file in (store / ".zmetadata", store / "measurements/reflectance/r10m/b02/.zarray"):
        about = json.loads(file.read_text())
        arrays = about.get("metadata", {}).get("measurements/reflectance/r10m/b02/.zarray", about)
        pickle = {"id": "pickle", "protocol": 5}
        arrays[where] = [pickle] if where == "filters" else pickle
        file.write_text(json.dumps(about))
    with (
        pytest.warns(UserWarning, match=r"a codec that is not accepted|can't be read as Zarr"),
        pytest.raises(S2SharpError),
    ):
        found(store)


BROKEN = {
    "is not XML": ("MTD_MSIL2A.xml", lambda text: text[:200]),
    "declares entities": (
        "MTD_MSIL2A.xml",
        lambda text: text.replace("?>\n", '?>\n<!DOCTYPE x [<!ENTITY a "b">]>\n', 1),
    ),
    "leads elsewhere": (
        "MTD_MSIL2A.xml",
        lambda text: text.replace("<IMAGE_FILE>GRANULE/", "<IMAGE_FILE>../../GRANULE/"),
    ),
    "has no quantification": ("MTD_MSIL2A.xml", lambda text: text.replace("BOA_QUANT", "X_QUANT")),
    "lacks an offset": (
        "MTD_MSIL2A.xml",
        lambda text: text.replace('<BOA_ADD_OFFSET band_id="8">-1000</BOA_ADD_OFFSET>', ""),
    ),
    "has no time": ("MTD_MSIL2A.xml", lambda text: text.replace(f"{2024}-06-01T10:10:31", "soon")),
    "states no grid": ("MTD_TL.xml", lambda text: text.replace("Geoposition", "Position")),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_product_costs_itself_alone(what: str, safe: Path, scene: pystac.Item) -> None:
    write_eopf(safe.parent, scene, "2A", -0.1)
    name, change = BROKEN[what]
    (file,) = safe.rglob(name)
    file.write_text(change(file.read_text()))
    with pytest.warns(UserWarning, match=r"\.SAFE .*; it is left out"):
        (item,) = found(safe.parent)
    assert item.get_self_href().endswith(".zarr")


def test_a_zip_that_holds_no_product_is_told(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("../MTD_MSIL2A.xml", "<a/>")
    (tmp_path / "b.zip").write_bytes(b"PK no")
    with (
        pytest.warns(UserWarning, match="left out") as told,
        pytest.raises(S2SharpError, match="no product that can be read; 2 were left out"),
    ):
        found(tmp_path)
    assert len(told) == 2


def test_a_truncated_image_is_told_with_its_band(safe: Path) -> None:
    (image,) = safe.rglob("*_B05_20m.jp2")
    image.write_bytes(image.read_bytes()[: image.stat().st_size // 2])
    acquisition = joined(found(safe), safe)
    with pytest.raises(S2SharpError, match="band B05") as error:
        Files(acquisition).mosaic("B05", acquisition.box)
    assert error.value.kind == "asset-unreadable"


def test_a_chunk_that_is_damaged_is_told_with_its_band(tmp_path: Path, scene: pystac.Item) -> None:
    store = write_eopf(tmp_path, scene, "2A", -0.1)
    acquisition = joined(found(store), store)
    chunk = store / "measurements/reflectance/r20m/b05/0.0"
    chunk.write_bytes(b"\0" * 40)
    with pytest.raises(S2SharpError, match="band B05") as error:
        Files(acquisition).mosaic("B05", acquisition.box)
    assert error.value.kind == "asset-unreadable"


def test_a_folder_with_a_catalog_is_a_catalog(tmp_path: Path, scene: pystac.Item) -> None:
    copy = scene.clone()
    shutil.rmtree(tmp_path / "stac", ignore_errors=True)
    write_catalog(tmp_path / "stac", [copy])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (item,) = search(str(tmp_path / "stac"), "synthetic-s2-l2a", WORLD, "2024")
    assert item.id == scene.id
