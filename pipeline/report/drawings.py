"""Drawings of the report as SVG paths: shards by their state, and pixels over time."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from ..cube.layout import Layout
from ..planning.units import Unit

STATES = {
    "failed": "failed",
    "left": "not done yet",
    "ok": "done",
    "cloudy": "all cloud",
    "empty": "no data",
}
"""States of a unit, the most important first, with their names for people."""

_ORDER = tuple(STATES)
# Gap around a shard, as a share of its side.
_GAP = 0.02


@dataclass(frozen=True)
class ShardMap:
    """Shards of one EPSG code: size in cells, class → path in drawing order, and the PNG behind them."""

    title: str
    width: int
    height: int
    paths: dict[str, str]
    picture: bytes | None


def shard_map(
    layout: Layout, found: Iterable[tuple[Unit, str]], title: str, picture: bytes | None = None
) -> ShardMap:
    """Draw the requested shards of one EPSG code, north up; a shard of several units shows the most important state.

    ``picture``: PNG of the requested area, for the background.
    """
    worst: dict[tuple[int, int], str] = {}
    for unit, state in found:
        place = unit.row, unit.col
        worst[place] = min(worst.get(place, state), state, key=_ORDER.index)
    gap, area = layout.shard * _GAP, layout.area
    shapes: defaultdict[str, str] = defaultdict(str)
    for (row, col), state in sorted(worst.items()):
        rows, cols = area.slices(layout.cells(row, col) & area, 60)
        x, y = cols.start + gap, rows.start + gap
        w, h = cols.stop - cols.start - 2 * gap, rows.stop - rows.start - 2 * gap
        shapes[state] += f"M{x:g} {y:g}h{w:g}v{h:g}h{-w:g}z"
        if state == "failed":  # colour alone does not mark it
            n = min(w, h) / 3
            x, y = x + (w - n) / 2, y + (h - n) / 2
            shapes["mark"] += f"M{x:g} {y:g}l{n:g} {n:g}m0 {-n:g}l{-n:g} {n:g}"
    paths = {kind: shapes[kind] for kind in (*reversed(_ORDER), "mark") if kind in shapes}
    return ShardMap(title, area.shape[1], area.shape[0], paths, picture)


@dataclass(frozen=True)
class Curve:
    """Pixels over time: the points of a line in 600 × 120, and the range of each axis."""

    line: str
    top: str
    end: str


def progress_curve(points: Iterable[tuple[float, int]]) -> Curve | None:
    """Return megapixels over the duration of a run, or None if there is too little to draw."""
    points = list(points)
    most = max((pixels for _, pixels in points), default=0)
    last = max((at for at, _ in points), default=0.0)
    if len(points) < 3 or not most or not last:
        return None
    step = -(-len(points) // 300)
    kept = [*points[::step], points[-1]]
    line = " ".join(f"{600 * at / last:.1f},{120 - 110 * pixels / most:.1f}" for at, pixels in kept)
    end = f"{last / 60:.0f} min" if last >= 120 else f"{last:.0f} s"
    return Curve(line, f"{most / 1e6:.3g} Mpx", end)
