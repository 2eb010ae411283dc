"""Panels of a picture: composites of bands, stretched alike, and the spot that shows most."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from s2sharp_core import BANDS, S2SharpError
from s2sharp_core.bands import BY_GSD, CELL, HIDING

from .stretch import TRUE_COLOUR, limits_of, tones

__all__ = ["Panel", "choose_spot", "looked_at", "orientation", "pair", "trust"]

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


Arrays = Mapping[Any, Any]
"""Bands, layers and the coordinates y and x by name: an ``xarray.Dataset``, or plain arrays (y, x)."""


@dataclass(frozen=True)
class Panel:
    """An image (h, w, 4), float32 RGBA from 0 to 1, with its caption: what it shows, and from which bands."""

    caption: str
    bands: str
    image: np.ndarray


def pair(cube: Arrays, native: Mapping[str, np.ndarray], gsd: int) -> list[Panel]:
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
    after = [np.asarray(cube[band]) for band in bands]
    limits = limits_of(bands, after)
    label = " · ".join(bands)
    before = tones(bands, [native[band] for band in bands], limits)
    return [
        Panel(f"{name}, as delivered, {gsd} m", label, _image(before)),
        Panel(f"{name}, sharpened, 10 m", label, _image(tones(bands, after, limits))),
    ]


def orientation(cube: Arrays) -> list[Panel]:
    """True colours, else a single 10 m band, else nothing."""
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


_TRUST = {
    "residual": "Off what was seen, seen again",
    "detail": "Carried over from finer bands",
}


def trust(cube: Arrays) -> list[Panel]:
    """The layers of ``--trust`` as far as the cube has them, from black, nothing, to white."""
    panels = []
    for layer, what in _TRUST.items():
        if layer not in cube:
            continue
        values = np.asarray(cube[layer]).astype(np.float32)
        values[values == 0] = np.nan  # nothing was sharpened
        if not np.isfinite(values).any():
            continue
        top = max(1.0, float(np.nanpercentile(values, 98)))
        label = f"{layer}, 0 to {top:.0f} DN"
        panels.append(Panel(what, label, _image(tones([layer], [values], [(0.0, top)], 1.0))))
    return panels


def _image(shown: np.ndarray) -> np.ndarray:
    """float32 RGBA (h, w, 4) of one band as grey or three as colours; transparent without data."""
    rgb = np.moveaxis(np.broadcast_to(shown, (3, *shown.shape[1:])), 0, -1)
    seen = np.isfinite(rgb[..., :1])
    return np.concatenate([np.where(seen, rgb, 0), seen], axis=-1, dtype=np.float32)


_DETAILED = ("B04", "B08", "B03", "B02", *BANDS)


def looked_at(names: Collection[str]) -> tuple[str, ...]:
    """Return what :func:`choose_spot` looks at of a cube that has these bands and layers."""
    band = next((band for band in _DETAILED if band in names), None)
    return tuple(name for name in (band, "valid", "cloud") if name is not None and name in names)


Spot = tuple[slice, slice]
"""(y, x) in pixels of a cube."""


def choose_spot(
    cube: Arrays,
    size: int = 180,
    overview: Arrays | None = None,
    taken: Sequence[Spot] = (),
) -> Spot:
    """The place that shows most: the one with most detail where the ground is seen.

    Parameters
    ----------
    cube
        One time step of :func:`s2sharp.open_cube` at full resolution, from a cell's corner on, as it is
        without ``bbox``, or its arrays. With ``overview`` only its coordinates are looked at.
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
    # Where nothing is clear enough, the clearest places.
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
    """Mean gradient where the ground is seen, and the part that is seen, of each cell."""
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
    # A few glaring edges (a cloud that no mask knows, a ship) must not outweigh a rich landscape.
    return np.minimum(detail, np.percentile(detail, 95)), _means(clear, factor)


def _means(x: np.ndarray, factor: int) -> np.ndarray:
    """Means of squares of so many pixels a side; what does not fill one is left out."""
    rows, cols = (n // factor for n in x.shape)
    squares = x[: rows * factor, : cols * factor].reshape(rows, factor, cols, factor)
    return np.asarray(squares.mean(axis=(1, 3)))


def _moving_sum(x: np.ndarray, window: Sequence[int]) -> np.ndarray:
    """Sums over all places of ``window`` (rows, columns)."""
    total = np.pad(x.astype(np.float64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    h, w = window
    return np.asarray(total[h:, w:] - total[:-h, w:] - total[h:, :-w] + total[:-h, :-w])
