"""What a search found is kept whole in one file, without secrets, and found again as it was."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pystac
import pytest
from s2sharp.catalog.search import search
from s2sharp.scenes.acquisition import group
from s2sharp.scenes.item_files import write_items
from stac_geoparquet.arrow import stac_table_to_items
from upath import UPath

from s2sharp_core import BANDS, S2SharpError
from tests.core.scenes import NORTH, SOUTH, box_at

from . import europe, items
from .pictures import noise, scenes

WORLD = (-180.0, -90.0, 180.0, 90.0)
EVER = "2015/.."
COLLECTION = "frozen"
HERE = "/data/catalog.json"
BOX = box_at(12, 12)


def southern() -> items.Document:
    document = items.generic()
    for asset in document["assets"].values():
        asset["proj:transform"][5] += 40
    return document


SHAPES: dict[str, Callable[..., items.Document]] = {
    "Earth Search sentinel-2-l2a": items.earth_search,
    "Earth Search sentinel-2-c1-l2a": items.earth_search_c1,
    "Earth Search sentinel-2-l1c": items.earth_search_l1c,
    "Planetary Computer": items.planetary_computer,
    "CDSE": items.cdse,
    "generic": southern,
}


def item(document: items.Document, href: str = "/data/item.json", **about: Any) -> pystac.Item:
    return pystac.Item.from_dict({"collection": COLLECTION, **document, **about}, href=href)


def again(file: Path | UPath) -> list[pystac.Item]:
    return list(search(str(file), COLLECTION, WORLD, EVER))


@pytest.mark.parametrize("make", SHAPES.values(), ids=SHAPES)
def test_what_is_frozen_makes_the_same_acquisitions(tmp_path, make):
    one = item(make())
    written = write_items(tmp_path / "items.parquet", [one], tuple(BANDS), HERE)
    assert len(written[0]) == 1
    assert written == group([one], tuple(BANDS), HERE)
    assert written == group(again(tmp_path / "items.parquet"), tuple(BANDS), HERE)


def test_items_of_all_archives_lie_in_one_file(tmp_path):
    every = [item(make()) for make in SHAPES.values()]
    every += [item(items.earth_search("33UXP", baseline="02.14"), id="another")]
    written = write_items(tmp_path / "items.parquet", every, tuple(BANDS), HERE)
    found = again(tmp_path / "items.parquet")
    assert sorted(i.id for i in found) == sorted(i.id for i in every)
    assert group(found, tuple(BANDS), HERE) == written == group(every, tuple(BANDS), HERE)


def test_other_programs_can_read_it(tmp_path):
    write_items(tmp_path / "items.parquet", [item(items.cdse())], tuple(BANDS), HERE)
    table = pq.read_table(tmp_path / "items.parquet")
    assert {b"geo", b"stac-geoparquet"} <= table.schema.metadata.keys()
    (document,) = stac_table_to_items(table)
    read = pystac.Item.from_dict(document)
    assert read.id == items.cdse()["id"]
    assert read.assets["B05"].extra_fields["proj:shape"] == [5490, 5490]
    assert read.properties["proj:code"] == "EPSG:32633"


@pytest.mark.parametrize("lattice", [NORTH, SOUTH], ids=["north", "south"])
def test_a_grid_that_only_the_files_know_is_frozen_with_the_item(tmp_path, lattice):
    picture = noise(BOX, "B01", "B02", "B05", "SCL")
    (one,) = scenes(tmp_path, picture, BOX, lattice=lattice)
    one.collection_id = COLLECTION
    for asset in one.assets.values():
        del asset.extra_fields["proj:transform"], asset.extra_fields["proj:shape"]
    bands = ("B01", "B02", "B05")
    written = write_items(tmp_path / "items.parquet", [one], bands, HERE)
    assert written[0][0].scenes[0].box == BOX
    for file in tmp_path.rglob("*.tif"):
        file.unlink()
    assert group(again(tmp_path / "items.parquet"), bands, HERE) == written


SECRETS = ("hunter2", "T0PS3CRET")


@pytest.mark.parametrize(
    "query",
    [
        "sv=2024-05-04&se=2024-06-01T00%3A00%3A00Z&sr=c&sp=rl&sig=T0PS3CRET%3D",
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=T0PS3CRET&X-Amz-Signature=T0PS3CRET",
        "AWSAccessKeyId=T0PS3CRET&Expires=1717200000&Signature=T0PS3CRET",
        "Policy=T0PS3CRET&Key-Pair-Id=T0PS3CRET&Signature=T0PS3CRET",
        "X-Goog-Signature=T0PS3CRET",
        "token=T0PS3CRET",
        "access_token=T0PS3CRET&format=tif",
        "subscription-key=T0PS3CRET",
        "k=T0PS3CRET0123456789abcdefABCDEF",
    ],
)
def test_no_secret_is_frozen(tmp_path, query):
    one = item(items.earth_search(), f"https://me:hunter2@host/item.json?{query}")
    for asset in one.assets.values():
        asset.href = f"{asset.href.replace('://', '://me:hunter2@')}?{query}"
    write_items(tmp_path / "items.parquet", [one], tuple(BANDS), HERE)
    (found,) = again(tmp_path / "items.parquet")
    said = json.dumps(found.to_dict(transform_hrefs=False))
    assert not [secret for secret in (*SECRETS, query.partition("=")[0] + "=") if secret in said]
    base = "https://sentinel-cogs.s3.us-west-2.amazonaws.com/sentinel-s2-l2a-cogs/x"
    assert found.assets["B02"].href == f"{base}/B02.tif"
    assert found.get_self_href() == "https://host/item.json"


def test_a_parameter_that_is_part_of_the_address_stays(tmp_path):
    one = item(items.earth_search())
    for asset in one.assets.values():
        asset.href += "?versionId=3HL4kqtJvjVBH40Nrjfkd3HL4kqtJvjV"
    write_items(tmp_path / "items.parquet", [one], tuple(BANDS), HERE)
    (found,) = again(tmp_path / "items.parquet")
    assert found.assets["B02"].href == one.assets["blue"].href


def test_what_group_refuses_is_not_frozen(tmp_path):
    good, lacking = item(items.earth_search()), item(items.earth_search("33UXP"), id="lacking")
    del lacking.assets["rededge1"], lacking.assets["rededge1-jp2"]
    nowhere = item(items.earth_search("33UVP"), id="nowhere")
    nowhere.properties["proj:epsg"] = 4326
    hostile = item(items.earth_search("33UUP"), id="hostile")
    for asset in hostile.assets.values():
        asset.href = "/etc/passwd"
    remote = "https://host/catalog.json"
    all_of_them = [nowhere, good, lacking, hostile]
    written = write_items(tmp_path / "items.parquet", all_of_them, tuple(BANDS), remote)
    assert [r.item for r in written[1]] == ["nowhere", "lacking", "hostile"]
    assert [r.kind for r in written[1]] == ["crs-unknown", "band-missing", "href-refused"]
    assert [i.id for i in again(tmp_path / "items.parquet")] == [good.id]


ODD = [
    {"properties": {"s2:processing_baseline": 5.1}},
    {"properties": {"s2:processing_baseline": [7]}},
    {"properties": {"s2:datatake_id": ["x"], "platform": 2, "grid:code": 33}},
    {"properties": {"eo:cloud_cover": "many", "created": "yesterday", "updated": 7}},
    {"properties": {"mgrs:utm_zone": "thirty-three", "earthsearch:boa_offset_applied": "yes"}},
    {"properties": {"sat:absolute_orbit": "x", "sat:relative_orbit": [1]}},
    {"properties": {"title": "\ud800", "constellation": {"a": [1, "b"]}}},
    {"geometry": None},
    {"geometry": {"type": "Polygon", "coordinates": []}, "bbox": None},
    {"geometry": {"type": "GeometryCollection", "geometries": []}},
]


@pytest.mark.parametrize("odd", ODD, ids=str)
def test_odd_metadata_of_one_item_do_not_spoil_the_file(tmp_path, odd):
    strange = item(items.earth_search("33UXP"), id="strange")
    strange.properties |= odd.get("properties", {})
    for key in odd.keys() - {"properties"}:
        setattr(strange, key, odd[key])
    every = [item(items.earth_search()), strange, item(items.cdse())]
    written = write_items(tmp_path / "items.parquet", every, tuple(BANDS), HERE)
    assert not written[1]
    assert written == group(every, tuple(BANDS), HERE)
    assert group(again(tmp_path / "items.parquet"), tuple(BANDS), HERE) == written


def test_a_search_that_breaks_off_leaves_no_file(tmp_path):
    def broken() -> Iterator[pystac.Item]:
        yield item(items.earth_search())
        raise S2SharpError("catalog-unreachable", "The catalog answered 500.")

    with pytest.raises(S2SharpError, match="answered 500"):
        write_items(tmp_path / "items.parquet", broken(), tuple(BANDS), HERE)
    assert list(tmp_path.iterdir()) == []


def test_nothing_found_is_a_file_of_no_items(tmp_path):
    assert write_items(tmp_path / "items.parquet", [], tuple(BANDS), HERE) == ([], [], [])
    assert again(tmp_path / "items.parquet") == []


def test_a_year_of_europe_is_found_again_by_place_and_time(tmp_path):
    """Rows are many and parts of the file are skipped; what is found is the same."""
    europe.write(tmp_path / "others.parquet", 1200, rows=100)
    catalog = str(tmp_path / "others.parquet")
    every = search(catalog, europe.COLLECTION, europe.BOX, "2024")
    acquisitions, refused, choices = write_items(
        tmp_path / "items.parquet", every, tuple(BANDS), catalog
    )
    assert not refused
    assert {choice.what for choice in choices} == {"replaced"}
    assert len(acquisitions) > 20
    documents = list(europe.documents(1200))
    for box, when, first, last in [
        ((5.0, 45.0, 25.0, 55.0), "2024", "2024-01-01", "2025-01-01"),
        (europe.BOX, "2024-04/2024-06", "2024-04-01", "2024-07-01"),
        ((10.0, 42.0, 18.0, 52.0), "2024-09", "2024-09-01", "2024-10-01"),
    ]:
        west, south, east, north = box
        expected = {
            d["id"]
            for d in documents
            if first <= d["properties"]["datetime"] < last
            and d["bbox"][0] <= east
            and d["bbox"][2] >= west
            and d["bbox"][1] <= north
            and d["bbox"][3] >= south
        }
        for file in (catalog, str(tmp_path / "items.parquet")):
            ids = [i.id for i in search(file, europe.COLLECTION, box, when)]
            assert len(ids) == len(set(ids))
            # Footprints decide, and are smaller than their boxes.
            assert set(ids) <= expected
            assert len(ids) >= 0.5 * len(expected)
        if when == "2024":
            assert len(ids) > 5
