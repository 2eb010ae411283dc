"""Scenes: an ``xarray.DataTree`` with children r10m, r20m, r60m of native bands, and its checks."""

from collections.abc import Iterable, Mapping
from functools import reduce
from operator import and_
from typing import Any

import numpy as np
import rioxarray  # noqa: F401  (registers .rio)
import xarray as xr

from .bands import BANDS, BY_GSD, ERROR90, GSDS, names_of
from .errors import S2SharpError
from .lattice import Box, Lattice

_TOLERANCE = 1e-3
# Mean reflectance that no land, cloud or glint reaches; number of sampled pixels along an axis.
_BRIGHT, _LOOKS = 10.0, 64
# Range of single pixels, whatever they show: stored DN are at most 6.6, and a fill value of −9999 may be scaled.
_LEAST, _MOST = -0.9, 100.0


def _malformed(message: str, remedy: str, band: str = "") -> S2SharpError:
    return S2SharpError("scene-malformed", message, remedy, band=band)


def make_scene(data: Mapping[str, Any], lattice: Lattice, box: Box) -> xr.DataTree:
    """Make a scene from native arrays.

    Parameters
    ----------
    data
        ESA name → reflectance (y, x) at the native resolution of the band over ``box``, NaN as nodata;
        NumPy or Dask.
    """
    each = {gsd: {b: data[b] for b in BY_GSD[gsd] if b in data} for gsd in GSDS}
    children = {f"r{gsd}m": picture(own, lattice, box, gsd) for gsd, own in each.items() if own}
    return xr.DataTree.from_dict(children)


def _attributes(band: str) -> dict[str, Any]:
    if band.endswith(ERROR90):
        about = f"half-width of the 90 % interval around {band.removesuffix(ERROR90)}"
        return {"long_name": about, "units": "1"}
    facts = BANDS[band]
    return {"long_name": f"{band} reflectance", "wavelength_nm": facts.wavelength, "units": "1"}


def known_bands(words: str | Iterable[str]) -> tuple[str, ...]:
    """Return bands by ESA name, from words that :func:`~s2sharp_core.bands.names_of` knows.

    Raises
    ------
    S2SharpError
        ``band-unknown``.
    """
    wanted = tuple(names_of(words))
    if unknown := [band for band in wanted if band not in BANDS]:
        raise S2SharpError(
            "band-unknown", f"There is no band {', '.join(unknown)}.", f"Bands: {', '.join(BANDS)}."
        )
    return wanted


def native(scene: xr.DataTree) -> dict[str, xr.DataArray]:
    """Return the bands of a scene by ESA name, in ESA's order; each band lies in the child of its own GSD.

    Raises
    ------
    S2SharpError
        ``scene-malformed``; the message names the fault.
    """
    found = {}
    for name, child in scene.children.items():
        if name not in {f"r{gsd}m" for gsd in GSDS}:
            continue
        for band, array in child.data_vars.items():
            if band not in BANDS:
                continue
            if name != f"r{BANDS[str(band)].gsd}m":
                raise _malformed(
                    f"{band} lies in {name}, but the satellite delivers it at {BANDS[str(band)].gsd} m.",
                    "Give native bands, not resampled copies.",
                )
            if array.dims != ("y", "x"):
                raise _malformed(
                    f"{name}/{band} has dimensions {array.dims}, not ('y', 'x').",
                    "Select one time and squeeze, or transpose.",
                )
            if not np.issubdtype(array.dtype, np.floating):
                raise _malformed(
                    f"{name}/{band} is {array.dtype}, not float reflectance.",
                    "Apply the product's scale and offset, and make nodata NaN.",
                )
            found[str(band)] = array
    if not found:
        raise _malformed(
            "The scene has no band in children r10m, r20m, r60m.",
            "See s2sharp_core.scene.make_scene.",
        )
    return {band: found[band] for band in BANDS if band in found}


def _edges(name: str, array: xr.DataArray, gsd: int) -> tuple[float, float, float, float]:
    """Return (left, bottom, right, top) from pixel-centre coordinates, which must be regular."""
    for axis, step in (("x", gsd), ("y", -gsd)):
        steps = np.diff(array[axis].values)
        if steps.size and np.abs(steps - step).max() > _TOLERANCE:
            raise _malformed(
                f"{name}: {axis} should step by {step} m, but does so by {steps.min()} to {steps.max()} m.",
                "Coordinates are pixel centres in metres, y from north to south.",
            )
    half = gsd / 2
    x, y = array["x"].values, array["y"].values
    return x[0] - half, y[-1] - half, x[-1] + half, y[0] + half


