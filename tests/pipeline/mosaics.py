"""Cubes for mosaics, mosaics of them, and how their pixels lie."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from pyproj import Transformer
from s2sharp.cube.layout import encode
from s2sharp.engine.lease import Lease
from s2sharp.engine.settings import validated
from s2sharp.mosaic.config import MosaicConfig
from s2sharp.mosaic.cost import estimate
from s2sharp.mosaic.execute import MosaicOutcome, carry_out
from s2sharp.mosaic.make import make_plan
from s2sharp.mosaic.plan import MosaicPlan
from s2sharp.storage.location import Location
from scipy.ndimage import distance_transform_edt

from s2sharp_core import S2SharpError
from s2sharp_core.lattice import Box, Lattice

from .cubes import BANDS, Shot, lonlat, make_cube

WEST, EAST = 32632, 32633
LON, LAT = 12.0, 48.0  # the border of two zones
MIDDLE = "2024-06-15T10:10:31"
ONE = {WEST: Lattice.of(WEST).around((701_460, 5_318_000, 703_500, 5_319_660))}


def around_border(west: float, east: float, half: float) -> dict[int, Box]:
    """Cells on both sides of 12° E: each code has `west` or `east` metres of its own, and 400 m beyond."""
    found = {}
    for epsg, (left, right) in {WEST: (west, 400.0), EAST: (400.0, east)}.items():
        x, y = Transformer.from_crs(4326, epsg, always_xy=True).transform(LON, LAT)
        found[epsg] = Lattice.of(epsg).around((x - left, y - half, x + right, y + half))
    return found


def near(lon: float, lat: float, metres: float, kind: int) -> Any:
    """A cloud (or what class is asked for) of a radius around a place."""

    def cloud(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        away = np.hypot((x - lon) * 111_320 * np.cos(np.radians(lat)), (y - lat) * 111_320)
        return np.where(away < metres, kind, 4)

    return cloud


def plan_of(out: Location, to: Location, **flags: Any) -> MosaicPlan:
    settings = {"out": out, "to": to, "publish": False, "retries": 0, **flags}
    return make_plan(validated(MosaicConfig, settings, "See `s2sharp mosaic --help`."))


def execute(plan: MosaicPlan) -> MosaicOutcome:
    with Lease.taken(plan.folder) as lease:
        return carry_out(plan, lease)


def make(
    out: Location, to: Location, scheduler: str, **flags: Any
) -> tuple[MosaicPlan, MosaicOutcome]:
    plan = plan_of(out, to, scheduler=scheduler, **flags)
    outcome = execute(plan)
    assert not outcome.failed, outcome.failed[0].message
    return plan, outcome


def stored(to: Path) -> dict[str, bytes]:
    store = to / "mosaic.zarr"
    return {
        str(path.relative_to(store)): path.read_bytes()
        for path in sorted(store.rglob("c/*/*/*"))
        if path.is_file()
    }


def dn(mosaic: xr.Dataset, time: int = 0) -> np.ndarray:
    """(bands, h, w) in DN, FILL where there is none."""
    return np.stack([encode(mosaic[band].values[time]) for band in BANDS])


def refused(kind: str, out: Path, to: Path, **flags: Any) -> str:
    with pytest.raises(S2SharpError) as caught:
        estimate(plan_of(out, to, **flags))
    assert caught.value.kind == kind
    assert caught.value.remedy
    return caught.value.message


def make_cloudy(folder: Path) -> Path:
    """A cube of one code: four dates, the middle one with cloud and shadow, gaps in another."""
    lon, lat = lonlat(WEST, ONE[WEST])
    here, there = ((float(lon[at]), float(lat[at])) for at in ((60, 60), (150, 30)))
    east = float(np.quantile(lon, 0.8))
    shots = [
        Shot("2024-06-03T10:10:31", bias=3_000, cloud=near(*there, 60, 3)),
        Shot(MIDDLE, cloud=near(*here, 150, 9)),
        Shot("2024-06-20T10:10:31", bias=6_000, missing=lambda a, _: a > east),
        Shot("2024-07-02T10:10:31", bias=1_000, cloud=lambda a, _: np.full(a.shape, 8)),
    ]
    return make_cube(folder, ONE, shots)


def make_border(folder: Path) -> Path:
    """A cube of two codes that meet at 12° E: three dates in two periods, with clouds and gaps."""
    shots = [
        Shot("2024-06-14T10:10:31", bias=40, cloud=near(LON - 0.004, LAT + 0.002, 90, 9)),
        Shot("2024-06-24T10:10:31", cloud=near(LON, LAT, 60, 10)),
        Shot("2024-07-19T10:10:31", gain=1.1, missing=lambda x, y: x + 3 * (y - LAT) > LON + 0.006),
    ]
    return make_cube(folder, around_border(3_600, 3_600, 500), shots)


def ground(mosaic: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    to_degrees = Transformer.from_crs(mosaic.rio.crs, 4326, always_xy=True)
    return to_degrees.transform(*np.meshgrid(mosaic.x.values, mosaic.y.values))


def inner(mask: np.ndarray) -> np.ndarray:
    """Pixels that are far enough from a mask's edge not to be interpolated across a gap."""
    return mask & (distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1] > 3)
