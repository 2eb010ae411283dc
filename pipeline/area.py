"""The area that was asked for: in degrees, and in the metres of each grid."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pystac
import shapely
from pyproj import Transformer

from s2sharp_core import S2SharpError
from s2sharp_core.lattice import Lattice

from .archives import epsg as epsg_of
from .config import RunConfig

__all__ = ["area_digest", "area_shape", "lonlat", "reach"]


def area_shape(config: RunConfig, epsg: int) -> shapely.Geometry:
    """The area that was asked for, in metres of ``epsg``; edges are densified before they bend.

    Raises
    ------
    S2SharpError
        ``bad-config`` when the GeoJSON cannot be read.
    """
    # A zone's tiles lie within a few degrees of its meridian; far from it, the projection has no meaning.
    meridian = epsg % 100 * 6 - 183
    near = shapely.box(meridian - 12, -84, meridian + 12, 84)
    shape = shapely.segmentize(lonlat(config) & near, 0.05)
    to_grid = Transformer.from_crs(4326, epsg, always_xy=True)
    shape = shapely.transform(shape, lambda xy: np.column_stack(to_grid.transform(*xy.T)))
    # Of a box in degrees, the whole rectangle around it in metres: a picture without ragged edges.
    return shape if config.area else shapely.box(*shapely.bounds(shape))


def reach(config: RunConfig, items: Sequence[pystac.Item]) -> tuple[float, float, float, float]:
    """Degrees around all cells that may be written: more than was asked for, since grids are turned."""
    shape = lonlat(config)
    for code in {epsg_of(item) for item in items if _has_code(item)}:
        around = Lattice.of(code).around(tuple(shapely.bounds(area_shape(config, code))))
        to_degrees = Transformer.from_crs(code, 4326, always_xy=True)
        shape |= shapely.box(*to_degrees.transform_bounds(*Lattice.of(code).bounds(around)))
    west, south, east, north = shapely.bounds(shape & shapely.box(-180, -90, 180, 90))
    return float(west), float(south), float(east), float(north)


def _has_code(item: pystac.Item) -> bool:
    """Whether an item says where it lies; one that does not is refused later, by name."""
    try:
        Lattice.of(epsg_of(item))
    except S2SharpError:
        return False
    return True


def _geojson(file: Path) -> shapely.Geometry:
    try:
        content = json.loads(file.read_text())
        parts = [
            shapely.make_valid(shapely.from_geojson(json.dumps(feature.get("geometry") or feature)))
            for feature in content.get("features", [content])
        ]
        shape = shapely.union_all(parts)
    except (OSError, ValueError, AttributeError, shapely.errors.ShapelyError) as error:
        raise S2SharpError(
            "bad-config", f"Cannot read the area {file}: {error}.", "It must be GeoJSON in lon/lat."
        ) from error
    west, south, east, north = shapely.bounds(shape)
    if not shape.area or not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
        raise S2SharpError(
            "bad-config",
            f"The area {file} is no polygon in degrees; it spans {west}, {south}, {east}, {north}.",
            "Give polygons in longitude and latitude (RFC 7946).",
        )
    return shape


def lonlat(config: RunConfig) -> shapely.Geometry:
    return _geojson(config.area) if config.area else shapely.box(*(config.bbox or ()))


def area_digest(config: RunConfig) -> str:
    return hashlib.sha256(shapely.to_wkb(lonlat(config))).hexdigest()
