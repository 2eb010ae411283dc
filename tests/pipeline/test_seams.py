"""No seams of our making: the same place has the same values, however a run came to it."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from s2sharp.planning.make import make_plan

from s2sharp_core.bands import BY_GSD
from s2sharp_core.lattice import Box, Lattice
from s2sharp_core.sensor.simulate import landscape, observe

from ..core.scenes import NORTH, SOUTH, box_at
from ..data import needs_data, shared_data
from .cuts import (
    WHEN,
    Difference,
    Pass,
    beyond_swath,
    difference,
    random_area,
    random_tiles,
    settings,
    stored,
    write_cut,
    write_region,
)
from .pictures import noise
from .runs import run

BANDS = ("B01", "B05", "B8A", "B11", "B12", "B04")


def _synthetic() -> tuple[dict[str, np.ndarray], Lattice, Box]:
    lattice, box = Lattice.of(32733), Box(70_003, 70_035, 9_990, 10_022)
    seen = observe(landscape(box.pixels(10), seed=11))
    bands = {
        band: np.rint(seen[gsd][i] * 10_000).clip(1).astype(np.uint16)
        for gsd, group in BY_GSD.items()
        for i, band in enumerate(group)
    }
    # A hole, which must not betray the cut either.
    bands["B05"][60:70, 90:100] = 0
    return bands, lattice, box


def _real() -> tuple[dict[str, np.ndarray], Lattice, Box]:
    from s2sharp.catalog.search import search
    from s2sharp.scenes.acquisition import group
    from s2sharp.scenes.read import Files

    from s2sharp_core import BANDS as ALL

    catalog = str(shared_data() / "scenes" / "catalog.json")  # type: ignore[operator]
    items = search(catalog, "sentinel-2-l1c", (-180, -90, 180, 90), "2010/..")
    found, *_ = group([i for i in items if i.id == "australia"], tuple(ALL), catalog)
    (acquisition,) = found
    files = Files(acquisition)
    whole = acquisition.box
    box = Box(whole.row0 + 10, whole.row0 + 42, whole.col0 + 10, whole.col0 + 42)  # enough
    bands = {band: files.mosaic(band, box)[0] for band in ALL}
    return bands, Lattice.of(acquisition.epsg), box


@pytest.mark.parametrize(
    ("source", "trials"), [("synthetic", 2), pytest.param("real", 1, marks=needs_data)]
)
def test_tiles_areas_shards_and_order_leave_no_trace(
    source: str, trials: int, scheduler: str, tmp_path: Path
) -> None:
    bands, lattice, box = _synthetic() if source == "synthetic" else _real()
    whole = write_cut(tmp_path / "whole", bands, lattice, box, [box])
    common = {"method": "dsen2", "window": 16, "bands": BANDS}
    run(settings(whole, tmp_path / "out", scheduler, shard=64, **common))
    expected, left, top = stored(tmp_path / "out", BANDS)
    assert (expected["B05"] != -32768).mean() > 0.9
    rng = np.random.default_rng(5)
    for trial in range(trials):
        catalog = write_cut(tmp_path / f"cut{trial}", bands, lattice, box, random_tiles(box, rng))
        out = tmp_path / f"out{trial}"
        area = random_area(lattice, box, rng)
        shard = int(rng.choice([16, 32, 48]))
        stage = str(rng.choice(["always", "never"]))
        run(settings(catalog, out, scheduler, shard=shard, bbox=area, stage=stage, **common))
        got, x, y = stored(out, BANDS)
        row, col = round((top - y) / 10), round((x - left) / 10)
        for band, picture in got.items():
            height, width = picture.shape
            same = expected[band][row : row + height, col : col + width]
            assert np.array_equal(picture, same), f"{band}, trial {trial}"


def test_another_window_changes_rounding_only(scheduler: str, tmp_path: Path) -> None:
    bands, lattice, box = _synthetic()
    catalog = write_cut(tmp_path / "whole", bands, lattice, box, [box])
    pictures = []
    for window in (16, 24):
        out = tmp_path / f"out{window}"
        run(settings(catalog, out, scheduler, method="dsen2", window=window, shard=48, bands=BANDS))
        pictures.append(stored(out, BANDS)[0])
    for band in BANDS:
        change = np.abs(pictures[0][band].astype(int) - pictures[1][band])
        assert change.max() <= 1
        assert (change > 0).mean() <= 0.001


def test_a_box_in_degrees_is_written_as_a_whole_rectangle_of_shards(tmp_path: Path) -> None:
    bands, lattice, box = _synthetic()
    catalog = write_cut(tmp_path / "whole", bands, lattice, box, [box])
    rng = np.random.default_rng(2)
    for _ in range(20):
        area = random_area(lattice, box, rng)
        plan = make_plan(settings(catalog, tmp_path / "out", None, bbox=area, shard=8, window=8))
        rows, cols = plan.layouts[0].shards()
        assert len(list(plan.units())) == rows * cols


def test_a_region_of_two_codes_and_several_dates_in_tiles_is_the_region_uncut(
    scheduler: str, tmp_path: Path
) -> None:
    side, overlap, box = 16, 4, box_at(40, 40)
    passes = []
    for lattice, date in ((NORTH, 0), (NORTH, 5), (SOUTH, 0)):
        bands = noise(box, "B02", "B05", "B09", seed=date)
        if date:
            bands = {band: beyond_swath(dn, band) for band, dn in bands.items()}
        passes.append(Pass(lattice, box, WHEN + timedelta(days=date), bands))
    common = {"method": "bicubic", "window": 16, "shard": 32, "bands": ("B02", "B05", "B09")}
    for name, length in (("uncut", 40), ("cut", side)):
        catalog = write_region(tmp_path / name, passes, length, overlap)
        plan, outcome = run(settings(catalog, tmp_path / f"of-{name}", scheduler, **common))
        assert not outcome.failed
        assert {len(a.scenes) for a in plan.acquisitions} == {9 if name == "cut" else 1}
    total = Difference()
    for code in (NORTH.epsg, SOUTH.epsg):
        total += difference(tmp_path / "of-uncut", tmp_path / "of-cut", str(code))
    assert total.differ == 0
    assert total.valid > total.values / 5  # whole shards reach beyond the area
