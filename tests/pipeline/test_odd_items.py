"""What is good in an odd spelling is taken; what is no good is refused by name, with a remedy that helps."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pystac
import pytest
from pyproj import CRS
from s2sharp.catalog.documents import item_of
from s2sharp.catalog.faults import BrokenError
from s2sharp.catalog.metadata import epsg, sensing_span
from s2sharp.planning.config import RunConfig
from s2sharp.planning.make import make_plan
from s2sharp.scenes.acquisition import group

from s2sharp_core.bands import BANDS
from s2sharp_core.errors import S2SharpError

from . import items
from .pictures import box_at, join, noise, scenes

BOX = box_at(8, 8)
HERE = "/catalog.json"


@pytest.fixture
def item(tmp_path: Path) -> pystac.Item:
    return scenes(tmp_path, noise(BOX, "B02", "B05"), BOX)[0]


def refusal(item: pystac.Item) -> str:
    acquisitions, (refused,), _ = group([item], ["B02", "B05"], HERE)
    assert not acquisitions
    return f"{refused.kind}: {refused.message}"


@pytest.mark.parametrize("ulps", [1, -1, 3, -40])
def test_noise_in_the_last_digits_of_a_pixels_size_is_none(item, ulps):
    exact = join([item])
    for asset in item.assets.values():
        transform = asset.extra_fields["proj:transform"]
        for index in (0, 4):
            transform[index] += ulps * np.spacing(transform[index])
        transform[1] = transform[3] = ulps * 1e-17
        transform[5] += ulps * np.spacing(transform[5])
    assert join([item]) == exact


@pytest.mark.parametrize("index", [0, 1, 3, 4])
def test_what_a_corner_shows_is_no_noise(item, index):
    item.assets["B05"].extra_fields["proj:transform"][index] += 1e-4
    assert refusal(item).startswith("off-lattice")


@pytest.mark.parametrize(
    "said",
    [
        *(32633, 32633.0, "32633", "32633.0", "EPSG:32633", "epsg:32633", "EPSG:32633.0"),
        *("urn:ogc:def:crs:EPSG::32633", "urn:ogc:def:crs:EPSG:10.08:32633", " EPSG:32633 "),
        "http://www.opengis.net/def/crs/EPSG/0/32633",
    ],
)
@pytest.mark.parametrize("key", ["proj:epsg", "proj:code"])
def test_a_code_has_many_spellings(said, key):
    document = items.generic()
    del document["properties"]["proj:code"]
    document["properties"][key] = said
    assert epsg(item_of(document, None)) == 32633


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("proj:wkt2", CRS.from_epsg(32633).to_wkt()),
        ("proj:wkt2", CRS.from_epsg(32633).to_wkt("WKT1_GDAL")),
        ("proj:projjson", CRS.from_epsg(32633).to_json_dict()),
    ],
)
def test_a_crs_without_a_code_beside_it_holds_its_own(key, said):
    document = items.generic()
    document["properties"] |= {"proj:code": None, "proj:epsg": None, key: said}
    assert epsg(item_of(document, None)) == 32633


@pytest.mark.parametrize("said", [{"id": {"authority": "X", "code": 32633}}, "UTM33N", [32633]])
def test_a_crs_that_has_no_code_is_named(said):
    document = items.generic()
    document["properties"] |= {"proj:code": None, "proj:epsg": None, "proj:projjson": said}
    with pytest.raises(S2SharpError, match=r"found .*(32633|UTM33N)"):
        epsg(item_of(document, None))


@pytest.mark.parametrize("said", [{"type": None}, {"stac_version": None}, {"stac_version": ["x"]}])
def test_a_document_needs_no_version_to_be_an_item(said):
    assert epsg(item_of(items.generic() | said, None)) == epsg(item_of(items.generic(), None))


def test_the_start_of_sensing_is_a_time_without_an_end():
    document = items.generic()
    document["properties"] |= {"datetime": None, "start_datetime": "2024-06-01T10:10:31Z"}
    document["properties"].pop("end_datetime", None)
    assert f"{sensing_span(item_of(document, None))[0]:%Y%m%d}" == "20240601"
    del document["properties"]["start_datetime"]
    with pytest.raises(BrokenError, match="without a time of sensing"):
        item_of(document, None)


@pytest.mark.parametrize("said", [4326, "EPSG:3857", 32661, 326330])
def test_a_code_that_is_no_tiles_is_refused_before_anything_else_is_said(item, said):
    item.properties |= {"proj:epsg": said}
    del item.properties["proj:code"]
    for asset in item.assets.values():
        asset.extra_fields["proj:transform"] = [9e-5, 0, 15, 0, -9e-5, 48]
    why = refusal(item)
    assert why.startswith(f"crs-unknown: Item {item.id}: EPSG:")
    assert "copies" not in why


@pytest.mark.parametrize(
    "grid",
    [
        {"proj:shape": [1e308, 180]},
        {"proj:shape": [10**7, 48]},
        {"proj:transform": [10, 0, 1e300, 0, -10, 1e300]},
        {"proj:transform": [10, 0, -60e9, 0, -10, 0]},
    ],
)
def test_a_grid_that_lies_nowhere_costs_its_item(item, grid):
    item.assets["B02"].extra_fields |= grid
    assert "B02" in refusal(item)


def test_one_pass_over_midnight_is_one_picture_whatever_tells_it(item):
    """And the next one, ten days later, another."""
    night = datetime(2026, 1, 2, 23, 59, 50, tzinfo=UTC)
    for said in ({"sat:relative_orbit": 30}, {"sat:relative_orbit": 30.0}, {}):
        made = []
        for days in (0, 10):
            for number, seconds in enumerate((0, 15)):
                one = item.clone()
                one.id = f"{days}-{number}"
                del one.properties["s2:datatake_id"]
                one.properties |= said | {"grid:code": f"MGRS-56LQ{'MN'[number]}"}
                one.datetime = night + timedelta(days=days, seconds=seconds)
                for asset in one.assets.values():
                    asset.href = f"{asset.href}.{one.id}.tif"
                made.append(one)
        acquisitions, refused, _ = group(made, ["B02"], HERE)
        assert not refused
        assert [len(a.scenes) for a in acquisitions] == [2, 2]


@pytest.mark.parametrize("what", ["start_datetime", "end_datetime"])
@pytest.mark.parametrize("said", ["", "01/06/2024 10:10", None, 7, ["2024-06-01"], {}])
def test_an_interval_that_is_none_is_not_needed_beside_a_time(what, said):
    document = items.cdse()
    document["properties"][what] = said
    first, last = sensing_span(item_of(document, None))
    assert first == last == datetime(2025, 3, 30, 10, 0, 51, 25_000, tzinfo=UTC)


@pytest.mark.parametrize("said", ["null", "", None])
def test_without_a_time_the_interval_counts_and_without_both_there_is_no_item(said):
    document = items.cdse()
    document["properties"]["datetime"] = said
    assert sensing_span(item_of(document, None))[0].day == 30
    del document["properties"]["start_datetime"]
    with pytest.raises(BrokenError, match="is not a STAC item"):
        item_of(document, None)


@pytest.mark.parametrize(
    "change",
    [
        {"id": 20240611},
        {"geometry": {"type": "Polygon", "coordinates": [[[15, 48], [16, "NaN"], [16, 49]]]}},
        {"geometry": {"type": "Polygon", "coordinates": [[[15, 48], [1e308, 48], [16, 49]]]}},
        {"geometry": [], "bbox": "all"},
        {"bbox": [15, "x", 16, 49]},
        {"links": [None, {"rel": "item"}, "x"]},
        {"stac_extensions": {"a": 1}},
    ],
    ids=lambda change: ",".join(change),
)
def test_what_is_odd_and_not_needed_does_no_harm(change):
    made = item_of(items.cdse() | change, None)
    (acquisition,), refused, _ = group([made], list(BANDS), "https://example.org")
    assert not refused
    assert isinstance(acquisition.scenes[0].id, str)


def plan_of(catalog: Path, out: Path, **more: object) -> None:
    make_plan(
        RunConfig(
            out=out,
            catalog=str(catalog),
            collection="s2",
            bbox=(10, 40, 20, 55),
            datetime="2024",
            bands=("B02", "B05"),
            method="bicubic",
            **more,
        )
    )


def test_the_remedy_is_one_that_helps(tmp_path, item):
    def write(**change: object) -> Path:
        document = item.to_dict(include_self_link=False) | {"collection": "s2"}
        document["properties"] = document["properties"] | {"eo:cloud_cover": 50} | change
        about = {
            "type": "Collection",
            "stac_version": "1.0.0",
            "id": "s2",
            "description": "x",
            "license": "other",
            "extent": {
                "spatial": {"bbox": [[-180, -90, 180, 90]]},
                "temporal": {"interval": [["2015-01-01T00:00:00Z", None]]},
            },
            "links": [{"rel": "item", "href": "./item.json"}],
        }
        (tmp_path / "item.json").write_text(json.dumps(document))
        (tmp_path / "catalog.json").write_text(json.dumps(about))
        return tmp_path / "catalog.json"

    with pytest.raises(S2SharpError) as error:
        plan_of(write(**{"proj:code": "EPSG:4326"}), tmp_path / "a")
    assert "--max-cloud" not in (error.value.remedy or "")
    assert "another --catalog" in (error.value.remedy or "")
    with pytest.raises(S2SharpError) as error:
        plan_of(write(), tmp_path / "b", max_cloud=10)
    assert error.value.remedy == "Raise --max-cloud."
