"""A cube that lives: later dates, late tiles, newer baselines and a larger area are added; nothing else is touched."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from s2sharp.cube.create import lay_out
from s2sharp.cube.layout import Layout
from s2sharp.cube.open import open_cube
from s2sharp.demo.synthetic import simulate
from s2sharp.execution.clean import clean, leftovers
from s2sharp.execution.status import status_of
from s2sharp.execution.verify import verify_run
from s2sharp.planning.make import make_plan
from s2sharp.planning.plan import Plan
from s2sharp.planning.resume import resume
from s2sharp.storage.files import files

from s2sharp_core import S2SharpError
from s2sharp_core.lattice import Box

from .runs import config, records, run, shards

SMALL = {"shard": 6, "window": 6, "bands": "B02,B05"}


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """18 × 18 cells in 2 × 2 tiles, on two dates."""
    folder = tmp_path_factory.mktemp("dates")
    simulate(folder, cells=18, tiles=2, dates=2, seed=5)
    return folder


@pytest.fixture(scope="module")
def whole(catalog: Path, scheduler: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of it at once: what a cube that has grown is held against."""
    out = tmp_path_factory.mktemp("whole") / "out"
    run(config(catalog, out, scheduler, **SMALL))
    return out


def _dates(catalog: Path) -> list[str]:
    items = [json.loads(f.read_text()) for f in catalog.glob("synthetic-s2-l2a/*/*.json")]
    return sorted({item["properties"]["datetime"][:10] for item in items})


def _values(out: Path) -> dict[str, np.ndarray]:
    cube = open_cube(out).load()
    return {name: x.values for name, x in cube.data_vars.items()}


def _same(a: Path, b: Path) -> None:
    one, other = _values(a), _values(b)
    for name, values in one.items():
        assert np.array_equal(values, other[name], equal_nan=values.dtype.kind == "f"), name


def _with_date(catalog: Path, folder: Path, *dates: str) -> Path:
    """The catalog with the items of some dates only."""
    copy = shutil.copytree(catalog, folder)
    collection = copy / "synthetic-s2-l2a" / "collection.json"
    content = json.loads(collection.read_text())
    kept = []
    for link in content["links"]:
        file = (collection.parent / link["href"]).resolve()
        if link["rel"] == "item":
            when = json.loads(file.read_text())["properties"]["datetime"][:10]
            if when not in dates:
                continue
        kept.append(link)
    collection.write_text(json.dumps({**content, "links": kept}))
    return copy


def test_each_date_of_a_grown_cube_has_its_own_picture_and_cogs(
    catalog: Path, scheduler: str, tmp_path: Path
) -> None:
    """Those of a date that came late, and lies before the other, are what they would be by themselves."""
    first, second = _dates(catalog)
    more = {**SMALL, "shard": 16, "bands": "B02,B03,B04,B11", "publish": True}
    archive = _with_date(catalog, tmp_path / "archive", second)
    run(config(archive, tmp_path / "out", scheduler, **more))
    shutil.rmtree(archive)
    shutil.copytree(catalog, archive)
    _, outcome = run(config(archive, tmp_path / "out", scheduler, since="last", **more))
    assert not outcome.failed
    run(config(archive, tmp_path / "alone", scheduler, **{**more, "datetime": first}))
    for kind in ("pictures/*.png", "cogs/*/B11.tif"):
        (file,) = (tmp_path / "alone").glob(kind)
        assert (
            tmp_path / "out" / file.relative_to(tmp_path / "alone")
        ).read_bytes() == file.read_bytes()
        assert len(list((tmp_path / "out").glob(kind))) == 2


def test_a_later_date_is_appended_and_what_is_there_is_not_touched(
    catalog: Path, whole: Path, scheduler: str, tmp_path: Path
) -> None:
    first, second = _dates(catalog)
    archive = _with_date(catalog, tmp_path / "archive", second)
    out = tmp_path / "out"
    run(config(archive, out, scheduler, **SMALL))
    before, done = shards(out), records(out)

    # The catalog now has the earlier date, too: it comes late, and lies before the other in time.
    shutil.rmtree(archive)
    shutil.copytree(catalog, archive)
    _, outcome = run(config(archive, out, scheduler, **SMALL))
    assert outcome.counts["ok"] == 0, "without --since a run searches nothing new"
    torn = [out / ".run.json.0.partial", out / "sensors" / ".x.json.0.partial"]
    torn[1].parent.mkdir(exist_ok=True)
    for draft in torn:
        draft.write_text("of a writer that was killed")
    (out / "notes.partial").write_text("of somebody else")
    _, outcome = run(config(archive, out, scheduler, since="last", **SMALL))
    assert outcome.counts["ok"] > 0
    now = shards(out)
    assert not any(draft.exists() for draft in torn)
    assert (out / "notes.partial").exists()
    assert {name: now[name] for name in before} == before
    assert {name: records(out)[name] for name in done} == done
    times = open_cube(out).time.values
    assert [str(t)[:10] for t in times] == [first, second]
    _same(out, whole)

    again, left = shards(out), records(out)
    _, outcome = run(config(archive, out, scheduler, since="last", **SMALL))
    assert set(outcome.counts) == {"skipped"}
    assert (shards(out), records(out)) == (again, left), "idempotent"


