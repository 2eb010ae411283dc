"""A picture of what sharpening did, before and after, that a person would want to show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from s2sharp_core import BANDS, S2SharpError
from s2sharp_core.bands import BY_GSD, CELL, HIDING

from .place import Place, write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "Panel",
    "choose_spot",
    "draw_losses",
    "orientation",
    "pair",
    "quicklook",
    "trust",
]

# Pixels of the PNG. Panels of a row share its width; what is left below is what the rows need.
_WIDTH, _MARGIN, _GAP, _HEADER, _CAPTION, _FOOTER = 1600, 32, 16, 84, 34, 40
_DPI = 100
_INK, _QUIET, _NODATA = "#1a1a1a", "#6b6b6b", "#e4e4e4"

_NAMES = {
    "B01": "Coastal aerosol",
    "B05": "Red edge",
    "B06": "Red edge",
    "B07": "Red edge",
    "B8A": "Near infrared",
    "B09": "Water vapour",
    "B11": "Short-wave infrared",
    "B12": "Short-wave infrared",
}

# All three of one native resolution: a 10 m band in the composite would lend its detail to "after",
# and "before" would have to be something that the satellite did not deliver.
_COMPOSITES = (
    ("Short-wave infrared", ("B12", "B8A", "B05")),
    ("Short-wave infrared", ("B12", "B11", "B8A")),
    ("Short-wave infrared", ("B11", "B8A", "B05")),
    ("Red edge and near infrared", ("B8A", "B06", "B05")),
)


@dataclass(frozen=True)
class Panel:
    """An image (h, w, 4), float32 RGBA from 0 to 1, with its caption: what it shows, and from which bands."""

    caption: str
    bands: str
    image: np.ndarray


def quicklook(
    path: Place,
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


def pair(cube: xr.Dataset, native: Mapping[str, np.ndarray], gsd: int) -> list[Panel]:
    """The same bands as delivered and sharpened, or nothing without one that is in both."""
    have = [band for band in BY_GSD[gsd] if band in cube and band in native]
    if not have:
        return []
    # B01 before B09, which may show more of the air than of the ground; B12 before B05.
    single = have[0] if gsd == 60 else have[-1]
    name, bands = next(
        ((name, bands) for name, bands in _COMPOSITES if set(bands) <= set(have)),
        (_NAMES[single], (single,)),
    )
    after = [cube[band].values for band in bands]
    limits = [_limits(x) for x in after]
    label = " · ".join(bands)
    return [
        Panel(f"{name}, as delivered, {gsd} m", label, _image([native[b] for b in bands], limits)),
        Panel(f"{name}, sharpened, 10 m", label, _image(after, limits)),
    ]


def orientation(cube: xr.Dataset) -> list[Panel]:
    """True colours, else a single 10 m band, else nothing."""
    have = [band for band in ("B04", "B03", "B02") if band in cube]
    caption = "True colour, 10 m"
    if len(have) < 3:
        have = [band for band in ("B08", "B04", "B03", "B02") if band in cube][:1]
        caption = "Delivered at 10 m"
    if not have:
        return []
    arrays = [cube[band].values for band in have]
    image = _image(arrays, [_limits(x) for x in arrays])
    # Roofs and roads are few and bright: the exponent opens the dark end for the eye.
    image[..., :3] **= 0.75
    return [Panel(caption, " · ".join(have), image)]


_TRUST = {
    "residual": "Off what was seen, seen again",
    "detail": "Carried over from finer bands",
}


def trust(cube: xr.Dataset) -> list[Panel]:
    """The layers of ``--trust`` as far as the cube has them, from black, nothing, to white."""
    panels = []
    for layer, what in _TRUST.items():
        if layer not in cube:
            continue
        values = cube[layer].values.astype(np.float32)
        values[values == 0] = np.nan  # nothing was sharpened
        if not np.isfinite(values).any():
            continue
        top = max(1.0, float(np.nanpercentile(values, 98)))
        label = f"{layer}, 0 to {top:.0f} DN"
        panels.append(Panel(what, label, _image([values], [(0.0, top)])))
    return panels


def _limits(x: np.ndarray) -> tuple[float, float]:
    """2 % and 98 % of the pixels that have data."""
    if not np.isfinite(x).any():
        return 0.0, 1.0
    low, high = np.nanpercentile(x, (2, 98))
    return float(low), float(max(high, low + 1e-4))


def _image(arrays: Sequence[np.ndarray], limits: Sequence[tuple[float, float]]) -> np.ndarray:
    """float32 RGBA (h, w, 4): one band as grey, three as colours; transparent without data."""
    channels = [(x - low) / (high - low) for x, (low, high) in zip(arrays, limits, strict=True)]
    rgb = np.stack(channels * (3 // len(channels)), axis=-1)
    seen = np.isfinite(rgb).all(axis=-1, keepdims=True)
    rgba = np.concatenate([np.where(seen, rgb.clip(0, 1), 0), seen], axis=-1)
    return np.asarray(rgba, dtype=np.float32)


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


def _save(figure: "Figure", path: Place) -> None:
    png = BytesIO()
    figure.savefig(png, format="png", dpi=_DPI)
    write_bytes(path, png.getvalue())


Spot = tuple[slice, slice]
"""(y, x) in pixels of a cube."""


def choose_spot(
    cube: xr.Dataset,
    size: int = 180,
    overview: xr.Dataset | None = None,
    taken: Sequence[Spot] = (),
) -> Spot:
    """The place that shows most: the one with most detail where the ground is seen.

    Parameters
    ----------
    cube
        One time step of :func:`s2sharp.open_cube` at full resolution, from a cell's corner on, as it is
        without ``bbox``. Lazy; with ``overview`` only its coordinates are looked at.
    size
        Side of the place in pixels of 10 m.
    overview
        The same time step, opened with ``level=``: enough for a cube too large to be read for a picture.
    taken
        Places that were chosen before; they are left out where there is anything else.

    Returns
    -------
    tuple of slice
        (y, x) in pixels of ``cube``, multiples of 6, so that native bands of 20 m and 60 m can be cut
        to the same place. Smaller than ``size`` where the cube is.
    """
    seen = cube if overview is None else overview
    pixel = float(abs(seen.x[1] - seen.x[0]))
    factor = max(1, round(CELL / pixel))
    step = round(pixel * factor)
    detail, clear = _per_cell(seen, factor)
    for spot in taken:
        # An overview's first pixel may begin before the cube does, by less than one of its cells.
        place = tuple(slice(s.start * 10 // step, -(-s.stop * 10 // step) + 1) for s in spot)
        detail[place], clear[place] = 0, 0
    window = [min(round(size * 10 / step), n) for n in detail.shape]
    seen_part = _moving_sum(clear, window)
    # Where nothing is clear enough, the clearest places.
    enough = seen_part >= min(0.95 * np.prod(window), seen_part.max())
    score = np.where(enough, _moving_sum(detail, window) / np.maximum(seen_part, 1e-6), -1)
    corner = np.unravel_index(score.argmax(), score.shape)
    spots = []
    for axis, cell, onward in zip(("y", "x"), corner, (-1, 1), strict=True):
        # An overview's first pixel may begin before the cube does.
        offset = onward * float(seen[axis][0] - cube[axis][0]) - (pixel - 10) / 2
        start = round((offset + int(cell) * pixel * factor) / CELL) * 6
        side = min(size, cube.sizes[axis]) // 6 * 6
        start = max(0, min(start, (cube.sizes[axis] - side) // 6 * 6))
        spots.append(slice(start, start + side))
    return spots[0], spots[1]


def _per_cell(seen: xr.Dataset, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean gradient where the ground is seen, and the part that is seen, of each cell."""
    name = next((b for b in ("B04", "B08", "B03", "B02", *BANDS) if b in seen), None)
    if name is None:
        raise S2SharpError("nothing-to-show", "The cube has no band.", "Give a cube with bands.")
    slope = abs(seen[name].differentiate("x")) + abs(seen[name].differentiate("y"))
    clear = slope.notnull()
    if "valid" in seen:
        clear &= seen["valid"] == 1
    if "cloud" in seen:
        clear &= ~seen["cloud"].isin(HIDING)
    fields = xr.Dataset({"detail": slope.where(clear, 0), "clear": clear.astype("float32")})
    cells = fields.coarsen(y=factor, x=factor, boundary="trim").mean().compute()
    detail = cells["detail"].values
    # A few glaring edges (a cloud that no mask knows, a ship) must not outweigh a rich landscape.
    return np.minimum(detail, np.percentile(detail, 95)), cells["clear"].values


def _moving_sum(x: np.ndarray, window: Sequence[int]) -> np.ndarray:
    """Sums over all places of ``window`` (rows, columns)."""
    total = np.pad(x.astype(np.float64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    h, w = window
    return np.asarray(total[h:, w:] - total[:-h, w:] - total[h:, :-w] + total[:-h, :-w])


def draw_losses(weights: Path) -> Path | None:
    """The loss curve beside ``weights`` as a picture; None where matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        return None
    from matplotlib.figure import Figure

    steps, losses = np.loadtxt(
        weights.with_suffix(".loss.csv"), delimiter=",", skiprows=1, ndmin=2
    ).T
    figure = Figure(figsize=(6, 3.5), dpi=120, layout="constrained")
    axes = figure.subplots()
    axes.plot(steps, losses, color="#1b6ca8")
    axes.set(xlabel="step", ylabel="loss", title=weights.stem)
    axes.spines[["top", "right"]].set_visible(False)
    file = weights.with_suffix(".loss.png")
    figure.savefig(file)
    return file
