"""A season's catalog in which one item of each kind is bad: each costs what it must, by name, and no more."""

import json
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pystac
import pytest
import s2sharp.catalog.http
import s2sharp.scenes.raster
from s2sharp.catalog.search import search
from s2sharp.cube.open import open_cube
from s2sharp.demo.synthetic import COLLECTION, write_catalog
from s2sharp.execution.phases import RunOutcome
from s2sharp.planning.client_plan import ClientPlan
from s2sharp.scenes.acquisition import group

from s2sharp_core.lattice import Lattice
from tests.web import every, http_server

from ..core.scenes import NORTH, box_at
from .pictures import WHEN, noise, overwrite, scenes
from .runs import config, run

BANDS = ("B02", "B05")
BOX = box_at(48, 48)


def day(number: int) -> datetime:
    return WHEN + timedelta(days=5 * number)


def spoil(folder: Path) -> list[pystac.Item]:
    """A good picture on the first day, and a bad one, of the same place, on each of the next."""
    picture = noise(BOX, *BANDS)
    kinds = ("good", "code", "lattice", "band", "nowhere", "elsewhere", "cut", "gone", "text")
    items = {}
    for number, kind in enumerate(kinds):
        (items[kind],) = scenes(folder / kind, picture, BOX, when=day(number))
        items[kind].id = kind
    items["code"].properties["proj:code"] = "EPSG:3857"
    for asset in items["lattice"].assets.values():
        asset.extra_fields["proj:transform"][5] += 20
    del items["band"].assets["B05"]
    # Not told where: its grid tells, and it is as good as any.
    items["nowhere"].geometry = items["nowhere"].bbox = None
    file = Path(items["elsewhere"].assets["B05"].href)
    overwrite(file, picture["B05"], 32633, Lattice.of(32633).transform(BOX.grow(1), 20))
    file = Path(items["cut"].assets["B05"].href)
    file.write_bytes(file.read_bytes()[:-20_000])
    Path(items["gone"].assets["B02"].href).unlink()
    Path(items["text"].assets["B02"].href).write_text("<html>Please log in</html>")
    return list(items.values())


@pytest.fixture(scope="module")
def season(tmp_path_factory, scheduler) -> tuple[ClientPlan, RunOutcome]:
    folder = tmp_path_factory.mktemp("season")
    write_catalog(folder, spoil(folder))
    plan, outcome = run(config(folder, folder / "out", scheduler, bands=BANDS, retries=0))
    return plan, outcome


def test_items_that_cannot_be_placed_or_lack_a_band_are_refused_by_name(season):
    plan, _ = season
    assert {refusal.item: refusal.kind for refusal in plan.refused} == {
        "code": "crs-unknown",
        "lattice": "off-lattice",
        "band": "band-missing",
    }
    assert all(refusal.item in refusal.message for refusal in plan.refused)
    assert [a.scenes[0].id for a in plan.acquisitions] == [
        "good",
        "nowhere",
        "elsewhere",
        "cut",
        "gone",
        "text",
    ]


def test_a_bad_file_costs_the_units_that_read_it_and_names_itself(season):
    plan, outcome = season
    units = {a.scenes[0].id: a.id for a in plan.acquisitions}
    failed: dict[str, set[tuple[str, str]]] = {}
    for record in outcome.failed:
        (kind,) = (name for name, folder in units.items() if record.unit.startswith(folder))
        failed.setdefault(kind, set()).add((record.kind, record.message.partition(":")[0]))
    assert failed.keys() == {"elsewhere", "cut", "gone", "text"}
    assert failed["elsewhere"] == {("metadata-contradicts-file", "Item elsewhere, band B05")}
    assert failed["cut"] == {("asset-unreadable", "Item cut, band B05")}
    assert failed["gone"] == {("asset-unreadable", "Item gone, band B02")}
    assert failed["text"] == {("asset-unreadable", "Item text, band B02")}


def test_the_rest_of_the_season_is_whole(season):
    plan, outcome = season
    cube = open_cube(plan.out)
    expected = noise(BOX, "B02")["B02"].astype(int) - 1000
    for time, acquisition in enumerate(plan.of(NORTH.epsg)):
        if acquisition.scenes[0].id in {"good", "nowhere"}:
            stored = np.rint(cube["B02"].isel(time=time).values * 10_000)
            np.testing.assert_array_equal(stored, expected)
    assert outcome.counts["ok"] == 2 * len(list(plan.units())) / len(plan.acquisitions)


def test_a_bad_file_that_was_mended_is_read_by_the_same_command(season, scheduler):
    plan, before = season
    folder = plan.out.parent
    for kind, band in (("elsewhere", "B05"), ("cut", "B05"), ("gone", "B02"), ("text", "B02")):
        good = next((folder / "good").rglob(f"{band}.tif"))
        (bad,) = (folder / kind / "scenes").iterdir()
        shutil.copy(good, bad / f"{band}.tif")
    _, outcome = run(config(folder, plan.out, scheduler, bands=BANDS))
    assert not outcome.failed
    assert outcome.counts["skipped"] == sum(before.counts.values()) - len(before.failed)


def test_a_catalog_and_files_that_fail_every_third_time_make_the_same_pictures(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(s2sharp.catalog.http, "BACKOFF", 0.01)
    monkeypatch.setitem(s2sharp.scenes.raster._GDAL, "GDAL_HTTP_RETRY_DELAY", "0.01")
    picture = noise(BOX, *BANDS)
    (item,) = scenes(tmp_path, picture, BOX)
    write_catalog(tmp_path, [item])
    with http_server(tmp_path, every(3)) as url:
        found = list(search(f"{url}/catalog.json", COLLECTION, (-180, -90, 180, 90), "2024"))
        (acquisition,), refused, _ = group(found, BANDS, f"{url}/catalog.json")
        assert not refused
        for band in BANDS:
            dn, _ = s2sharp.scenes.read.Files(acquisition).mosaic(band, BOX)
            np.testing.assert_array_equal(dn, picture[band])


def test_a_null_where_any_field_may_be_is_no_surprise(tmp_path):
    """Archives write null for what they do not know."""
    (item,) = scenes(tmp_path, noise(BOX, *BANDS), BOX)
    document = item.to_dict(transform_hrefs=False)
    needed = {"datetime", "proj:code", "s2:processing_baseline"}
    for name in document["properties"].keys() - needed:
        document["properties"][name] = None
    for asset in document["assets"].values():
        asset |= dict.fromkeys(asset.keys() - {"href", "raster:bands"})
    document |= {"bbox": None, "geometry": None, "stac_extensions": []}
    again = pystac.Item.from_dict(json.loads(json.dumps(document)))
    (acquisition,), refused, _ = group([again], BANDS, "/catalog.json")
    assert not refused
    assert acquisition.box == BOX