def _undated(catalog: Path, folder: Path) -> Path:
    """The catalog with files whose names tell no day."""
    copy = shutil.copytree(catalog, folder)
    for number, file in enumerate(sorted(copy.glob("synthetic-s2-l2a/*/*.json"))):
        item = json.loads(file.read_text())
        for name, asset in item["assets"].items():
            old = (file.parent / asset["href"]).resolve()
            asset["href"] = str(old.rename(folder / f"{number}-{name}{old.suffix}"))
        file.write_text(json.dumps(item))
    return copy


def test_a_late_date_that_names_a_file_of_the_cube_is_refused_and_takes_nothing_away(
    catalog: Path, tmp_path: Path
) -> None:
    first, second = _dates(catalog)
    archive = _undated(catalog, tmp_path / "archive")
    out = tmp_path / "out"
    make_plan(config(archive, out, **{**SMALL, "datetime": first})).freeze()
    before = (out / "run.json").read_bytes()
    both = config(archive, out, **{**SMALL, "datetime": f"{first}/{second}"})
    extended = resume(both)
    assert extended is not None
    assert len(extended.acquisitions) == 2

    one, *_ = sorted(archive.glob(f"synthetic-s2-l2a/*{first.replace('-', '')}*/*.json"))
    other = Path(str(one).replace(first.replace("-", ""), second.replace("-", "")))
    item = json.loads(other.read_text())
    item["assets"]["B05"]["href"] = json.loads(one.read_text())["assets"]["B05"]["href"]
    other.write_text(json.dumps(item))
    with pytest.raises(S2SharpError, match="names the same file") as caught:
        resume(both)
    assert caught.value.kind == "item-broken"
    assert f"{out} shows {one.stem}" in str(caught.value)
    assert (out / "run.json").read_bytes() == before


def test_a_late_tile_replaces_its_own_units_alone(
    archive: Path, scheduler: str, tmp_path: Path
) -> None:
    """On 32 × 32 cells, of which the tile and its halo leave a part."""
    larger = {**SMALL, "shard": 12, "window": 12}
    run(config(archive, tmp_path / "all", scheduler, **larger))
    archive = shutil.copytree(archive, tmp_path / "archive")
    collection = archive / "synthetic-s2-l2a" / "collection.json"
    content = json.loads(collection.read_text())
    full = collection.read_text()
    # The first tile in alphabetical order: its numbers in `source` must not be given to it afterwards.
    late = sorted(link["href"] for link in content["links"] if link["rel"] == "item")[0]
    content["links"] = [link for link in content["links"] if link.get("href") != late]
    collection.write_text(json.dumps(content))
    out = tmp_path / "out"
    run(config(archive, out, scheduler, **larger))
    done = records(out)

    collection.write_text(full)
    plan, outcome = run(config(archive, out, scheduler, since="last", **larger))
    assert outcome.counts["skipped"] > 0
    assert outcome.counts["ok"] > 0
    kept = {name for name in done if records(out)[name] == done[name]}
    assert len(kept) >= outcome.counts["skipped"]
    ours, theirs = _values(out), _values(tmp_path / "all")
    for name in set(ours) - {"source"}:
        assert np.array_equal(ours[name], theirs[name], equal_nan=ours[name].dtype.kind == "f")
    items = zarr.open_group(out / "cube.zarr", mode="r")["32633"].attrs["s2sharp"]["acquisitions"]
    named = np.array(["", *items[0]["items"]])[ours["source"]]
    others = zarr.open_group(tmp_path / "all" / "cube.zarr", mode="r")["32633"].attrs["s2sharp"]
    assert np.array_equal(
        named, np.array(["", *others["acquisitions"][0]["items"]])[theirs["source"]]
    )
    assert len(plan.acquisitions) == 1


