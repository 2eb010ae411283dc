"""Pictures of a scene before and after sharpening."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from s2sharp_core import S2SharpError

from ..storage.files import write_bytes
from ..storage.location import Location
from .panels import Panel, orientation, pair

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Inches at _DPI: width, margin and gap of panels, height of a row's captions, of the title and of the foot.
_DPI, _WIDTH, _MARGIN, _GAP, _CAPTION, _HEAD, _FOOT = 100, 16.0, 0.32, 0.16, 0.38, 0.84, 0.3
_INK, _QUIET, _NODATA = "#1a1a1a", "#6b6b6b", "#e4e4e4"


def load_drawing() -> None:
    """Load what draws, before a picture is drawn."""
    import matplotlib.backends.backend_agg
    import matplotlib.figure
    import matplotlib.layout_engine
    import matplotlib.patheffects  # noqa: F401


def quicklook(
    path: Location,
    cube: Mapping[Any, Any],
    native: Mapping[str, np.ndarray],
    title: str,
    credit: str = "",
) -> None:
    """Draw a before/after picture, the PNG ``path``.

    The upper row shows three bands of 20 m as delivered and sharpened, the lower row one band of 60 m and the true
    colours of 10 m. Missing bands are left out. Before and after have one stretch, computed from the sharpened bands.

    ``cube``: one time step of a small crop (150 to 250 px a side) of :func:`s2sharp.open_cube`, at full resolution:
    reflectance with dims (y, x); or its arrays by name, with the coordinates ``y`` and ``x``. ``native``: band →
    reflectance as delivered, at its native 20 m or 60 m, over the same crop. ``title``: one line, for example the date
    and the method. ``credit``: one line at the foot, for data that require attribution.
    """
    rows = _rows(cube, native)
    if not any(rows):
        raise S2SharpError(
            "nothing-to-show", "The cube has no band to draw.", "Give a cube with bands."
        )
    aspect = 1.0 if len(rows) == 1 and len(rows[0]) == 3 else 1.65
    draw_sheet(path, rows, (len(cube["y"]), len(cube["x"])), title, credit, aspect)


def draw_sheet(
    path: Location,
    rows: Sequence[Sequence[Panel]],
    shape: tuple[int, int],
    title: str,
    credit: str = "",
    aspect: float = 1.0,
) -> None:
    """Draw rows of panels, all of ``shape`` (height, width) in pixels of 10 m, the first with a scale bar.

    ``path``: the PNG to write. ``aspect``: width over height of the panels; an image of another shape shows its
    middle.
    """
    height, width = shape
    figure, axes = _figure(rows, aspect)
    for panel in chain(*rows):
        _draw(axes[id(panel)], panel, (0, 10 * width, 0, 10 * height))
    left, top = _MARGIN / _WIDTH, 1 - _MARGIN / figure.get_figheight()
    figure.suptitle(title, x=left, y=top, ha="left", size=19, weight="bold", color=_INK)
    figure.supxlabel(credit or " ", x=left, ha="left", size=9, color=_QUIET)
    figure.draw_without_rendering()
    for panel in chain(*rows):
        _crop(axes[id(panel)])
    _scale_bar(axes[id(rows[0][0])])
    png = BytesIO()
    figure.savefig(png, format="png")
    write_bytes(path, png.getvalue())


def _rows(cube: Mapping[Any, Any], native: Mapping[str, np.ndarray]) -> list[list[Panel]]:
    """Return the rows of panels: the pair of 20 m bands, then the pair of a 60 m band and the true colours."""
    pairs = [both for gsd in (20, 60) if (both := pair(cube, native, gsd))]
    below = [panel for both in pairs[1:] for panel in both] + orientation(cube)
    if not pairs:
        return [below]
    # With one pair alone, everything fits into one row.
    return [pairs[0], below] if len(pairs) > 1 else [pairs[0] + below]


def _figure(rows: Sequence[Sequence[Panel]], aspect: float) -> tuple["Figure", dict[int, "Axes"]]:
    """Return a figure as high as its rows, and the axes of each panel by its ``id``."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    heights = [(_WIDTH - 2 * _MARGIN) / len(row) / aspect + _CAPTION for row in rows]
    size = _WIDTH, _HEAD + _FOOT + sum(heights)
    pad, x = _GAP / 2, (_MARGIN - _GAP / 2) / _WIDTH
    rect = (x, 0, 1 - 2 * x, 1 - _HEAD / size[1])
    layout = ConstrainedLayoutEngine(w_pad=pad, h_pad=pad, wspace=0, hspace=0, rect=rect)
    figure = Figure(size, dpi=_DPI, facecolor="white", layout=layout)
    FigureCanvasAgg(figure)
    # Each row has its own grid, since two panels lie above three.
    mosaic: Any = [[[list(map(id, row))]] for row in rows]
    return figure, figure.subplot_mosaic(mosaic, height_ratios=heights)


def _draw(axes: "Axes", panel: Panel, extent: tuple[float, float, float, float]) -> None:
    axes.imshow(panel.image, extent=extent, interpolation="nearest", aspect="auto")
    axes.set(xticks=[], yticks=[], facecolor=_NODATA)
    axes.spines[:].set_visible(False)
    axes.set_title(panel.caption, loc="left", size=11.5, color=_INK)
    axes.set_title(panel.bands, loc="right", size=10, color=_QUIET)


def _crop(axes: "Axes") -> None:
    """Crop the image to its middle so that it fills the axes with square pixels."""
    (_, width), (_, height) = axes.get_xlim(), axes.get_ylim()
    shape = axes.get_window_extent()
    w = min(width, height * shape.width / shape.height)
    h = min(height, width * shape.height / shape.width)
    axes.set_xlim((width - w) / 2, (width + w) / 2)
    axes.set_ylim((height - h) / 2, (height + h) / 2)


def _scale_bar(axes: "Axes") -> None:
    """Draw a bar of a round length, about a sixth of the panel, in its lower left corner."""
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
    """Return the largest of 1, 2, 5 × 10ⁿ that is at most ``metres``."""
    power = 10.0 ** np.floor(np.log10(metres))
    return float(max(n * power for n in (1, 2, 5) if n * power <= metres))
