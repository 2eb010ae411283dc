"""The requested area in degrees, and in the metres of each grid."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import shapely
from shapely.affinity import translate

from s2sharp_core import S2SharpError
from s2sharp_core.lattice import Box, Lattice

from ..catalog.antimeridian import bounding_box, wrap
from ..catalog.extent import Degrees

AREA = "area.geojson"
"""File of the requested area in the run's folder, because the folder is all that a later `status` can read."""

_EASTINGS = (99_960.0, 909_780.0)
"""Range of eastings of the tiles in every zone: MGRS has squares from 100 km to 900 km, and tiles are wider."""


@dataclass(frozen=True)
class Area:
    """The area that was asked for.

    ``lonlat``: it in degrees, cut at the antimeridian; ``is_box``: whether its edges were given, and not its shape.
    """

    lonlat: shapely.Geometry
    is_box: bool = True

    @classmethod
    def of(cls, bbox: Degrees | None, file: Path | None = None) -> "Area":
        """Return the area of a box, or of a file's polygons if there is one (``bad-config`` if it cannot be read)."""
        if file is not None:
            return cls(_geojson(file), is_box=False)
        return cls(_box(*cast(Degrees, bbox)))

    @property
    def digest(self) -> str:
        return hashlib.sha256(shapely.to_wkb(self.lonlat.normalize())).hexdigest()

    def shape(self, epsg: int) -> shapely.Geometry:
        """Return the area in metres of ``epsg``, as far as that code's tiles reach; perhaps empty.

        Edges are densified before they bend.
        """
        from pyproj import Transformer  # a plan that is read needs no projection

        # Far from a zone's meridian, its projection has no meaning.
        meridian = epsg % 100 * 6 - 183
        near = shapely.box(meridian - 12, -84, meridian + 12, 84)
        turned = [translate(self.lonlat, turn) & near for turn in (-360, 0, 360)]
        to_grid = Transformer.from_crs(4326, epsg, always_xy=True)
        shape = shapely.transform(
            shapely.segmentize(shapely.union_all(turned), 0.05),
            lambda xy: np.column_stack(to_grid.transform(*xy.T)),
        )
        west, east = _EASTINGS
        shape &= shapely.box(west, -1e8, east, 1e8)
        # A box in degrees becomes the whole rectangle around it in metres: a picture without ragged edges.
        return shapely.box(*shapely.bounds(shape)) if self.is_box and not shape.is_empty else shape

    def cells(self, epsg: int) -> Box:
        """Return the cells of ``epsg`` around the area, which must reach its tiles."""
        return Lattice.of(epsg).around(tuple(shapely.bounds(self.shape(epsg))))

    @property
    def reach(self) -> Degrees:
        """Degrees around all cells that may be written: more than was asked for, since grids are turned."""
        found = [self.lonlat]
        for code in range(32601, 32661):
            shape = self.shape(code)
            if shape.is_empty:
                continue
            # One more: the southern code's cells lie a little lower.
            cells = Lattice.of(code).around(tuple(shapely.bounds(shape))).grow(1)
            found.append(in_degrees(code, cells))
        return bounding_box(shapely.union_all(found))


def in_degrees(epsg: int, cells: Box) -> shapely.Geometry:
    """Return the box in degrees around cells, cut at the antimeridian."""
    from pyproj import Transformer

    to_degrees = Transformer.from_crs(epsg, 4326, always_xy=True)
    return _box(*to_degrees.transform_bounds(*Lattice.of(epsg).bounds(cells)))


def _box(west: float, south: float, east: float, north: float) -> shapely.Geometry:
    return wrap(shapely.box(west, south, east + 360 * (east < west), north))


def _geojson(file: Path) -> shapely.Geometry:
    try:
        content = file.read_bytes()
        # Windows writes UTF-16 or a byte order mark, and old programs names in other encodings.
        text = content.decode(json.detect_encoding(content), "replace")
        parts = [_part(geometry) for geometry in _geometries(json.loads(text))]
        shape = shapely.union_all([part for part in parts if part.area])
    except (OSError, ValueError, RecursionError, shapely.errors.ShapelyError) as error:
        raise S2SharpError(
            "bad-config",
            f"Cannot read the area {file}: {_why(error)}.",
            "It must be GeoJSON in lon/lat.",
        ) from error
    west, south, east, north = shapely.bounds(shape)
    wide = -360 <= west < east <= 360 and east - west <= 360
    why = ""
    if shape.is_empty:
        kinds = sorted({part.geom_type for part in parts}) or ["nothing"]
        why = f"has no polygon; it has {', '.join(kinds)}"
    elif not (wide and -90 <= south < north <= 90):
        why = f"is no polygon in degrees; it spans {west}, {south}, {east}, {north}"
    if why:
        remedy = "Give polygons in longitude and latitude (RFC 7946)."
        raise S2SharpError("bad-config", f"The area {file} {why}.", remedy)
    return wrap(shape)


def _geometries(content: Any) -> Iterator[dict[str, Any]]:
    """Yield the geometries of a GeoJSON document; a feature may have none (RFC 7946, 3.2)."""
    if not isinstance(content, dict):
        raise ValueError("it is no GeoJSON object")
    kind = content.get("type")
    if kind in ("FeatureCollection", "GeometryCollection"):
        parts = content.get("features" if kind == "FeatureCollection" else "geometries") or []
        if not isinstance(parts, list):
            raise ValueError(f"its {kind} holds no list")
        for part in parts:
            yield from _geometries(part)
    elif kind == "Feature":
        if content.get("geometry") is not None:
            yield from _geometries(content["geometry"])
    else:
        yield content


def _part(geometry: dict[str, Any]) -> shapely.Geometry:
    """Return a geometry in two dimensions."""
    kind, given = geometry.get("type"), geometry.get("coordinates")
    try:
        if kind == "Polygon":
            geometry = {"type": kind, "coordinates": _rings(given)}
        elif kind == "MultiPolygon":
            geometry = {"type": kind, "coordinates": [_rings(rings) for rings in given]}  # type: ignore[union-attr]
    except (IndexError, OverflowError, TypeError):
        raise ValueError(f"a {kind} of it has no lists of positions") from None
    return shapely.make_valid(shapely.force_2d(shapely.from_geojson(json.dumps(geometry))))


def _rings(polygon: Any) -> list[Any]:
    """Return the rings of a polygon, closed, and with two numbers for each position, since writers of GeoJSON leave
    rings open and add heights.
    """
    rings = [[position[:2] for position in ring] for ring in polygon]
    closed = [ring if ring[:1] == ring[-1:] else [*ring, ring[0]] for ring in rings]
    for start, end in (edge for ring in closed for edge in pairwise(ring)):
        # Only a box around the globe has edges of 360 degrees. Others would leave out what was meant.
        if 180 < abs(start[0] - end[0]) < 360:
            raise ValueError(
                f"an edge of it leads from longitude {start[0]} to {end[0]}, more than half around the globe: cut the "
                "polygon at the antimeridian, or add points in between"
            )
    return closed


def _why(error: Exception) -> str:
    """Describe the fault in terms of GeoJSON, not of a library."""
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    if isinstance(error, json.JSONDecodeError | RecursionError | UnicodeDecodeError):
        return "it is no JSON"
    if isinstance(error, shapely.errors.ShapelyError):
        return "a geometry of it is none of GeoJSON's"
    return str(error)
