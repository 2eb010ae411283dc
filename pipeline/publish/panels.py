"""Panels of a picture: composites of bands with one stretch, and the choice of a spot with much detail."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from s2sharp_core import BANDS, S2SharpError
from s2sharp_core.bands import BY_GSD, CELL, HIDING

from .stretch import TRUE_COLOUR, limits_of, tones

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
# All three bands of a composite have one native resolution: a 10 m band would add its detail to "after", and "before"
# would have to be resampled.
_COMPOSITES = (
    ("Short-wave infrared", ("B12", "B8A", "B05")),
    ("Short-wave infrared", ("B12", "B11", "B8A")),
    ("Short-wave infrared", ("B11", "B8A", "B05")),
    ("Red edge and near infrared", ("B8A", "B06", "B05")),
)


Arrays = Mapping[Any, Any]
"""Bands, layers and the coordinates y and x by name: an ``xarray.Dataset``, or plain arrays (y, x)."""


@dataclass(frozen=True)
class Panel:
    """An image (h, w, 4), float32 RGBA from 0 to 1, with its caption and the names of its bands."""

    caption: str
    bands: str
    image: np.ndarray


def pair(cube: Arrays, native: Mapping[str, np.ndarray], gsd: int) -> list[Panel]:
    """Return panels of the same bands as delivered and sharpened; none if no band is in both."""
    have = [band for band in BY_GSD[gsd] if band in cube and band in native]
    if not have:
        return []
    # B01 has priority over B09, which may show more of the air than of the ground; B12 over B05.
    single = have[0] if gsd == 60 else have[-1]
    name, bands = next(
        ((name, bands) for name, bands in _COMPOSITES if set(bands) <= set(have)),
        (_NAMES[single], (single,)),
    )
    after = [np.asarray(cube[band]) for band in bands]
    limits = limits_of(bands, after)
    label = " · ".join(bands)
    before = tones(bands, [native[band] for band in bands], limits)
    return [
        Panel(f"{name}, as delivered, {gsd} m", label, _image(before)),
        Panel(f"{name}, sharpened, 10 m", label, _image(tones(bands, after, limits))),
    ]


def orientation(cube: Arrays) -> list[Panel]:
    """Return a panel of true colours, or of a single 10 m band; none without such bands."""
    have = [band for band in TRUE_COLOUR if band in cube]
    caption = "True colour, 10 m"
    if len(have) < 3:
        have = [band for band in ("B08", "B04", "B03", "B02") if band in cube][:1]
        caption = "Delivered at 10 m"
    if not have:
        return []
    arrays = [np.asarray(cube[band]) for band in have]
    shown = tones(have, arrays, limits_of(have, arrays))
    return [Panel(caption, " · ".join(have), _image(shown))]


_TRUST = {"residual": "Off what was seen, seen again", "detail": "Carried over from finer bands"}


def trust(cube: Arrays) -> list[Panel]:
    """Return panels of the layers of ``--trust`` that the cube has; black is 0."""
    panels = []
    for layer, what in _TRUST.items():
        if layer not in cube:
            continue
        values = np.asarray(cube[layer]).astype(np.float32)
        values[values == 0] = np.nan  # no band was sharpened
        if not np.isfinite(values).any():
            continue
        top = max(1.0, float(np.nanpercentile(values, 98)))
        label = f"{layer}, 0 to {top:.0f} DN"
        panels.append(Panel(what, label, _image(tones([layer], [values], [(0.0, top)], 1.0))))
    return panels


def _image(shown: np.ndarray) -> np.ndarray:
    """Return float32 RGBA (h, w, 4) of one band as grey or three as colours; transparent without data."""
    rgb = np.moveaxis(np.broadcast_to(shown, (3, *shown.shape[1:])), 0, -1)
    seen = np.isfinite(rgb[..., :1])
    return np.concatenate([np.where(seen, rgb, 0), seen], axis=-1, dtype=np.float32)


_DETAILED = ("B04", "B08", "B03", "B02", *BANDS)


def bands_shown(names: Collection[str]) -> tuple[str, ...]:
    """Return the variables that :func:`choose_spot` reads of a cube with these bands and layers."""
    band = next((band for band in _DETAILED if band in names), None)
    return tuple(name for name in (band, "valid", "cloud") if name is not None and name in names)


Spot = tuple[slice, slice]
"""(y, x) in pixels of a cube."""


def choose_spot(
    cube: Arrays, size: int = 180, overview: Arrays | None = None, taken: Sequence[Spot] = ()
) -> Spot:
    """Return the spot with most detail where the ground is visible: (y, x) in pixels of ``cube``.

    They are multiples of 6, so that native bands of 20 m and 60 m can be cut to the same spot. ``cube``: one time step of
    :func:`s2sharp.open_cube` at full resolution, opened without ``bbox`` so that it begins at a cell's corner, or its
    arrays; with ``overview``, only its coordinates are read. ``size``: side of the spot in pixels of 10 m; it is smaller
    if the cube is. ``overview``: the same time step, opened with ``level=``, for a cube that is too large to be read.
    ``taken``: spots that were chosen before; they are avoided if possible.
    """
    seen = cube if overview is None else overview
    pixel = float(abs(seen["x"][1] - seen["x"][0]))
    factor = max(1, round(CELL / pixel))
    step = round(pixel * factor)
    detail, clear = _per_cell(seen, factor)
    for spot in taken:
        # An overview's first pixel may begin before the cube does, by less than one of its cells.
        place = tuple(slice(s.start * 10 // step, -(-s.stop * 10 // step) + 1) for s in spot)
        detail[place], clear[place] = 0, 0
    window = [min(round(size * 10 / step), n) for n in detail.shape]
    seen_part = _moving_sum(clear, window)
    # If no window is clear enough, the clearest ones are used.
    enough = seen_part >= min(0.95 * np.prod(window), seen_part.max())
    score = np.where(enough, _moving_sum(detail, window) / np.maximum(seen_part, 1e-6), -1)
    corner = np.unravel_index(score.argmax(), score.shape)
    spots = []
    for axis, cell, onward in zip(("y", "x"), corner, (-1, 1), strict=True):
        # An overview's first pixel may begin before the cube does.
        offset = onward * float(seen[axis][0] - cube[axis][0]) - (pixel - 10) / 2
        start = round((offset + int(cell) * pixel * factor) / CELL) * 6
        side = min(size, len(cube[axis])) // 6 * 6
        start = max(0, min(start, (len(cube[axis]) - side) // 6 * 6))
        spots.append(slice(start, start + side))
    return spots[0], spots[1]


def _per_cell(seen: Arrays, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """Return for each cell the mean gradient where the ground is visible, and the visible share."""
    name = next((b for b in _DETAILED if b in seen), None)
    if name is None:
        raise S2SharpError("nothing-to-show", "The cube has no band.", "Give a cube with bands.")
    band = np.asarray(seen[name])
    slopes = (np.gradient(band, np.asarray(seen[at]), axis=i) for i, at in enumerate(("y", "x")))
    slope = sum(map(np.abs, slopes))
    clear = ~np.isnan(slope)
    if "valid" in seen:
        clear &= np.asarray(seen["valid"]) == 1
    if "cloud" in seen:
        clear &= ~np.isin(np.asarray(seen["cloud"]), HIDING)
    detail = _means(np.where(clear, slope, 0), factor)
    # A few bright edges (a cloud missing in the mask, a ship) must not outweigh a rich landscape.
    return np.minimum(detail, np.percentile(detail, 95)), _means(clear, factor)


def _means(x: np.ndarray, factor: int) -> np.ndarray:
    """Return means of squares of ``factor`` pixels a side; incomplete squares are left out."""
    rows, cols = (n // factor for n in x.shape)
    squares = x[: rows * factor, : cols * factor].reshape(rows, factor, cols, factor)
    return np.asarray(squares.mean(axis=(1, 3)))


def _moving_sum(x: np.ndarray, window: Sequence[int]) -> np.ndarray:
    """Return sums over ``window`` (rows, columns) at all its positions."""
    total = np.pad(x.astype(np.float64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    h, w = window
    return np.asarray(total[h:, w:] - total[:-h, w:] - total[h:, :-w] + total[:-h, :-w])
