"""A picture of what sharpening did, before and after, that a person would want to show."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from s2sharp_core import S2SharpError

from ..storage.files import write_bytes
from ..storage.location import Location
from .panels import Panel, orientation, pair

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["quicklook"]

# Pixels of the PNG. Panels of a row share its width; what is left below is what the rows need.
_WIDTH, _MARGIN, _GAP, _HEADER, _CAPTION, _FOOTER = 1600, 32, 16, 84, 34, 40
_DPI = 100
_INK, _QUIET, _NODATA = "#1a1a1a", "#6b6b6b", "#e4e4e4"


def quicklook(
    path: Location,
    cube: xr.Dataset,
    native: Mapping[str, np.ndarray],
    title: str,
    credit: str = "",
) -> None:
    """Draw a before/after picture.

    Above, three bands of 20 m as delivered and sharpened; below, one band of 60 m and the true colours
    of 10 m for orientation. What the cube lacks is left out. One stretch per channel, 2 % to 98 % of
    the sharpened band, serves before and after.

    Parameters
    ----------
    path
        The PNG to write.
    cube
        One time step of a small crop (150 to 250 px a side) of :func:`s2sharp.open_cube`, at full
        resolution: reflectance with dims (y, x).
    native
        Band → reflectance as the satellite delivered it, at its own 20 m or 60 m, over the same crop.
    title
        One line, for example the date and the method.
    credit
        One line at the foot, for data that ask for it.
    """
    height, width = cube.sizes["y"], cube.sizes["x"]
    rows = _rows(cube, native)
    if not any(rows):
        raise S2SharpError(
            "nothing-to-show", "The cube has no band to draw.", "Give a cube with bands."
        )
    aspect = 1.0 if len(rows) == 1 and len(rows[0]) == 3 else 1.65
    figure, places = _figure(rows, aspect)
    for panel, (x, y, w, h) in places:
        axes = _axes(figure, x, y, w, h)
        axes.imshow(panel.image, extent=(0, width * 10, 0, height * 10), interpolation="nearest")
        _window(axes, width * 10, height * 10, w / h)
        _text(figure, x, y - 9, panel.caption, size=11.5)
        _text(figure, x + w, y - 9, panel.bands, size=10, color=_QUIET, ha="right")
    _scale_bar(figure.axes[0])
    _text(figure, _MARGIN, 50, title, size=19, weight="bold")
    if credit:
        _text(figure, _MARGIN, _height(figure) - 14, credit, size=9, color=_QUIET)
    _save(figure, path)


def _rows(cube: xr.Dataset, native: Mapping[str, np.ndarray]) -> list[list[Panel]]:
    """What to draw: the pair of the 20 m bands, then the pair of a 60 m band and the true colours."""
    pairs = [both for gsd in (20, 60) if (both := pair(cube, native, gsd))]
    below = [panel for both in pairs[1:] for panel in both] + orientation(cube)
    if not pairs:
        return [below]
    # With one pair alone, everything fits into one row.
    return [pairs[0], below] if len(pairs) > 1 else [pairs[0] + below]


_Place = tuple[Panel, tuple[float, float, float, float]]


def _figure(rows: Sequence[Sequence[Panel]], aspect: float) -> tuple["Figure", list[_Place]]:
    """A figure as high as its rows need, and the place (x, y, w, h) of each panel in its pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    places: list[_Place] = []
    y = float(_HEADER)
    for row in rows:
        w = (_WIDTH - 2 * _MARGIN - _GAP * (len(row) - 1)) / len(row)
        y += _CAPTION
        places += [(p, (_MARGIN + i * (w + _GAP), y, w, w / aspect)) for i, p in enumerate(row)]
        y += w / aspect + _GAP
    size = (_WIDTH / _DPI, round(y + _FOOTER - _GAP) / _DPI)
    figure = Figure(figsize=size, dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure, places


def _height(figure: "Figure") -> float:
    return float(figure.get_figheight() * _DPI)


def _axes(figure: "Figure", x: float, y: float, w: float, h: float) -> "Axes":
    height = _height(figure)
    axes = figure.add_axes((x / _WIDTH, 1 - (y + h) / height, w / _WIDTH, h / height))
    axes.set(xticks=[], yticks=[], facecolor=_NODATA)
    axes.spines[:].set_visible(False)
    return axes


def _window(axes: "Axes", width: float, height: float, aspect: float) -> None:
    """Show the middle of a crop of width × height metres, as much of it as the panel's shape allows."""
    w, h = min(width, height * aspect), min(height, width / aspect)
    axes.set_xlim((width - w) / 2, (width + w) / 2)
    axes.set_ylim((height - h) / 2, (height + h) / 2)
    axes.set_aspect("auto")


def _text(figure: "Figure", x: float, y: float, text: str, size: float, **style: Any) -> None:
    figure.text(
        x / _WIDTH,
        1 - y / _height(figure),
        text,
        size=size,
        **{"color": _INK, "va": "baseline", **style},
    )


def _scale_bar(axes: "Axes") -> None:
    """A bar of a round length, about a sixth of the panel, in its lower left corner."""
    from matplotlib.patheffects import withStroke

    (x0, x1), (y0, y1) = axes.get_xlim(), axes.get_ylim()
    length = _round_length((x1 - x0) / 6)
    x, y = x0 + (x1 - x0) * 0.03, y0 + (y1 - y0) * 0.05
    rim = [withStroke(linewidth=5, foreground="#000000a0")]
    axes.plot([x, x + length], [y, y], color="white", lw=3, path_effects=rim)
    label = f"{length:.0f} m" if length < 1000 else f"{length / 1000:.0f} km"
    rim = [withStroke(linewidth=2.5, foreground="#000000a0")]
    at = (x + length / 2, y + (y1 - y0) * 0.02)
    axes.text(*at, label, color="white", size=11, ha="center", va="bottom", path_effects=rim)


def _round_length(metres: float) -> float:
    """The largest of 1, 2, 5 × 10ⁿ that is not longer."""
    power = 10.0 ** np.floor(np.log10(metres))
    return float(max(n * power for n in (1, 2, 5) if n * power <= metres))


def _save(figure: "Figure", path: Location) -> None:
    png = BytesIO()
    figure.savefig(png, format="png", dpi=_DPI)
    write_bytes(path, png.getvalue())
