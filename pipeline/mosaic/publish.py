"""COGs and a STAC item of each tile, and the collection of all items."""

import json
from datetime import timedelta

import numpy as np
import pystac
from pystac.extensions.projection import ProjectionExtension
from pystac.utils import str_to_datetime

from s2sharp_core import BANDS

from ..publish.cog_profile import CogProfile, Frame
from ..publish.cogs import Means, write_pictures
from ..publish.stac import PROCESSING, ZARR, add_picture, footprint, relative, write_collection
from ..storage.arrays import arrays_of
from ..storage.digests import Digest, settled_digest
from ..storage.files import files, read_named, remove, remove_tree, write_text
from ..storage.location import Location, place
from .grid import within
from .plan import MosaicPlan, Takes, Tile


def _place(plan: MosaicPlan, tile: Tile) -> str:
    """Return a tile's name in the folder of COGs and in the catalog."""
    return plan.name(tile, "tile").replace("/tile_", "_")


def cog_folder(plan: MosaicPlan, tile: Tile) -> Location:
    return plan.config.to / "cogs" / _place(plan, tile)


def _items(plan: MosaicPlan) -> Location:
    return plan.config.to.absolute() / "stac" / "items"


def _item_path(plan: MosaicPlan, tile: Tile) -> Location:
    return _items(plan) / f"{_place(plan, tile)}.json"


def publish_tile(plan: MosaicPlan, tile: Tile, takes: Takes) -> tuple[int, dict[str, Digest]]:
    """Write the COGs of a tile and its item; remove them if no pixel is valid.

    Return the number of valid pixels, and variable → size and digest of its file.
    """
    asked = plan.box(tile) & plan.area
    at = within(plan.canvas.box, asked)
    arrays = arrays_of(plan.store)
    valid = int(np.count_nonzero(arrays["valid"][tile.period, *at]))
    if valid == 0:
        remove_tree(cog_folder(plan, tile))
        remove(_item_path(plan, tile))
        return 0, {}
    left, _, _, top = plan.grid.bounds(asked)
    height, width = asked.shape
    parts = ((at, (slice(0, height), slice(0, width))),)
    frame = Frame(plan.grid.crs, plan.grid.resolution, (left, top), asked.shape, parts)
    rasters = {band: CogProfile.of(band) for band in plan.bands}
    (layer,) = (name for name in plan.canvas.layers if name != "valid")
    dtype, long_name, _ = plan.canvas.layers[layer]
    rasters[layer] = CogProfile(dtype, 0, 1.0, long_name, "mode")
    # Memory of painting a tile, which is free by now.
    held = plan.side**2 * (2 * len(plan.bands) + 3)
    means = Means(plan.config.cog_compression, held)
    cogs = write_pictures(arrays, tile.period, frame, cog_folder(plan, tile), rasters, means)
    sources = [source.id for take in takes for source in take]
    if layer == "source":
        shown = np.unique(arrays[layer][tile.period, *at])
        sources = [plan.sources[number - 1].id for number in shown if number]
    digests = {variable: settled_digest(path) for variable, path in cogs.items()}
    item = _item(plan, tile, sources)
    for variable, path in cogs.items():
        roles = ["data", "reflectance"] if variable in BANDS else ["metadata"]
        about = rasters[variable].description
        asset = pystac.Asset(relative(item, path), about, roles=roles)
        add_picture(item, asset, frame, variable, rasters[variable], digests[variable])
    store = pystac.Asset(relative(item, plan.store), "Mosaic, all periods", None, ZARR, ["data"])
    item.add_asset("mosaic", store)
    write_text(place(item.self_href), json.dumps(item.to_dict(include_self_link=False)))
    return valid, digests


def _item(plan: MosaicPlan, tile: Tile, sources: list[str]) -> pystac.Item:
    """Make the STAC item of a tile."""
    bounds = plan.grid.bounds(plan.box(tile) & plan.area)
    geometry, bbox = footprint(bounds, plan.canvas.crs)
    period, config = plan.periods[tile.period], plan.config
    start, end = (str_to_datetime(f"{t}Z") for t in (period.start, period.end))
    properties = {
        "processing:lineage": f"{config.by} of {len(sources)} acquisitions of a cube by "
        f"{plan.cube.software or 's2sharp'}, without pixels within {config.dilate:g} m of cloud or cloud "
        f"shadow, on {plan.grid.crs[:40]}",
        "processing:software": {"s2sharp": plan.software},
        "s2sharp:by": config.by,
        "s2sharp:sources": sources,
    }
    item = pystac.Item(
        _place(plan, tile),
        geometry,
        bbox,
        None,
        properties,
        start_datetime=start,
        end_datetime=end - timedelta(seconds=1),
    )
    item.stac_extensions.append(PROCESSING)
    item.set_self_href(str(_item_path(plan, tile)))
    common = item.common_metadata
    common.constellation, common.instruments = "sentinel-2", ["msi"]
    if plan.grid.metres:
        common.gsd = plan.grid.metres
    known = plan.grid.crs if plan.canvas.crs.to_authority() else None
    ProjectionExtension.ext(item, add_if_missing=True).apply(
        code=known, wkt2=None if known else plan.grid.crs, bbox=list(bounds)
    )
    return item


def write_catalog(plan: MosaicPlan) -> Location | None:
    """Write the STAC collection of all tiles with valid pixels; return None if there are none."""
    there = files(_items(plan))
    names = [_item_path(plan, tile).name for tile in plan.tiles()]
    kept = [name for name in names if name in there]
    if not kept:
        return None
    items = []
    for name, text in read_named(_items(plan), kept):
        about = json.loads(text)
        # Links to an earlier collection are written anew.
        about["links"] = [
            x for x in about["links"] if x["rel"] not in ("root", "parent", "collection")
        ]
        items.append(pystac.Item.from_dict(about))
        items[-1].set_self_href(str(_items(plan) / name))
    about = f"Sentinel-2, all bands at {plan.grid.resolution:g} units of {plan.grid.crs[:40]}"
    if plan.grid.metres:
        about = f"Sentinel-2, all bands at {plan.grid.metres:g} m"
    return write_collection(
        plan.config.to,
        items,
        f"{about}: one picture per {plan.config.period} ({plan.config.by}), made by s2sharp.",
        "Sentinel-2 mosaics",
    )
