"""Sources of a map: the acquisitions of a run, or the periods of a mosaic."""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import xarray as xr
from fastapi import HTTPException

from s2sharp_core import BANDS

from ..catalog.antimeridian import degrees_around
from ..cube.intact import store_status
from ..cube.open import open_cube
from ..planning.client_plan import ClientPlan, as_frozen
from ..planning.plan import Plan
from ..storage.files import version
from ..storage.location import Location
from .delivered import Delivered, Native
from .pictures import Picture

if TYPE_CHECKING:
    from ..mosaic.plan import MosaicPlan

_COMPOSITES = {  # the first one is the default: true colour does not show the effect of sharpening
    "Short-wave infrared (B12 B8A B04)": ("B12", "B8A", "B04"),
    "True colour (B04 B03 B02)": ("B04", "B03", "B02"),
    "Red edge (B07 B06 B05)": ("B07", "B06", "B05"),
    "Short-wave infrared (B12 B11 B8A)": ("B12", "B11", "B8A"),
    "Near infrared (B08 B04 B03)": ("B08", "B04", "B03"),
}


def source_of(out: Location) -> "Source":
    """Return the content of the folder of a run or of a mosaic. Only names in its plan lead to pixels, paths do not.

    Errors: ``not-a-run``; ``other-run`` if another version wrote it.
    """
    if (out / "mosaic.json").exists():
        # Loaded here and below, because the packages for mosaics need not be installed to look at a run.
        from ..mosaic.plan import MosaicPlan

        MosaicPlan.read(out)  # fails now instead of in a browser
        return _Mosaic(out)
    Plan.read(out)
    return _Run(out)


@dataclass(frozen=True)
class _Run:
    """Source of a run; its plan is read again after each change."""

    out: Location
    files: Delivered = field(default_factory=Delivered)

    @property
    def plan(self) -> ClientPlan:
        return _plan(self.out, version(self.out / "run.json"))

    @property
    def bands(self) -> tuple[str, ...]:
        return self.plan.config.bands

    def picture(self, name: str, bands: tuple[str, ...], *, delivered: bool) -> Picture:
        """Return bands of an acquisition by its name; HTTP 404 if the name or a band does not exist."""
        plan = self.plan
        found = next((a for a in plan.present if a.id == name), None)
        if found is None or not set(bands) <= set(self.bands) or not bands:
            raise HTTPException(404, "The cube does not have this acquisition or these bands.")
        layout = plan.layout(found.epsg)

        def opened(level: int) -> xr.Dataset:
            written = version(self.out / "cube.zarr" / "zarr.json")
            return _cube(self.out, layout.epsg, level, written)

        return Picture(
            layout=layout,
            opened=opened,
            time=found.datetime,
            name=name,
            bands=bands,
            whole=store_status(plan.store) != "writing",
            native=Native(self.files, layout, found),
            delivered=delivered,
        )

    def layers(self) -> dict[str, Any]:
        """Describe the content: times with their parts, (W, S, E, N) of each, E beyond 180 across the antimeridian;
        bands, one or three together; ``delivered``: whether native pixels are available.
        """
        plan = self.plan
        takes: dict[str, list[dict[str, Any]]] = {}
        for acquisition in sorted(plan.present, key=lambda a: a.datetime, reverse=True):
            layout = plan.layout(acquisition.epsg)
            bounds = layout.lattice.bounds(layout.area & acquisition.box)
            about = {"id": acquisition.id, "bounds": degrees_around(layout.crs, bounds)}
            label = (
                f"{acquisition.datetime[:16].replace('T', ' ')}  {acquisition.take.split('_')[0]}"
            )
            takes.setdefault(f"{acquisition.take}|{label}", []).append(about)
        shown = [{"label": k.partition("|")[2], "acquisitions": some} for k, some in takes.items()]
        return {"takes": shown, "delivered": True, **_bands(self.bands)}


@dataclass(frozen=True)
class _Mosaic:
    """Source of a mosaic, as that of a run; its parts are periods."""

    to: Location

    @property
    def plan(self) -> "MosaicPlan":
        return _mosaic_plan(self.to, version(self.to / "mosaic.json"))

    @property
    def bands(self) -> tuple[str, ...]:
        return self.plan.bands

    def picture(self, name: str, bands: tuple[str, ...], *, delivered: bool) -> Picture:  # noqa: ARG002  (a mosaic has no native pixels)
        plan = self.plan
        found = next((p for p in plan.periods if p.name == name), None)
        if found is None or not set(bands) <= set(self.bands) or not bands:
            raise HTTPException(404, "The mosaic does not have this period or these bands.")

        def opened(level: int) -> xr.Dataset:
            return _mosaic(self.to, level, version(plan.store / "zarr.json"))

        whole = store_status(plan.store) != "writing"
        return Picture(plan.canvas, opened, found.start, name, bands, whole)

    def layers(self) -> dict[str, Any]:
        plan = self.plan
        bounds = degrees_around(plan.canvas.crs, plan.canvas.asked)
        shown = [
            {"label": p.name, "acquisitions": [{"id": p.name, "bounds": bounds}]}
            for p in reversed(plan.periods)
        ]
        return {"takes": shown, "delivered": False, **_bands(self.bands)}


Source = _Run | _Mosaic


def _bands(bands: tuple[str, ...]) -> dict[str, Any]:
    together = {name: some for name, some in _COMPOSITES.items() if set(some) <= set(bands)}
    return {
        "bands": {**together, **{band: (band,) for band in bands}},
        "gsd": {band: BANDS[band].gsd for band in bands},
    }


# Each cache reads again after its file has changed.
@lru_cache(maxsize=2)
def _plan(out: Location, written: str) -> ClientPlan:  # noqa: ARG001  (part of the key)
    return as_frozen(Plan.read(out))


@lru_cache(maxsize=2)
def _mosaic_plan(to: Location, written: str) -> "MosaicPlan":  # noqa: ARG001
    from ..mosaic.plan import MosaicPlan

    return MosaicPlan.read(to)


@lru_cache(maxsize=32)
def _cube(out: Location, epsg: int, level: int, written: str) -> xr.Dataset:  # noqa: ARG001
    return open_cube(out, epsg=epsg, level=level)


@lru_cache(maxsize=32)
def _mosaic(to: Location, level: int, written: str) -> xr.Dataset:  # noqa: ARG001
    from ..mosaic.store import open_mosaic

    return open_mosaic(to, level=level)