def test_a_larger_area_extends_the_cube_and_does_no_inner_unit_again(
    catalog: Path, whole: Path, scheduler: str, tmp_path: Path
) -> None:
    """To the south and east; another test has it grow to the north and west."""
    west, south, east, north = _lonlat(whole)
    corner = (west, (south + north) / 2, (west + east) / 2, north)
    out = tmp_path / "out"
    run(config(catalog, out, scheduler, bbox=corner, **SMALL))
    before = {name for name in records(out) if "/x1_" in name}
    _, outcome = run(config(catalog, out, scheduler, **SMALL))
    assert outcome.counts["skipped"] > 0, "inner units of the part stand"
    assert not any("is made anew" in text for text in outcome.warnings), "nothing is broken"
    assert before <= set(records(out))
    _same(out, whole)
    assert Plan.read(out).layouts[0].area == Plan.read(whole).layouts[0].area
    # The overviews follow.
    ours, theirs = (open_cube(o, level=1).load() for o in (out, whole))
    sel = {"x": theirs.x, "y": theirs.y}
    assert np.array_equal(ours.B05.sel(sel).values, theirs.B05.values, equal_nan=True)


def _quarter(out: Path, down: float, right: float) -> tuple[float, float, float, float]:
    """From a place inside the cube's area, as shares of its height and width, to the south-eastern corner."""
    west, south, east, north = _lonlat(out)
    return west + right * (east - west), south, east, north - down * (north - south)


def test_a_reader_goes_on_seeing_the_cube_that_it_opened(
    catalog: Path, whole: Path, scheduler: str, tmp_path: Path
) -> None:
    """With our own function and with xarray's, while the cube grows to the north and west, twice; then it can no more."""
    out = tmp_path / "out"
    readers = []
    for share in (0.7, 0.35, 0.0):
        plan, outcome = run(
            config(catalog, out, scheduler, bbox=_quarter(whole, share, share), **SMALL)
        )
        assert not outcome.failed
        assert (outcome.counts["skipped"] > 0) == bool(readers), "inner units stand"
        assert not any("is made anew" in text for text in outcome.warnings), "nothing is broken"
        store, group = out / "cube.zarr", str(plan.layouts[0].epsg)
        readers += [(open_cube(out, level=x), open_cube(out, level=x).load()) for x in (0, 1)]
        raw = xr.open_zarr(store, group=group)
        readers.append((raw, xr.open_zarr(store, group=group).load()))
    for lazy, seen in readers:
        assert lazy.load().identical(seen)
    _same(out, whole)
    ours, theirs = (open_cube(o, level=1).load() for o in (out, whole))
    assert np.array_equal(
        ours.B05.sel(x=theirs.x, y=theirs.y).values, theirs.B05.values, equal_nan=True
    )
    assert plan.layouts[0].moves == 2
    last = config(catalog, out, scheduler, **{**SMALL, "bbox": (0.0, 40.0, 20.0, 60.0)})
    assert set(run(last)[1].counts) <= {"skipped", "ok"}, "the same ground is no move"
    # What readers of before had opened goes when somebody tidies up; the cube stays.
    clean(out, leftovers(out))
    assert not [name for name in files(out / "cube.zarr") if "/c/" in name or "/c." in name]
    _same(out, whole)
    assert verify_run(out)[1] == []


def test_overviews_of_earlier_dates_follow_a_larger_area(
    catalog: Path, whole: Path, scheduler: str, tmp_path: Path
) -> None:
    first, second = _dates(catalog)
    out = tmp_path / "out"
    for part in ((0.5, 0.5), (0.0, 0.0)):
        box = _quarter(whole, *part)
        when = first if part == (0.5, 0.5) else second
        run(config(catalog, out, scheduler, **{**SMALL, "datetime": when}, bbox=box))
    full = float(open_cube(out).sel(time=first).B05.notnull().mean())
    assert 0.1 < full < 0.5
    for level in range(1, Plan.read(out).levels + 1):
        shown = float(open_cube(out, level=level).sel(time=first).B05.notnull().mean())
        assert shown == pytest.approx(full, abs=0.1), level
    # The rest of the first date: its overviews have been made without it, over the very same area.
    again = config(catalog, out, scheduler, **{**SMALL, "datetime": first}, bbox=box)
    run(again)
    for level in range(1, Plan.read(out).levels + 1):
        ours, theirs = (open_cube(o, level=level).load() for o in (out, whole))
        ours = ours.sel(x=theirs.x, y=theirs.y)
        for name in theirs.data_vars:
            assert np.array_equal(
                ours[name].values, theirs[name].values, equal_nan=theirs[name].dtype.kind == "f"
            ), (level, name)
    counts = run(again)[1].counts
    assert set(counts) == {"skipped"}, "nothing is left to do"


