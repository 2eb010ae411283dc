"""B10 is delivered as it was measured, at 60 m, and nothing else is changed by it."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pystac
import pytest
import xarray as xr
from s2sharp.cube.layout import FILL
from s2sharp.cube.open import open_cube
from s2sharp.demo.synthetic import write_catalog, write_scenes
from s2sharp.planning.make import make_plan

from s2sharp_core import S2SharpError
from s2sharp_core.lattice import Box, Lattice

from .pictures import noise
from .products import write_safe
from .runs import config, records, run, shards

WHEN = datetime(2024, 6, 1, 10, 10, 31, tzinfo=UTC)
WORLD = (-180.0, -90.0, 180.0, 90.0)
TWO = {"bbox": WORLD, "shard": 16, "collection": "sentinel-2-l1c"}


def scene(folder: Path, epsg: int) -> tuple[list[pystac.Item], np.ndarray, Box]:
    """Two Level-1C tiles that overlap, B10 among their bands; its DN, and the cells of both."""
    lattice = Lattice.of(epsg)
    corner = lattice.around((600_000, 5_400_000, 600_060, 5_400_060))
    box = Box(corner.row0, corner.row0 + 30, corner.col0, corner.col0 + 30)
    bands = noise(box, "B02", "B03", "B04", "B05", "B08")
    rng = np.random.default_rng(10)
    bands["B10"] = rng.integers(1001, 1200, box.shape).astype(np.uint16)
    bands["B10"][3:9, 4:7] = 0
    parts = [Box(box.row0, box.row1, box.col0, box.col0 + 18)]
    parts += [Box(box.row0, box.row1, box.col0 + 12, box.col1)]
    items = write_scenes(folder / "stac", bands, lattice, box, parts, WHEN)
    for item in items:
        write_safe(folder / "safe", item, "1C", -1000)
    return items, bands["B10"], box


@pytest.mark.parametrize("epsg", [32633, 32756], ids=["north", "south"])
def test_b10_is_what_was_measured_where_it_was(epsg: int, tmp_path: Path, scheduler: str) -> None:
    items, dn, box = scene(tmp_path, epsg)
    where = {**TWO, "catalog": str(tmp_path / "safe")}
    settings = config(tmp_path, tmp_path / "out", scheduler, **where, bands="B02,B05,B10")
    plan, outcome = run(settings)
    assert not outcome.failed
    cube = open_cube(tmp_path / "out", native=True).isel(time=0).load()
    x, y = Lattice.of(epsg).coords(box, 60)
    np.testing.assert_array_equal(cube.x, x)
    np.testing.assert_array_equal(cube.y, y)
    assert cube.rio.crs.to_epsg() == epsg
    expected = np.where(dn == 0, np.nan, (dn.astype(np.float64) - 1000) / 10_000)
    np.testing.assert_allclose(cube["B10"], expected, rtol=0, atol=1e-7)

    raw = xr.open_zarr(tmp_path / "out/cube.zarr", group=f"{epsg}/r60m", mask_and_scale=False)
    assert set(raw.data_vars) == {"B10"}
    assert raw["B10"].dtype == np.int16
    assert (raw["B10"].values == FILL).any()
    written = {name for name in shards(tmp_path / "out") if "/r60m/" in name}
    assert len(written) == len(list(plan.units()))

    before = records(tmp_path / "out")
    _, again = run(settings)
    assert set(again.counts) == {"skipped"}
    assert records(tmp_path / "out") == before

    write_catalog(tmp_path / "stac", items)
    where["catalog"], where["collection"] = str(tmp_path / "stac"), "synthetic-s2-l2a"
    run(config(tmp_path, tmp_path / "bare", scheduler, **where, bands="B02,B05"))
    ours = {name: x for name, x in shards(tmp_path / "out").items() if "/r60m/" not in name}
    assert ours == shards(tmp_path / "bare")


def test_a_cube_that_grows_takes_b10_along(tmp_path: Path, scheduler: str) -> None:
    scene(tmp_path, 32633)
    where = {**TWO, "catalog": str(tmp_path / "safe"), "bands": "B02,B10"}
    whole = tmp_path / "whole"
    run(config(tmp_path, whole, scheduler, **where))
    west, south, east, north = open_cube(whole).rio.transform_bounds("EPSG:4326")
    part = (west + 0.6 * (east - west), south, east, south + 0.3 * (north - south))
    run(config(tmp_path, tmp_path / "grown", scheduler, **{**where, "bbox": part}))
    _, outcome = run(config(tmp_path, tmp_path / "grown", scheduler, **where))
    assert not outcome.failed
    assert shards(tmp_path / "grown") == shards(whole)


def test_level_2a_has_no_b10(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(S2SharpError, match="should have an asset for B10 at 60 m") as error:
        make_plan(config(archive, tmp_path, bands="B02,B10"))
    assert error.value.kind == "nothing-found"


def test_b10_alone_is_no_cube(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(S2SharpError, match="choose from"):
        config(archive, tmp_path, bands="B10")


def test_a_cube_without_b10_says_how_to_have_it(
    archive: Path, scheduler: str, tmp_path: Path
) -> None:
    run(config(archive, tmp_path / "out", scheduler, bands="B02", shard=64))
    with pytest.raises(S2SharpError, match="no B10"):
        open_cube(tmp_path / "out", native=True)
