"""Longitudes that wrap around: shapes and boxes that cross the antimeridian."""

from typing import Any

import numpy as np
import shapely
from shapely.affinity import translate

from .extent import Degrees


def unwrap(shape: shapely.Geometry) -> shapely.Geometry:
    """Return a scene's footprint in one piece. A footprint across the antimeridian continues beyond 180°.

    Archives cut footprints there, or jump from 179 to -179. No scene is half as wide as the globe.
    """
    west, _, east, _ = shapely.bounds(shape)
    if not east - west > 180:
        return shape
    turned = shapely.transform(
        shape, lambda xy: np.column_stack([xy[:, 0] + 360 * (xy[:, 0] < 0), xy[:, 1]])
    )
    turned = shapely.union_all(shapely.make_valid(turned))
    # A footprint from -180 to 180 says nothing about longitudes.
    return turned if turned.area or not shape.area else shape


def wrap(shape: shapely.Geometry) -> shapely.Geometry:
    """Return ``shape`` with longitudes from -180 to 180. Parts beyond are cut off and moved."""
    west, _, east, _ = shapely.bounds(shape)
    if west >= -180 and east <= 180:
        return shape
    world = shapely.box(-180, -90, 180, 90)
    return shapely.union_all([translate(shape, turn) & world for turn in (-360, 0, 360)])


def bounding_box(shape: shapely.Geometry) -> Degrees:
    """Return the narrowest box around ``shape``, with longitudes from -180 to 180."""
    pieces = shapely.bounds(shapely.get_parts(shape))
    pieces = pieces[np.argsort(pieces[:, 0])]
    south, north = pieces[:, 1].min(), pieces[:, 3].max()
    # The box leaves out the widest gap between the parts west of a meridian and the next part.
    reached = np.maximum.accumulate(pieces[:, 2])
    starts = np.append(pieces[1:, 0], pieces[0, 0] + 360)
    widest = int(np.argmax(starts - reached))
    west, east = starts[widest], reached[widest]
    if widest == len(pieces) - 1:
        west -= 360
    return float(west), float(south), float(east), float(north)


def degrees_around(crs: Any, bounds: tuple[float, float, float, float]) -> Degrees:
    """Return W, S, E, N around left, bottom, right, top in units of ``crs``; E beyond 180 across the antimeridian."""
    from pyproj import Transformer  # only bounds in metres need it

    to_degrees = Transformer.from_crs(crs, 4326, always_xy=True)
    west, south, east, north = to_degrees.transform_bounds(*bounds)
    return west, south, east + 360 * (east < west), north
