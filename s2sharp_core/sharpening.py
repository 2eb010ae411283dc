"""``sharpen(scene, "dsen2")``: the one call an analyst learns."""

from collections.abc import Iterable
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.delayed import delayed

from .bands import BANDS, COARSE, in_order
from .blocks import WINDOW, context, sharpen_block
from .errors import S2SharpError
from .lattice import Box
from .registration import warn_of_shifts
from .scene import locate, picture
from .sharpeners import METHODS, Sharpener, load_sharpener

__all__ = ["sharpen"]

# Side of a lazy block in cells: 1536 pixels of 10 m, 36 windows of the default size.
_LAZY = 256


def sharpen(
    scene: xr.DataTree,
    method: str | Sharpener = "dsen2",
    *,
    bands: Iterable[str] | None = None,
    window: int = WINDOW,
) -> xr.Dataset:
    """All bands of a scene at 10 m.

    Parameters
    ----------
    scene
        A DataTree with children ``r10m``, ``r20m``, ``r60m`` that hold native bands by ESA name
        ("B02", …): dims (y, x), pixel-centre coordinates in metres, a CRS, float reflectance with
        NaN as nodata. With Dask arrays inside, the result is lazy.
    method
        A name (`s2sharp methods` lists them) or a sharpener that was loaded before.
    bands
        The bands to return, by ESA name; by default all of the scene that the method can give.
    window
        Side in cells of 60 m of the windows that the sharpener sees at once.

    Returns
    -------
    xarray.Dataset
        float32 reflectance by band, dims (y, x), at 10 m over the whole cells that all bands cover,
        NaN where a band that the method reads has no data. The 10 m bands are the scene's own.

    Raises
    ------
    S2SharpError
        ``scene-malformed``, ``off-lattice``, ``band-missing``, ``method-unknown``.
    """
    lattice, box, inputs = locate(scene)
    sharpener, wanted = _choose(inputs, method, bands)
    out: dict[str, Any] = {b: inputs[b].data for b in wanted if BANDS[b].gsd == 10}
    if sharpener:
        coarse = {band: inputs[band] for band in sharpener.reads}
        if any(array.chunks is not None for array in coarse.values()):
            out |= _lazily({b: a.data for b, a in coarse.items()}, box, sharpener, window)
        else:
            arrays = {band: array.values.astype(np.float32) for band, array in coarse.items()}
            warn_of_shifts(arrays)
            out |= _sharpen_part(arrays, box, box, sharpener, window)
    return picture({band: out[band] for band in wanted}, lattice, box)


def _choose(
    have: dict[str, xr.DataArray], method: str | Sharpener, bands: Iterable[str] | None
) -> tuple[Sharpener | None, tuple[str, ...]]:
    """The sharpener, and the bands to return; without a sharpener when only 10 m bands are asked for."""
    can: tuple[str, ...]
    if isinstance(method, Sharpener):
        can = method.bands
    else:
        can = METHODS[method].bands if method in METHODS else ()
    possible = [b for b in have if BANDS[b].gsd == 10 or b in can or b in COARSE]
    wanted = in_order(possible if bands is None else bands)
    unknown = [b for b in (bands or ()) if b not in BANDS]
    if unknown:
        raise S2SharpError(
            "band-unknown",
            f"There is no band {', '.join(map(str, unknown))}.",
            f"Bands: {', '.join(BANDS)}.",
        )
    coarse = [b for b in wanted if b in COARSE]
    if isinstance(method, Sharpener):
        coarse = [b for b in coarse if b in can] if bands is None else coarse
        beyond = [b for b in coarse if b not in can]
        if beyond:
            raise S2SharpError(
                "band-unknown",
                f"This {method.name} sharpener does not return {', '.join(beyond)}.",
                f"It returns {', '.join(can)}; load one for more bands with load_sharpener.",
            )
        sharpener: Sharpener | None = method if coarse else None
        wanted = tuple(b for b in wanted if b not in COARSE or b in coarse)
    else:
        sharpener = load_sharpener(method, coarse) if coarse or method not in METHODS else None
    missing = [b for b in {*wanted, *(sharpener.reads if sharpener else ())} if b not in have]
    if missing:
        raise S2SharpError(
            "band-missing",
            f"The scene lacks {', '.join(in_order(missing))}, asked for or read by {method}.",
            f"It holds {', '.join(have)}; add the band, or ask for other ones with bands=….",
        )
    return sharpener, wanted


def _sharpen_part(
    arrays: dict[str, np.ndarray], have: Box, want: Box, sharpener: Sharpener, window: int
) -> dict[str, np.ndarray]:
    """:func:`sharpen_block` where the picture may end inside the context: NaN is put around it."""
    around = want.grow(context(sharpener))
    padded = {}
    for band, y in arrays.items():
        gsd = BANDS[band].gsd
        full = np.full(around.pixels(gsd), np.nan, dtype=np.float32)
        full[around.slices(have & around, gsd)] = y[have.slices(have & around, gsd)]
        padded[band] = full
    return sharpen_block(padded, around, want, sharpener, window)


def _lazily(
    arrays: dict[str, Any], box: Box, sharpener: Sharpener, window: int
) -> dict[str, da.Array]:
    """One task a block, which reads its own context: a tenth of the tasks of ``map_overlap``."""

    def block(part: dict[str, np.ndarray], have: Box, want: Box) -> dict[str, np.ndarray]:
        numbers = {band: np.asarray(y, dtype=np.float32) for band, y in part.items()}
        return _sharpen_part(numbers, have, want, sharpener, window)

    size = -(-_LAZY // window) * window
    rows: dict[int, list[Any]] = {}
    for tile in box.tiles(size):
        want = tile & box
        have = want.grow(context(sharpener)) & box
        part = {b: y[box.slices(have, BANDS[b].gsd)] for b, y in arrays.items()}
        rows.setdefault(tile.row0, []).append((want, delayed(block, pure=False)(part, have, want)))
    return {
        band: da.block(
            [
                [da.from_delayed(done[band], want.pixels(10), np.float32) for want, done in row]
                for row in rows.values()
            ]
        )
        for band in sharpener.bands
    }
