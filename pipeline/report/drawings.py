"""Drawings of the report, as SVG: shards by what became of them, and pixels over time."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from html import escape

from ..cube.layout import Layout
from ..planning.units import Unit
from ..ui.html import data_uri

__all__ = ["STATES", "legend", "progress_curve", "shard_map"]

STATES = {
    "failed": "failed",
    "left": "not done yet",
    "ok": "done",
    "cloudy": "all cloud",
    "empty": "no data",
}
"""What a unit may be, the one that matters most first, and how people call it."""

_ORDER = tuple(STATES)
# Of a shard's side: the gap around it.
_GAP = 0.02


def shard_map(
    layout: Layout, found: Iterable[tuple[Unit, str]], title: str, picture: bytes | None = None
) -> str:
    """The shards of one EPSG code as far as they were asked for, north up; of several units on one, what matters most.

    Parameters
    ----------
    picture
        PNG of the area that was asked for, to lie behind.
    """
    worst: dict[tuple[int, int], str] = {}
    for unit, state in found:
        place = unit.row, unit.col
        worst[place] = min(worst.get(place, state), state, key=_ORDER.index)
    gap, area = layout.shard * _GAP, layout.area
    shapes: defaultdict[str, list[str]] = defaultdict(list)
    for (row, col), state in sorted(worst.items()):
        rows, cols = area.slices(layout.cells(row, col) & area, 60)
        x, y = cols.start + gap, rows.start + gap
        w, h = cols.stop - cols.start - 2 * gap, rows.stop - rows.start - 2 * gap
        shapes[state].append(f"M{x:g} {y:g}h{w:g}v{h:g}h{-w:g}z")
        if state == "failed":  # not by colour alone
            n = min(w, h) / 3
            x, y = x + (w - n) / 2, y + (h - n) / 2
            shapes["mark"].append(f"M{x:g} {y:g}l{n:g} {n:g}m0 {-n:g}l{-n:g} {n:g}")
    height, width = area.shape
    size = f'width="{width}" height="{height}"'
    back = f'<rect class="area" {size}/>'
    if picture:
        back += f'<image {size} preserveAspectRatio="none" href="{data_uri(picture)}"/>'
    drawn = "".join(
        f'<path class="{state}" d="{"".join(shapes[state])}"/>'
        for state in (*reversed(_ORDER), "mark")
        if shapes[state]
    )
    kind = "map over" if picture else "map"
    return (
        f'<svg class="{kind}" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{back}{drawn}</svg>"
    )


def legend(counts: Mapping[str, int]) -> str:
    """The colours that a map has, with how many units have them."""
    items = "".join(
        f'<li><svg viewBox="0 0 20 20" class="map" aria-hidden="true"><path class="{state}" d="M1 1h18v18h-18z"/>'
        + ('<path class="mark" d="M6 6l8 8m0-8l-8 8"/>' if state == "failed" else "")
        + f"</svg>{name} <b>{counts[state]}</b></li>"
        for state, name in STATES.items()
        if counts.get(state)
    )
    return f'<ul class="legend">{items}</ul>'


def progress_curve(curve: Iterable[tuple[float, int]]) -> str:
    """Megapixels over the time that a run took."""
    points = list(curve)
    most, last = max(pixels for _, pixels in points), max(at for at, _ in points)
    if not most or not last:
        return ""
    step = -(-len(points) // 300)
    kept = [*points[::step], points[-1]]
    line = " ".join(f"{600 * at / last:.1f},{120 - 110 * pixels / most:.1f}" for at, pixels in kept)
    end = f"{last / 60:.0f} min" if last >= 120 else f"{last:.0f} s"
    name = f"{most / 1e6:.3g} Mpx in {end}"
    return (
        f'<svg class="curve" viewBox="0 0 600 140" role="img" aria-label="{name}"><title>{name}</title>'
        f'<polygon points="0,120 {line} 600,120"/><polyline points="{line}"/>'
        f'<text x="0" y="136">first record</text><text x="600" y="136" text-anchor="end">{end}</text>'
        f'<text x="0" y="22">{most / 1e6:.3g} Mpx</text></svg>'
    )
