"""Pictures of a report: an overview of each code, and chosen places before and after."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import xarray as xr
from pyproj import Transformer
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from s2sharp_core import S2SharpError
from s2sharp_core.bands import HIDING
from s2sharp_core.lattice import Box

from ..cube.layout import Layout
from ..cube.open import open_cube
from ..publish.panels import Panel, Spot, choose_spot, orientation, pair, trust
from ..scenes.acquisition import Acquisition
from ..scenes.read import Files, reflectance
from ..storage.files import version
from ..storage.location import Location, store_errors
from .facts import Facts

# Number of places, and their side in pixels of 10 m.
_PLACES, _SIDE = 3, 240
# Pixels along an overview that is searched for places, and along the background of a map.
_SEARCHED, _BEHIND = 1500, 700
# Number of acquisitions that the background of a map combines.
_LAYERS = 6


class Natives:
    """Reader of native bands from the addresses in the items. ``missing``: item and band → reason of the failure."""

    def __init__(self, bands: tuple[str, ...]) -> None:
        self.bands = bands
        self.missing: dict[str, str] = {}
        self._read = 0

    def read(self, acquisition: Acquisition, box: Box) -> dict[str, np.ndarray]:
        """Return reflectance over ``box`` by readable band, as :func:`~s2sharp.scenes.read.load_block` does."""
        found = {}
        for band in self.bands:
            # An unreachable archive takes minutes to fail, each time.
            if len(self.missing) > 1 + self._read:
                break
            try:
                found[band] = reflectance(Files(acquisition), acquisition, band, box)
            except S2SharpError as error:
                self.missing[f"{error.item} {error.band}"] = error.message
                continue
            self._read += 1
        return found


@dataclass(frozen=True)
class Shown:
    """A place: where and when, its ``pairs`` of native and sharpened bands, the ``orientation`` at 10 m, and the
    layers of ``trust``, if any.
    """

    acquisition: Acquisition
    lon: float
    lat: float
    metres: tuple[int, int]
    pairs: tuple[tuple[Panel, Panel], ...]
    orientation: Panel | None
    trust: tuple[Panel, ...]


def clearest(facts: Facts) -> list[Acquisition]:
    """Return the acquisitions with pixels, the least cloudy first."""
    having = {
        name for name, some in facts.shards.items() if any(state == "ok" for _, state in some)
    }
    known = [a for a in facts.plan.present if a.id in having]
    return sorted(known, key=lambda a: (100.0 if a.cloud is None else a.cloud, a.id))


def instant(out: Location, acquisition: Acquisition, level: int = 0) -> xr.Dataset | None:
    """Return an acquisition in the cube of ``out``, or None while readers do not see it yet."""
    try:
        written = version(out / "cube.zarr" / "zarr.json")
        cube = _opened(out, acquisition.epsg, level, written)
        found = cube.sel(time=np.datetime64(acquisition.datetime, "ns"))
    except (FileNotFoundError, KeyError, S2SharpError):
        return None
    return found if "time" not in found.dims else found.isel(time=0)


@lru_cache(maxsize=8)
def _opened(out: Location, epsg: int, level: int, written: str) -> xr.Dataset:  # noqa: ARG001
    """Open a group of a cube once for a page; ``written``: version of its metadata."""
    return open_cube(out, epsg=epsg, level=level)


def places(facts: Facts, natives: Natives) -> list[Shown]:
    """Return the places with most detail, from the clearest acquisitions in turn; the same places for the same cube."""
    shown: list[Shown] = []
    taken: dict[int, list[Spot]] = {}
    some = clearest(facts)[:_PLACES]
    for number in range(_PLACES if some else 0):
        acquisition = some[number % len(some)]
        layout = facts.plan.layout(acquisition.epsg)
        before = taken.setdefault(layout.epsg, [])
        try:
            cube = instant(facts.plan.out, acquisition)
            spot = None if cube is None else _spot(facts, cube, acquisition, before)
            if cube is None or spot is None or any(_meet(spot, other) for other in before):
                continue
            before.append(spot)
            shown.append(_shown(layout, acquisition, cube, spot, natives))
        except store_errors(S2SharpError):  # a shard that is being written, or was lost
            continue
    return shown


def _meet(one: Spot, other: Spot) -> bool:
    return all(a.start < b.stop and b.start < a.stop for a, b in zip(one, other, strict=True))


def _spot(
    facts: Facts, cube: xr.Dataset, acquisition: Acquisition, taken: list[Spot]
) -> Spot | None:
    """Return a place to show, found in an overview or, before there is one, in a finished shard."""
    layout = facts.plan.layout(acquisition.epsg)
    level = layout.level_of(_SEARCHED)
    overview = instant(facts.plan.out, acquisition, level) if level else cube
    if overview is not None and bool((overview["valid"] == 1).any()):
        return choose_spot(cube, _SIDE, overview, taken)
    done = [unit for unit, state in facts.shards[acquisition.id] if state == "ok"]
    cells = layout.cells(done[0].row, done[0].col) & layout.area
    rows, cols = layout.area.slices(cells, 10)
    y, x = choose_spot(cube.isel(y=rows, x=cols), _SIDE)
    return (
        slice(y.start + rows.start, y.stop + rows.start),
        slice(x.start + cols.start, x.stop + cols.start),
    )


def _shown(
    layout: Layout, acquisition: Acquisition, cube: xr.Dataset, spot: Spot, natives: Natives
) -> Shown:
    rows, cols = spot
    crop = cube.isel(y=rows, x=cols).load()
    box = layout.cells_at(rows, cols)
    native = natives.read(acquisition, box)
    pairs = [both for gsd in (20, 60) if (both := pair(crop, native, gsd))]
    left, bottom, right, top = layout.lattice.bounds(box)
    to_degrees = Transformer.from_crs(layout.epsg, 4326, always_xy=True)
    lon, lat = to_degrees.transform((left + right) / 2, (bottom + top) / 2)
    return Shown(
        acquisition=acquisition,
        lon=float(lon),
        lat=float(lat),
        metres=(int(top - bottom), int(right - left)),
        pairs=tuple((before, after) for before, after in pairs),
        orientation=next(iter(orientation(crop)), None),
        trust=tuple(trust(crop)),
    )


def thumbnail(facts: Facts, layout: Layout) -> bytes | None:
    """Return a small PNG of one code's area, the clearest acquisitions first; None if nothing is visible yet."""
    some = [a for a in clearest(facts) if a.epsg == layout.epsg][:_LAYERS]
    level = layout.level_of(_BEHIND)
    if max(layout.shape(level)) > 2 * _BEHIND:  # one whole chunk may be of any size
        return None
    whole: xr.Dataset | None = None
    for cube in _seen(facts.plan.out, some, level):
        clear = (cube["valid"] == 1) & ~cube["cloud"].isin(HIDING)
        part = cube.where(clear)
        whole = part if whole is None else whole.combine_first(part)
    panels = [] if whole is None else orientation(whole)
    return png(panels[0].image) if panels and panels[0].image[..., 3].any() else None


def _seen(out: Location, some: list[Acquisition], level: int) -> Iterator[xr.Dataset]:
    """Yield the true colours, or else any band, at one level."""
    for acquisition in some:
        cube = instant(out, acquisition, level)
        if cube is None:
            continue
        bands = [band for band in ("B04", "B03", "B02", "B08") if band in cube]
        try:
            yield cube[[*bands, "valid", "cloud"]].drop_vars("time").load()
        except store_errors():
            continue


def png(image: np.ndarray) -> bytes:
    """Return a PNG of RGBA (h, w, 4) from 0 to 1."""
    pixels = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    if (pixels[..., 3] == 255).all():
        pixels = pixels[..., :3]
    height, width, count = pixels.shape
    with warnings.catch_warnings(), MemoryFile() as memory:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        shape = {"height": height, "width": width, "count": count, "dtype": "uint8"}
        with memory.open(driver="PNG", zlevel=9, **shape) as file:
            file.write(pixels.transpose(2, 0, 1))
        return bytes(memory.read())