def locate(scene: xr.DataTree) -> tuple[Lattice, Box, dict[str, xr.DataArray]]:
    """Return the box of a scene, and its bands cut to the whole cells that all of them cover.

    Raises
    ------
    S2SharpError
        ``scene-malformed``; ``off-lattice`` if the grids do not match each other.
    """
    bands = native(scene)
    grids = {BANDS[b].gsd: array for b, array in bands.items()}
    codes = {gsd: array.rio.crs for gsd, array in grids.items()}
    if any(crs is None for crs in codes.values()):
        missing = ", ".join(f"r{gsd}m" for gsd, crs in codes.items() if crs is None)
        raise _malformed(f"{missing} has no CRS.", "Use .rio.write_crs(EPSG).")
    if len({crs.to_epsg() for crs in codes.values()}) > 1:
        raise _malformed(f"The bands have several CRS: {codes}.", "Use one.")
    edges = {gsd: _edges(f"r{gsd}m", array, gsd) for gsd, array in grids.items()}
    epsg = codes[min(codes)].to_epsg()
    lattice = Lattice.through(epsg, edges[60][0], edges[60][3]) if 60 in edges else Lattice.of(epsg)
    for gsd, (left, _, _, top) in edges.items():
        off = [(left - lattice.x0) % gsd, (lattice.y0 - top) % gsd]
        if any(min(o, gsd - o) > _TOLERANCE for o in off):
            raise S2SharpError(
                "off-lattice",
                f"r{gsd}m begins at ({left}, {top}), which is not a pixel corner on the scene's 60 m grid.",
                "Give bands as ESA grids them, not shifted or resampled.",
            )
    box = reduce(and_, (lattice.inside(at, _TOLERANCE) for at in edges.values()))
    if box.empty:
        raise _malformed(
            "The grids of the scene share no whole cell of 60 m.",
            "Cut all bands to the same area.",
        )
    west, _, _, north = lattice.bounds(box)
    cut = {}
    for band, array in bands.items():
        gsd = BANDS[band].gsd
        left, _, _, top = edges[gsd]
        height, width = box.pixels(gsd)
        row, col = round((top - north) / gsd), round((west - left) / gsd)
        cut[band] = array.isel(y=slice(row, row + height), x=slice(col, col + width))
    return lattice, box, cut


def refuse_dn(arrays: Mapping[str, np.ndarray]) -> None:
    """Refuse values that cannot be reflectance, because methods state noise and lower limits in reflectance.

    Raises
    ------
    S2SharpError
        ``scene-malformed`` for a band whose median, over a sample of its pixels, is above 10; or that has a finite pixel
        below −0.9 or above 100, because a mark for missing data would spoil the pixels around it.
    """
    for band, y in arrays.items():
        some = y[tuple(slice(None, None, max(1, n // _LOOKS)) for n in y.shape)]
        some = some[np.isfinite(some)]
        if some.size and np.median(some) > _BRIGHT:
            raise _malformed(
                f"The median of {band} is {np.median(some):.0f}: it holds DN, not reflectance.",
                "Apply the product's scale and offset (reflectance = DN / 10 000, less the offset since 2022).",
                band=band,
            )
        odd = y[(y < _LEAST) | (y > _MOST)]
        odd = odd[np.isfinite(odd)]
        if odd.size:
            raise _malformed(
                f"{band} holds {odd[0]:.6g} in {np.count_nonzero(odd == odd[0])} of its pixels, which is not reflectance. It "
                "may mark missing data.",
                f"Make it NaN: x.where((x > {_LEAST:g}) & (x < {_MOST:g})). In a file, declare it as the nodata value.",
                band=band,
            )


def picture(bands: Mapping[str, Any], lattice: Lattice, box: Box, gsd: int = 10) -> xr.Dataset:
    """Return bands of one GSD over ``box`` as a Dataset with pixel-centre coordinates and a CRS."""
    x, y = lattice.coords(box, gsd)
    data = {band: (("y", "x"), array, _attributes(band)) for band, array in bands.items()}
    return xr.Dataset(data, coords={"y": y, "x": x}).rio.write_crs(lattice.epsg)
