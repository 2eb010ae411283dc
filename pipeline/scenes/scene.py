"""Scenes, made from items: files, covered cells, and the outline of their data."""

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pystac
import shapely

from s2sharp_core import S2SharpError
from s2sharp_core.bands import CELL, native_gsd
from s2sharp_core.lattice import Box, Lattice

from ..catalog.access import FREE, Access, keyed
from ..catalog.addresses import check_href, is_array, unsigned
from ..catalog.antimeridian import unwrap
from ..catalog.contradictions import check_alike, check_names
from ..catalog.faults import faulty
from ..catalog.metadata import (
    baseline,
    bounds,
    cloud_cover,
    level,
    platform,
    processed,
    sensed,
    tile,
)
from ..catalog.sources import Source, grids, sources

if TYPE_CHECKING:
    from pyproj import Transformer

MARGIN = 100
"""Cells by which a footprint may reach farther than stated, because archives draw footprints coarsely."""

NOISE = 1e-3
"""Metres by which a corner may differ from its cell's, as :meth:`Lattice.box` allows for edges."""

FARTHEST = 2e7
"""Largest distance in metres from the origin of a zone."""

MAX_SIDE = 1_000_000
"""Largest number of pixels along a side; a tile has 10 980."""

Corner = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Scene:
    """The needed facts of one item: its files, its place, its identity.

    ``href`` is the item's own address, for links. ``cloud`` is in per cent, None if unknown. ``processed`` is when
    ESA made the product, and ``level`` is "L1C" or "L2A", if stated. ``footprint``: (row, column) of the corners of
    the convex outline of its data, in cells; None if the data fills ``box`` or the outline is unknown. ``number``:
    its value in the layer ``source`` of its acquisition, from 1.
    """

    id: str
    tile: str
    datetime: str
    platform: str | None
    baseline: tuple[int, int] | None
    processed: str | None
    cloud: float | None
    box: Box
    footprint: tuple[Corner, ...] | None
    sources: tuple[Source, ...]
    scl: Source | None
    href: str | None
    number: int = 0
    level: str | None = None

    @property
    def digest(self) -> str:
        """Return the digest of all that determines its pixels: identity, version and radiometry, not the address."""
        files = [(s.band, s.scale, s.offset) for s in self.sources]
        facts = [self.id, self.baseline, self.processed, files]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    @property
    def outline(self) -> shapely.Polygon:
        """Return the outline of its data, with columns as x and rows as y."""
        if self.footprint is not None:
            return shapely.Polygon([(col, row) for row, col in self.footprint])
        return shapely.box(self.box.col0, self.box.row0, self.box.col1, self.box.row1)

    def sees(self, edges: np.ndarray) -> np.ndarray:
        """Return whether boxes, as :func:`edges_of` gives them, are within :data:`MARGIN` cells of data: bool (n,)."""
        row0, row1, col0, col1 = edges.T
        own = self.box
        seen = np.maximum(row0, own.row0) < np.minimum(row1, own.row1)
        seen &= np.maximum(col0, own.col0) < np.minimum(col1, own.col1)
        if self.footprint is not None and seen.any():
            least, most = (col0 - MARGIN, row0 - MARGIN), (col1 + MARGIN, row1 + MARGIN)
            around = shapely.box(*(edge[seen] for edge in (*least, *most)))
            seen[seen] = shapely.intersects(self.outline, around)
        return seen


def edges_of(boxes: Sequence[Box]) -> np.ndarray:
    """Return (n, 4) of row0, row1, col0, col1."""
    return np.array([(box.row0, box.row1, box.col0, box.col1) for box in boxes])


@dataclass(frozen=True)
class Refusal:
    """An item that is left out, and the reason; ``kind`` as in :class:`S2SharpError`."""

    item: str
    kind: str
    message: str


def scene_of(
    item: pystac.Item, code: int, bands: Sequence[str], catalog: str, access: Access = FREE
) -> Scene:
    """Return the scene of an item in EPSG ``code``; other parameters as in :func:`~s2sharp.scenes.acquisition.group`.

    Error: the reason why the item is refused.
    """
    home = unsigned(item.get_self_href() or "") or None
    found = {}
    for band, source in sources(item, (*bands, "SCL")).items():
        check_href(source.href, catalog, private=access.private)
        found[band] = keyed(source, home, catalog, access)
        if found[band].sign == "item" and home is not None:
            # It will be requested again.
            check_href(home, catalog, private=access.private)
    check_names(item, found.values())
    scl = found.pop("SCL", None)
    check_alike(item.id, found.values())
    cloud = cloud_cover(item)
    box = _box(item, code, found.values(), home)
    return Scene(
        id=item.id,
        tile=tile(item),
        datetime=sensed(item).strftime("%Y-%m-%dT%H:%M:%S"),
        platform=platform(item),
        baseline=baseline(item),
        processed=processed(item),
        cloud=None if math.isnan(cloud) else cloud,
        box=box,
        footprint=_footprint(item, code, box),
        sources=tuple(found.values()),
        scl=scl,
        href=home,
        level=level(item),
    )


