"""Small cubes whose pixels are known functions of the ground: several dates, codes, clouds and gaps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pyproj import Transformer
from s2sharp.cube.create import finish, lay_out
from s2sharp.cube.layout import FILL, LAYERS, Layout
from s2sharp.cube.overviews import overview
from s2sharp.cube.write import write_shard

from s2sharp_core.lattice import Box, Lattice

BANDS = ("B02", "B05", "B11")

Field = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(longitude, latitude) → values of the same shape."""


@dataclass(frozen=True)
class Shot:
    """One acquisition: DN at a place are ``gain`` × land + ``bias``; layers by place, too.

    ``cloud``: scene classification, ``missing``: where there is no data.
    """

    when: str
    gain: float = 1.0
    bias: float = 0.0
    cloud: Field | None = None
    missing: Field | None = None
    codes: tuple[int, ...] = field(default=())


def land(lon: np.ndarray, lat: np.ndarray, band: str) -> np.ndarray:
    """A smooth country in DN, the same whoever looks: waves of 100 m to 1 km, others in each band."""
    k = BANDS.index(band) + 1
    return (
        2500.0
        + 700 * np.sin(lon * 2_000 + k) * np.cos(lat * 1_500 - k)
        + 300 * np.sin(lon * 3_000 * (1 + 0.1 * k) + lat * 4_000)
        + 400 * np.sin((lon - lat) * 700 * k)
    )


def lonlat(epsg: int, box: Box) -> tuple[np.ndarray, np.ndarray]:
    x, y = Lattice.of(epsg).coords(box, 10)
    to_degrees = Transformer.from_crs(epsg, 4326, always_xy=True)
    lon, lat = to_degrees.transform(*np.meshgrid(x, y))
    return lon, lat


def make_cube(
    out: Path,
    areas: dict[int, Box],
    shots: Sequence[Shot],
    *,
    shard: int = 64,
    chunk: int = 192,
    bands: Sequence[str] = BANDS,
    seen: Callable[[np.ndarray, np.ndarray, str], np.ndarray] = land,
) -> Path:
    """Write ``out/cube.zarr`` with overviews, complete."""
    layouts, facts = [], {}
    own = {e: [s for s in shots if not s.codes or e in s.codes] for e in areas}
    for epsg, area in areas.items():
        times = tuple(s.when for s in own[epsg])
        layouts.append(Layout(epsg, area, shard, chunk, times, tuple(bands)))
        facts[str(epsg)] = {
            "software": "s2sharp 0.1.0",
            "acquisitions": [{"id": name(s, epsg), "datetime": s.when} for s in own[epsg]],
        }
    store = out / "cube.zarr"
    lay_out(store, layouts, facts)
    for layout in layouts:
        for time, shot in enumerate(own[layout.epsg]):
            for row, col in np.ndindex(layout.shards()):
                data = _shard(layout, shot, row, col, seen)
                write_shard(store, layout, time, row, col, data)
            for level in range(1, layout.levels + 1):
                for row, col in np.ndindex(layout.shards(level)):
                    coarse = overview(store, layout, time, row, col, level)
                    write_shard(store, layout, time, row, col, coarse, level)
    finish(store, "complete")
    return out


def name(shot: Shot, epsg: int) -> str:
    return f"S2A_{shot.when.replace('-', '').replace(':', '')}_{epsg}"


def _shard(layout: Layout, shot: Shot, row: int, col: int, seen: Callable) -> dict[str, np.ndarray]:
    cells = layout.cells(row, col)
    lon, lat = lonlat(layout.epsg, cells)
    there = np.zeros(lon.shape, dtype=bool)
    inner = cells & layout.area
    if not inner.empty:
        there[cells.slices(inner, 10)] = True
    if shot.missing is not None:
        there &= ~shot.missing(lon, lat).astype(bool)
    data = {name: np.zeros(lon.shape, kind) for name, (kind, _, _) in LAYERS.items()}
    data["valid"] = there.astype(np.uint8)
    if shot.cloud is not None:
        data["cloud"] = np.where(there, shot.cloud(lon, lat), 0).astype(np.uint8)
    for band in layout.bands:
        dn = np.rint(shot.gain * seen(lon, lat, band) + shot.bias)
        data[band] = np.where(there, dn, FILL).astype(np.int16)
    return data
