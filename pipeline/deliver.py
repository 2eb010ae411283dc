"""What people open first: COGs, a STAC catalogue and a before/after picture of each acquisition."""

import numpy as np
import pystac
import xarray as xr
import zarr

from s2sharp_core import BANDS, S2SharpError
from s2sharp_core.lattice import Box

from .acquisitions import Acquisition
from .cube import LAYERS, Layout, crop, level_group, read_group
from .ledger import Record
from .load import Files, load_block
from .place import Place, files, store_errors, zarr_store
from .plan import Plan, Unit
from .publish import Provenance, stac_item, write_catalog, write_cogs
from .quicklook import choose_spot, quicklook
from .unit import SPACE, Run, keep

__all__ = ["publish_unit", "write_catalogue"]


# Pixels along an overview that is searched for the place to show.
_OVERVIEW = 1500

_CREDIT = "Contains modified Copernicus Sentinel data"


def publish_unit(run: Run, unit: Unit, missing: tuple[str, ...]) -> Record:
    """Write the COGs and the picture of one acquisition, and record it."""
    plan = run.plan
    layout, acquisition = plan.layout(unit.epsg), plan.acquisition(unit)
    name, key = plan.name(unit), plan.key(unit, missing)
    try:
        write_cogs(plan.out, layout, unit.time, acquisition.id)
        record = Record(name, key, "ok", warnings=_picture(plan, layout, acquisition, unit.time))
    except S2SharpError as error:
        record = Record(name, key, "failed", kind=error.kind, message=str(error))
    except store_errors() as error:
        message = f"Cannot publish {acquisition.id}: {error}. {SPACE}"
        record = Record(name, key, "failed", kind="store-unwritable", message=message)
    return keep(plan, record)


def picture_path(out: Place, acquisition: Acquisition) -> Place:
    return out / "pictures" / f"{acquisition.id}.png"


def _picture(plan: Plan, layout: Layout, acquisition: Acquisition, time: int) -> tuple[str, ...]:
    """Draw before and after; a place that cannot be read costs the picture only, with a warning."""
    cube = _written(plan, layout, time)
    small = (x for x in range(layout.levels) if max(layout.shape(x)) <= _OVERVIEW)
    level = next(small, layout.levels)
    overview = _written(plan, layout, time, level)
    rows, cols = choose_spot(cube, overview=overview)
    spot = cube.isel(y=rows, x=cols)
    area = layout.area
    box = Box(
        area.row0 + rows.start // 6,
        area.row0 + rows.stop // 6,
        area.col0 + cols.start // 6,
        area.col0 + cols.stop // 6,
    )
    coarse = tuple(b for b in plan.config.bands if BANDS[b].gsd > 10)
    try:
        native = load_block(Files(acquisition), acquisition, coarse, box, 0).data if coarse else {}
    except S2SharpError as error:
        return (f"No picture of {acquisition.id}: {error.message}",)
    if not any(np.isfinite(y).any() for y in native.values()):
        return ()
    path = picture_path(plan.out, acquisition)
    title = f"{acquisition.datetime[:10]}  ·  EPSG:{layout.epsg}  ·  {plan.config.method}"
    credit = _CREDIT if "sentinel" in plan.config.collection else ""
    quicklook(path, spot.load(), native, title, credit)
    return ()


def _written(plan: Plan, layout: Layout, time: int, level: int = 0) -> xr.Dataset:
    """One date as :func:`open_cube` gives it, from a cube that is still being written."""
    store = zarr_store(plan.store)
    root = zarr.open_group(store, mode="r", use_consolidated=False)
    raw = read_group(root, store, level_group(layout, level), (*BANDS, *LAYERS))
    return crop(raw.isel(time=[time]), None, layout.crs, layout.pixel * 2**level).isel(time=0)


def write_catalogue(plan: Plan) -> Place:
    """Write the STAC collection and one item for each acquisition; returns the collection's path."""
    items = [
        _item(plan, layout, time, acquisition)
        for layout in plan.layouts
        for time, acquisition in enumerate(plan.of(layout.epsg))
    ]
    return write_catalog(plan.out, items, "Sentinel-2 with all bands at 10 m, made by s2sharp.")


def _item(plan: Plan, layout: Layout, time: int, acquisition: Acquisition) -> pystac.Item:
    folder = plan.out / "cogs" / acquisition.id
    names = [n for n in files(folder) if n.endswith(".tif") and "/" not in n]
    cogs = {name.removesuffix(".tif"): folder / name for name in names}
    thumbnail = picture_path(plan.out, acquisition)
    provenance = Provenance(
        id=acquisition.id,
        datetime=f"{acquisition.datetime}Z",
        platform=acquisition.scenes[0].platform,
        cloud_cover=acquisition.cloud,
        sources=tuple((scene.id, scene.href) for scene in acquisition.scenes),
        method=plan.config.method,
        weights=plan.weights_of(acquisition.take),
        precision=plan.precision,
        software=plan.software,
    )
    shown = thumbnail if thumbnail.exists() else None
    return stac_item(plan.out, layout, time, acquisition.id, cogs, provenance, shown)