def _footprint(item: pystac.Item, code: int, box: Box) -> tuple[Corner, ...] | None:
    try:
        shape = unwrap(shapely.geometry.shape(item.geometry))
        west, _, east, _ = shapely.bounds(shape)
    except Exception:  # shapely, GEOS and malformed JSON raise various errors
        return None
    # Archives cut footprints at the antimeridian, so this may be only a half.
    if not (west > -179.99 and east < 179.99):
        return None
    lattice = Lattice.of(code)
    outline = shapely.get_coordinates(shapely.convex_hull(shape))
    x, y = _to_grid(code).transform(*outline.T)
    cells = np.column_stack([(x - lattice.x0) / CELL, (lattice.y0 - y) / CELL])
    if len(cells) < 4 or not np.isfinite(cells).all():
        return None
    whole = shapely.box(box.col0, box.row0, box.col1, box.row1)
    data = shapely.Polygon(cells)
    if data.covers(whole):
        return None
    data &= whole
    # A footprint away from the grid, or almost as large, adds nothing.
    if data.geom_type != "Polygon" or data.area > 0.99 * whole.area or not data.area > 0:
        return None
    corners = np.rint(shapely.get_coordinates(data.convex_hull)[:-1]).astype(int)
    return tuple((int(row), int(col)) for col, row in corners)


@lru_cache(maxsize=128)
def _to_grid(code: int) -> "Transformer":
    from pyproj import Transformer  # frozen scenes need no projection

    return Transformer.from_crs(4326, code, always_xy=True)


def _box(item: pystac.Item, code: int, files: Iterable[Source], home: str | None) -> Box:
    """Return the cells of an item, from the transform and shape of every band that is read; they must agree."""
    lattice = Lattice.of(code)
    stated = grids(item)
    boxes: dict[tuple[float, ...], Box] = {}
    # The item states the place of arrays in a Zarr; the file is compared with it when it is read.
    files = list(files)
    told = [f for f in files if f.href in stated or not is_array(f.href)]
    if not told and (place := bounds(item)) is not None:
        return lattice.box(place, f"Item {item.id}, by its proj:bbox,")
    for source in told or files:
        what = f"Item {item.id}, band {source.band},"
        if source.href in stated:
            transform, shape = _checked(item.id, source.band, *stated[source.href])
        else:
            from .raster import header  # frozen items need no GDAL

            transform, shape = header(source, item.id, home)
        (a, b, left, d, e, top), (height, width) = transform, shape
        gsd = native_gsd(source.band)
        # Offset of the farthest corner; tools that compute the pixel size leave noise in its last digits.
        off = max(abs(a - gsd), abs(b), abs(d), abs(e + gsd)) * max(height, width)
        if not off <= NOISE:
            raise S2SharpError(
                "off-lattice",
                f"{what} has pixels of {a} × {e} m and shears of {b} and {d}, not {gsd} m north up.",
                "Use the product as ESA grids it, not a reprojected copy.",
            )
        edges = (left, top - gsd * height, left + gsd * width, top)
        if not all(abs(edge) <= FARTHEST for edge in edges):
            text = f"{what} lies within (left, bottom, right, top) {edges}, outside every UTM zone."
            raise faulty("off-lattice", item.id, text, source.band)
        if edges not in boxes:
            boxes[edges] = lattice.box(edges, what)
        if len(set(boxes.values())) > 1:
            text = (
                f"The bands of item {item.id} cover different cells: {source.band} lies within (left, bottom, right, "
                f"top) {edges}, others within {next(iter(boxes))}."
            )
            raise faulty("off-lattice", item.id, text, source.band)
    return next(iter(boxes.values()))


def _checked(
    item: str, band: str, transform: Any, shape: Any
) -> tuple[tuple[float, ...], tuple[int, int]]:
    """Validate a grid that an item states; it may be any JSON."""
    try:
        numbers = tuple(float(v) for v in transform[:6])
        height, width = (int(v) for v in shape)
    except (OverflowError, TypeError, ValueError):
        numbers, height, width = (math.nan,), 0, 0
    if (
        not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE)
        or len(numbers) < 6
        or not all(map(math.isfinite, numbers))
    ):
        text = (
            f"Item {item}, band {band}, proj:transform {transform!r} and proj:shape {shape!r} should be six numbers and "
            f"two, height and width, up to {MAX_SIDE}."
        )
        raise faulty("item-broken", item, text, band)
    return numbers, (height, width)