def test_a_cube_that_has_moved_too_often_is_refused(tmp_path: Path) -> None:
    layout = Layout(32633, Box(64, 96, 64, 96), 8, 48, ("2024-06-01T10:00:00",), ("B02",), ("a",))
    lay_out(tmp_path, [layout], {"32633": {}})
    far = replace(layout, area=Box(0, 96, 0, 96), moves=3)
    with pytest.raises(S2SharpError, match="--extent") as caught:
        lay_out(tmp_path, [far], {"32633": {}})
    assert caught.value.kind == "cannot-extend"


def _lonlat(out: Path) -> tuple[float, float, float, float]:
    from pyproj import Transformer

    plan = Plan.read(out)
    layout = plan.layouts[0]
    to_degrees = Transformer.from_crs(layout.epsg, 4326, always_xy=True)
    bounds: Any = to_degrees.transform_bounds(*layout.lattice.bounds(layout.area))
    return bounds


def test_readers_see_the_cube_as_it_was_until_the_run_is_done(
    catalog: Path, scheduler: str, tmp_path: Path
) -> None:
    from s2sharp.execution.execute import _laid_out
    from s2sharp.planning.resume import resume

    _, second = _dates(catalog)
    archive = _with_date(catalog, tmp_path / "archive", second)
    out = tmp_path / "out"
    run(config(archive, out, scheduler, **SMALL))
    before = open_cube(out).load()
    shutil.rmtree(archive)
    shutil.copytree(catalog, archive)
    plan = resume(config(archive, out, scheduler, since="last", **SMALL))
    assert plan is not None
    _laid_out(plan)  # as a run that is killed before its first unit
    during = open_cube(out).load()
    assert during.identical(before)
    root = zarr.open_group(out / "cube.zarr", mode="r")
    assert root.attrs["s2sharp"]["status"] == "writing"
    run(config(archive, out, scheduler, **SMALL))
    assert open_cube(out).sizes["time"] == 2


def test_a_cube_is_partial_until_what_an_earlier_query_left_is_done(
    catalog: Path, scheduler: str, tmp_path: Path
) -> None:
    first, second = _dates(catalog)
    archive = shutil.copytree(catalog, tmp_path / "archive")
    victims = list(archive.glob(f"scenes/*{first.replace('-', '')}*/B05.tif"))
    for victim in victims:
        victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 3])
    out = tmp_path / "out"
    broken = config(archive, out, scheduler, **{**SMALL, "datetime": first, "retries": 0})
    later = config(archive, out, scheduler, **{**SMALL, "datetime": second})
    assert run(broken)[1].failed
    _, outcome = run(later)
    assert not outcome.failed
    (query,) = outcome.owed
    assert f"--datetime {first}" in str(query)
    assert (status_of(out).store, status_of(out).owed) == ("partial", (query,))
    for victim in victims:
        shutil.copy(catalog / victim.relative_to(archive), victim)
    # One that asks for more settles it, too.
    _, outcome = run(config(archive, out, scheduler, **SMALL))
    assert not outcome.failed
    assert (status_of(out).store, status_of(out).owed) == ("complete", ())


def test_a_query_that_finds_nothing_clear_tells_of_its_own_items(
    catalog: Path, scheduler: str, tmp_path: Path
) -> None:
    first, second = _dates(catalog)
    cloudy = shutil.copytree(catalog, tmp_path / "cloudy")
    for file in cloudy.glob("synthetic-s2-l2a/*/*.json"):
        item = json.loads(file.read_text())
        if item["properties"]["datetime"].startswith(first):
            item["properties"]["eo:cloud_cover"] = 99.0
            file.write_text(json.dumps(item))
    run(config(cloudy, tmp_path / "out", scheduler, datetime=second, **SMALL))
    # Not of those of the other date, which are there already.
    with pytest.raises(S2SharpError, match="4 items were found, 1 acquisitions are cloudier"):
        run(config(cloudy, tmp_path / "out", scheduler, datetime=first, max_cloud=50, **SMALL))


def test_nothing_since_a_date_is_said(catalog: Path, whole: Path, scheduler: str) -> None:
    for since in ("2024-12-01", "2025-03"):  # the last one is later than all that is asked for
        with pytest.raises(S2SharpError) as caught:
            run(config(catalog, whole, scheduler, since=since, **SMALL))
        assert caught.value.kind == "nothing-found"
        assert since in caught.value.message
