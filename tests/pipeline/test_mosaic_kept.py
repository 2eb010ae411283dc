"""Mosaics as they are kept: in a store that others read, continued after interruptions, and never written over."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import odc.geo.xr  # noqa: F401  (registers .odc)
import pystac
import pytest
import rasterio
import xarray as xr
import zarr
from distributed import Client
from pystac.extensions.projection import ProjectionExtension
from rio_cogeo import cog_validate
from s2sharp import open_cube, open_mosaic
from s2sharp.cube.layout import encode
from s2sharp.mosaic.verify import verify_mosaic
from s2sharp.storage.files import files, read_bytes, read_text, write_bytes
from s2sharp.storage.location import place

from s2sharp_core import S2SharpError

from .cubes import BANDS, Shot, make_cube, name
from .mosaics import (
    LAT,
    LON,
    MIDDLE,
    ONE,
    WEST,
    around_border,
    make,
    plan_of,
    refused,
    stored,
)
from .published import validate_offline
from .runs import config as run_config
from .runs import run as run_cube
from .test_cli import call

# The store, and what lies beside it


@pytest.fixture(scope="module")
def published(border, tmp_path_factory, scheduler) -> Path:
    to = tmp_path_factory.mktemp("published")
    make(border, to, scheduler, publish=True, tile=512)
    return to


def test_others_open_it_without_us(published):
    ours = open_mosaic(published).load()
    plain = xr.open_zarr(published / "mosaic.zarr", decode_coords="all")
    assert set(plain.data_vars) == {*BANDS, "valid", "source"}
    assert plain.rio.crs.to_epsg() == plain.B02.odc.geobox.crs.epsg == WEST
    assert plain.B02.odc.geobox.resolution.x == 10
    np.testing.assert_array_equal(plain.time.values, np.array(["2024-06", "2024-07"], "M8[ns]"))
    bounds = np.array([["2024-06", "2024-07"], ["2024-07", "2024-08"]], "M8[ns]")
    np.testing.assert_array_equal(plain.time_bnds.values, bounds)
    same = plain.sel(x=ours.x, y=ours.y)
    for band in BANDS:
        np.testing.assert_allclose(same[band], ours[band], rtol=1e-6)
        assert ours[band].dtype == np.float32
    assert ours.B02.rio.crs.to_epsg() == WEST
    root = zarr.open_group(published / "mosaic.zarr", mode="r")
    assert root.attrs["s2sharp"]["status"] == "complete"
    assert root.metadata.consolidated_metadata is not None


def test_overviews_show_the_same_ground_more_coarsely(published):
    fine, coarse = open_mosaic(published).load(), open_mosaic(published, level=1).load()
    assert coarse.rio.resolution() == (20, -20)
    again = fine.rio.reproject_match(coarse.isel(time=0))  # nearest
    both = (again.valid.values == 1) & (coarse.valid.values == 1)
    assert both.mean() > 0.5
    assert abs(again.B02.values - coarse.B02.values)[both].mean() < 0.03


def test_a_box_crops_before_anything_is_read(published):
    whole = open_mosaic(published)
    part = open_mosaic(published, bbox=(LON - 0.01, LAT - 0.003, LON + 0.01, LAT + 0.003))
    assert 0 < part.x.size < whole.x.size
    xr.testing.assert_equal(part, whole.sel(x=part.x, y=part.y))
    with pytest.raises(S2SharpError) as caught:
        open_mosaic(published, bbox=(0, 0, 1, 1))
    assert caught.value.kind == "outside"


def test_cogs_of_the_tiles_are_valid_and_hold_the_stores_pixels(published):
    mosaic = open_mosaic(published).load()
    files = sorted((published / "cogs").rglob("*.tif"))
    folders = {file.parent for file in files}
    assert len(folders) >= 4
    for file in files:
        assert cog_validate(file, strict=True, quiet=True) == (True, [], [])
    covered = 0
    for folder in folders:
        period = folder.name[:7]
        for variable in (*BANDS, "source"):
            with rasterio.open(folder / f"{variable}.tif") as cog:
                left, bottom, right, top = cog.bounds
                assert cog.crs.to_epsg() == WEST
                part = mosaic[variable].sel(
                    time=f"{period}-01", x=slice(left, right), y=slice(top, bottom)
                )
                pixels = part.values if variable == "source" else encode(part.values)
                np.testing.assert_array_equal(cog.read(1), pixels)
        covered += int((mosaic.valid.sel(time=f"{period}-01", x=part.x, y=part.y) == 1).sum())
    assert covered == int(mosaic.valid.sum())


def test_the_catalog_is_valid_stac(published):
    collection = pystac.Collection.from_file(published / "stac" / "collection.json")
    items = list(collection.get_items())
    assert {i.id for i in items} == {f.name for f in (published / "cogs").iterdir()}
    for item in items:
        validate_offline(item.to_dict())
        period = item.id[:7]
        assert item.properties["start_datetime"].startswith(f"{period}-01T00:00:00")
        assert item.properties["end_datetime"][:10] in {"2024-06-30", "2024-07-31"}
        assert ProjectionExtension.ext(item).code == f"EPSG:{WEST}"
        assert item.properties["s2sharp:sources"]
        for asset in (*BANDS, "source", "mosaic"):
            assert (Path(item.assets[asset].get_absolute_href())).exists()
    validate_offline(collection.to_dict())


# Continued


def test_the_same_command_again_does_nothing(border, published, scheduler):
    before, records = stored(published), ledger(published)
    _, outcome = make(border, published, scheduler, publish=True, tile=512)
    assert set(outcome.counts) == {"skipped"}
    assert (stored(published), ledger(published)) == (before, records)


def test_what_lies_around_its_pixels_is_made_again(border, published, tmp_path, scheduler):
    to = shutil.copytree(published, tmp_path / "to")
    store = to / "mosaic.zarr"
    (store / "time" / "c" / "0").unlink()
    (store / "x2" / "valid" / "zarr.json").write_bytes(b"\xff")
    (store / "zarr.json").write_bytes(b"")
    about = store / "B05" / "zarr.json"
    about.write_text(about.read_text().replace("0.0001", "0.0007"))
    count, (broken,) = verify_mosaic(to)
    assert count > 0
    assert [what.partition(" ")[0] for what in broken.what] == [
        "B05/zarr.json",
        "time/c/0",
        "x2/valid/zarr.json",
        "zarr.json",
    ]
    _, outcome = make(border, to, scheduler, publish=True, tile=512)
    assert not outcome.failed
    assert verify_mosaic(to)[1] == []
    assert stored(to) == stored(published)
    assert open_mosaic(to).load().identical(open_mosaic(published).load())


def ledger(to: Path) -> dict[str, int]:
    return {
        str(path): path.stat().st_mtime_ns
        for path in (to / "ledger").rglob("*.*")
        if path.is_file()
    }


def test_a_mosaic_that_was_killed_is_continued(border, tmp_path, scheduler):
    flags = {"tile": 512, "period": "16D", "crs": "EPSG:3035"}
    make(border, tmp_path / "undisturbed", scheduler, **flags)
    to = tmp_path / "killed"
    words = ["mosaic", str(border), "--to", str(to), "--scheduler", scheduler, "--no-publish"]
    words += [w for k, v in flags.items() for w in (f"--{k}", str(v))]
    command = subprocess.Popen(
        [sys.executable, "-m", "s2sharp.cli.app", *words], stdout=subprocess.PIPE
    )
    while not list(to.glob("ledger/*/x1_*.ok")):
        assert command.poll() is None, command.stdout.read()
        time.sleep(0.02)
    command.kill()
    command.wait()
    with Client(scheduler) as client:
        while any(client.processing().values()):  # the tile that is at work
            time.sleep(0.05)
    done = {path: at for path, at in ledger(to).items() if "x1_" in path}
    tiles = sum(1 for _ in plan_of(border, to, **flags).tiles())
    assert 0 < len(done) < tiles
    _, outcome = make(border, to, scheduler, **flags)
    assert outcome.counts["skipped"] == len(done)
    after = ledger(to)
    assert {path: after[path] for path in done} == done
    assert stored(to) == stored(tmp_path / "undisturbed")
    xr.testing.assert_equal(open_mosaic(to).load(), open_mosaic(tmp_path / "undisturbed").load())
    assert not [p for p in to.rglob(".*") if p.is_file()]


def test_what_the_cube_has_got_since_is_taken_in_and_nothing_else_is_redone(tmp_path, scheduler):
    shots = [Shot(MIDDLE), Shot("2024-07-11T10:10:31", bias=200)]
    make_cube(tmp_path / "a", ONE, shots)
    make_cube(
        tmp_path / "b",
        ONE,
        [*shots, Shot("2024-05-12T10:10:31", bias=400), Shot("2024-06-14T10:10:31")],
    )
    out, to = tmp_path / "cube", tmp_path / "to"
    out.symlink_to(tmp_path / "a")
    make(out, to, scheduler)
    before = stored(to)
    seen = open_mosaic(to)  # by a reader who has it open meanwhile
    out.unlink()
    out.symlink_to(tmp_path / "b")
    _, outcome = make(out, to, scheduler)
    assert outcome.counts == {"ok": 2, "skipped": 1}  # May is new, June has another date; not July
    after = stored(to)
    assert {name: after[name] for name in before if "c/1/" in name} == {
        name: content for name, content in before.items() if "c/1/" in name
    }
    mosaic = open_mosaic(to)
    assert [str(t)[:7] for t in mosaic.time.values] == ["2024-05", "2024-06", "2024-07"]
    fresh = tmp_path / "fresh"
    make(tmp_path / "b", fresh, scheduler)
    for variable in (*BANDS, "valid"):
        np.testing.assert_array_equal(mosaic[variable], open_mosaic(fresh)[variable])
    names = [s["id"] for s in mosaic.attrs["s2sharp"]["sources"]]
    assert names[:2] == [name(shot, WEST) for shot in shots]
    assert (mosaic.source.sel(time="2024-07-01") == 2).all()
    assert seen.sizes["time"] == 2


def test_it_follows_a_run_unit_by_unit(archive, tmp_path, scheduler):
    """Of a real run, whose ledger tells where there are pixels, and which have been made anew."""
    out, to = tmp_path / "out", tmp_path / "to"
    settings = run_config(archive, out, scheduler, bands="B02,B05,B11")
    run_cube(settings)
    _, outcome = make(out, to, scheduler)
    cube, mosaic = open_cube(out).load(), open_mosaic(to).load()
    good = (cube.valid == 1).values
    np.testing.assert_array_equal(mosaic.valid.values == 1, good)
    for band in BANDS:
        np.testing.assert_array_equal(mosaic[band].values[good], cube[band].values[good])
    _, outcome = make(out, to, scheduler)
    assert outcome.counts == {"skipped": 1}
    # A unit that is made anew under another key is taken in.
    record = next((out / "ledger").glob("*/x1_*.ok"))
    unit, key, status = record.name.rsplit(".", 2)
    record.rename(record.with_name(f"{unit}.{key[::-1]}.{status}"))
    _, outcome = make(out, to, scheduler)
    assert outcome.counts == {"ok": 1}


def test_cube_and_mosaic_may_lie_in_an_object_store(cloudy, tmp_path, s3, scheduler):
    out, to = place("s3://bucket/mosaics/cloudy"), place("s3://bucket/mosaics/mosaic")
    for file in files(cloudy):
        write_bytes(out / file, (cloudy / file).read_bytes())
    flags = {"tile": 512, "publish": True, "period": "all"}
    make(out, to, scheduler, **flags)
    make(cloudy, tmp_path, scheduler, **flags)
    assert set(files(to)) == set(files(tmp_path))
    xr.testing.assert_equal(open_mosaic(str(to)).load(), open_mosaic(tmp_path).load())
    remote = pystac.Collection.from_dict(json.loads(read_text(to / "stac" / "collection.json")))
    assert len(remote.get_item_links()) == len(list((tmp_path / "cogs").iterdir()))
    cog = sorted(file for file in files(to) if file.endswith("B05.tif"))[0]
    assert read_bytes(to / cog) == (tmp_path / cog).read_bytes()
    s3.requests.clear()
    _, outcome = make(out, to, scheduler, **flags)
    assert set(outcome.counts) == {"skipped"}


@pytest.mark.parametrize("kind", ["mosaic", "run"])
def test_what_killed_writers_left_behind_goes(border, published, tmp_path, scheduler, kind):
    """With the next run; and before, when it is asked for."""
    to = shutil.copytree(published, tmp_path / "to")
    before = files(to)
    drafts = ("ledger/2024-06/.x1_0_0.k.ok.1.partial", "differences/.2024-06.json.1.partial")
    drafts += ("stac/items/.2024-06_1_1.json.1.partial", "cogs/.x.1.partial")
    for draft in drafts:
        (to / draft).write_text("torn")
    (to / "notes.partial").write_text("kept")
    if kind == "run":
        make(border, to, scheduler, publish=True, tile=512)
    else:
        for draft in (".mosaic.json.1.partial", ".differences.json.1.partial"):
            (to / draft).write_text("torn")
        (to / "cogs" / ".partial-x").mkdir()
        (to / "cogs" / ".partial-x" / "raw.tif").write_text("torn")
        (to / "mosaic.zarr" / "c.1.partial").write_text("torn")
        code, text = call("clean", str(to))
        assert code == 0, text
        assert "removed 8 × a draft" in text
    now = files(to)
    assert [n for n in now if ".partial" in n] == ["notes.partial"]
    assert {n for n in before if not n.startswith("lease/")} <= now.keys()


def test_another_mosaic_is_not_written_over(border, published, tmp_path):
    before = stored(published)
    said = refused("other-run", border, published, tile=512, by="median")
    assert "by: best → median" in said
    said = refused("other-run", border, published, tile=512, bbox=(LON - 0.01, 47, LON, 49))
    assert "bbox" in said
    said = refused("other-run", cube_of_other_dates(tmp_path), published, tile=512)
    assert "acquisitions that the cube lacks" in said or "area" in said
    assert stored(published) == before


def cube_of_other_dates(folder: Path) -> Path:
    return make_cube(
        folder / "other", around_border(3_600, 3_600, 900), [Shot("2020-01-01T10:00:00")]
    )
