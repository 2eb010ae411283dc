"""Arrays of odc-stac, stackstac and rioxarray as native bands of a scene."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import rioxarray  # noqa: F401  (registers .rio)
import xarray as xr

from s2sharp_core import BANDS, S2SharpError
from s2sharp_core.bands import BY_GSD, GSDS
from s2sharp_core.lattice import Lattice

from ..catalog.reflectance import QUANTIFICATION
from ..catalog.sources import band_of
from ..scenes.radiometry import decode

# Mean reflectance above that of any land, cloud or glint; number of sampled pixels along an axis.
_BRIGHT, _LOOKS = 2.0, 64
_TOLERANCE = 1e-3
_DEGREES = {"latitude", "longitude", "lat", "lon"}
_RAW = "scale=1e-4, offset=-0.1"
_WHEN = (
    "offset=0 before processing baseline 04.00 (January 2022), and if the archive has applied it"
)


class Named(NamedTuple):
    """An array that claims to be a band: ``band`` is ESA's name, ``name`` the name that was given."""

    band: str
    name: str
    array: xr.DataArray


def named(x: Any, name: str = "", crs: Any = None) -> Iterator[Named]:
    """Return the arrays in an object by their band; arrays of other names are left out."""
    if isinstance(x, list | tuple):
        for one in x:
            yield from named(one)
    elif isinstance(x, xr.Dataset):
        for key, array in x.data_vars.items():
            yield from named(array, str(key), _crs_of(x))
    elif isinstance(x, Mapping):
        for key, one in x.items():
            yield from named(one, str(key))
    elif isinstance(x, xr.DataArray):
        yield from _of_array(x, name, crs)
    else:
        raise S2SharpError(
            "scene-malformed",
            f"{name or 'One object'} is a {type(x).__name__}, not an array with coordinates.",
            "Give xarray's DataArrays: open_scene({'B02': rioxarray.open_rasterio('B02.tif'), …}).",
        )


def _of_array(x: xr.DataArray, name: str, crs: Any) -> Iterator[Named]:
    known = crs if crs is not None else _crs_of(x)
    if known is not None and _crs_of(x) is None:
        x = x.rio.write_crs(known)
    if "band" not in x.dims:
        called = name or str(x.name or "")
        if band := known_band(called):
            yield Named(band, called, x)
        elif not name:
            raise _nameless(called)
        return
    labels = _labels(x)
    if x.sizes["band"] == 1 and (band := known_band(name or str(x.name or ""))):
        yield Named(band, name or str(x.name), x.isel(band=0, drop=True))
        return
    if not any(map(known_band, labels)):
        raise _nameless(", ".join(labels))
    for at, label in enumerate(labels):
        if band := known_band(label):
            yield Named(band, label, x.isel(band=at))


def _labels(x: xr.DataArray) -> list[str]:
    """Return the names that an array gives its bands: labels of the axis, common names beside them, or descriptions of a file."""
    said = [x.coords[key].values.tolist() for key in ("band", "common_name") if key in x.coords]
    said += [x.attrs[key] for key in ("long_name", "descriptions") if key in x.attrs]
    ways = [[str(v) for v in np.atleast_1d(np.asarray(way, dtype=object))] for way in said]
    fits = [way for way in ways if len(way) == x.sizes["band"]]
    return max(fits, key=lambda way: sum(known_band(v) is not None for v in way), default=[])


def _nameless(called: str) -> S2SharpError:
    return S2SharpError(
        "scene-malformed",
        f"The name of an array should be that of its band; found {called or 'none'}.",
        "Name it: open_scene({'B02': array, …}), by ESA's names or common ones such as red and swir16.",
    )


def known_band(name: str) -> str | None:
    """Return ESA's name for a given name: "B05 (T33UUP_…_B05_20m.jp2)", "B5", "red", "B05_20m"."""
    word = name.partition(" ")[0]
    short = re.fullmatch(r"b(\d)", word, re.IGNORECASE)
    found = band_of(f"B0{short[1]}" if short else word)
    return found if found in BANDS else None


def assemble(
    pieces: Sequence[Named], bands: Sequence[str] | None, scale: float | None, offset: float | None
) -> xr.DataTree:
    """Make a scene of arrays, each on the native grid of its band.

    Errors: those of :func:`~s2sharp.api.scenes.open_scene`.
    """
    found: dict[str, xr.DataArray] = {}
    copies: dict[str, str] = {}
    steps: dict[str, float] = {}
    for band, name, array in pieces:
        if bands is not None and band not in bands:
            continue
        flat = _flat(array, name)
        steps[band] = step = _step(flat, name)
        copies[band] = name
        if abs(step - BANDS[band].gsd) > _TOLERANCE:
            continue
        if band in found:
            raise S2SharpError(
                "scene-malformed",
                f"{band} is given twice.",
                "Give each band once, at its native resolution.",
            )
        found[band] = flat
    _refuse_resampled(found, copies, steps)
    _refuse_missing(found, bands)
    codes = {band: _code(array, band) for band, array in found.items()}
    if len(set(codes.values())) > 1:
        raise S2SharpError(
            "scene-malformed", f"The bands have several CRS: {codes}.", "Give bands of one tile."
        )
    epsg = next(iter(codes.values()))
    ready = {
        band: _reflectance(_centred(array, band, epsg), band, scale, offset)
        for band, array in found.items()
    }
    return tree_of(ready, epsg)


def tree_of(found: Mapping[str, xr.DataArray], crs: Any) -> xr.DataTree:
    """Return the bands as a DataTree, a child for each GSD."""
    children = {}
    for gsd in GSDS:
        own = {band: found[band] for band in BY_GSD[gsd] if band in found}
        if own:
            # Arrays may differ by a pixel at their edges; their common part is used.
            aligned = xr.align(*own.values(), join="inner")
            made = xr.Dataset(dict(zip(own, aligned, strict=True)))
            children[f"r{gsd}m"] = made.rio.write_crs(crs)
    return xr.DataTree.from_dict(children)


def _flat(array: xr.DataArray, name: str) -> xr.DataArray:
    """Return the array with dims (y, x), north up."""
    if _DEGREES & set(map(str, array.dims)):
        raise S2SharpError(
            "off-lattice",
            f"{name} is on a grid in degrees: it was reprojected.",
            "Load it on ESA's grid: odc.stac.load([item], crs='utm', …); or give the item itself: open_scene(item).",
        )
    for dim in [d for d in array.dims if d not in ("y", "x")]:
        if array.sizes[dim] != 1:
            raise S2SharpError(
                "scene-malformed",
                f"{name} has {array.sizes[dim]} along {dim}, and a scene has one.",
                f"Select one: open_scene(x.isel({dim}=0)).",
            )
        array = array.isel({dim: 0}, drop=True)
    if set(array.dims) != {"y", "x"}:
        raise S2SharpError(
            "scene-malformed",
            f"{name} has dimensions {array.dims}, not y and x.",
            "Rename them: open_scene(x.rename({…: 'y', …: 'x'})).",
        )
    array = array.transpose("y", "x")
    if array.sizes["y"] > 1 and "y" in array.coords and array.y[0] < array.y[-1]:
        array = array.isel(y=slice(None, None, -1))
    return array


def _step(array: xr.DataArray, name: str) -> float:
    """Return the pixel size in metres, which must be the same everywhere along both axes."""
    if not {"x", "y"} <= set(array.coords) or min(array.shape) < 2:
        raise S2SharpError(
            "scene-malformed",
            f"{name} has no coordinates x and y of two pixels or more, so its position is unknown.",
            "Add pixel centres in metres: open_scene(x.assign_coords(x=…, y=…)).",
        )
    steps = np.concatenate([np.diff(array.x.values), -np.diff(array.y.values)]).astype(float)
    if np.ptp(steps) > _TOLERANCE:
        raise S2SharpError(
            "off-lattice",
            f"{name} has pixels of {steps.min():.6g} to {steps.max():.6g} m.",
            "Give bands on ESA's grid, not reprojected.",
        )
    return float(steps[0])


def _refuse_resampled(
    found: Mapping[str, xr.DataArray], names: Mapping[str, str], steps: Mapping[str, float]
) -> None:
    wrong = [band for band in steps if band not in found]
    if not wrong:
        return
    groups = {
        gsd: own
        for gsd in GSDS
        if (own := [names[band].partition(" ")[0] for band in BY_GSD[gsd] if band in names])
    }
    raise S2SharpError(
        "scene-malformed",
        "; ".join(
            f"{names[band]} has pixels of {steps[band]:.6g} m, but the satellite delivers {band} at {BANDS[band].gsd} m"
            for band in wrong[:3]
        )
        + (f"; and {len(wrong) - 3} more" if len(wrong) > 3 else "")
        + ". Resampled bands hide the measured values.",
        "Load each at its own resolution: open_scene([odc.stac.load([item], bands=names, resolution=gsd) for "
        f"gsd, names in {groups}.items()]); or give the item itself: open_scene(item).",
    )


def _refuse_missing(found: Mapping[str, xr.DataArray], bands: Sequence[str] | None) -> None:
    missing = [band for band in (bands or BY_GSD[10]) if band not in found]
    if not missing and found:
        return
    have = [band for band in BANDS if band in found]
    raise S2SharpError(
        "band-missing",
        f"The scene lacks {', '.join(missing)}; it holds {', '.join(have) or 'no band'}.",
        f"Add them, or name the bands that are there: open_scene(x, bands={have})."
        if have
        else "Name bands by ESA's names or common ones: open_scene({'B02': array, …}).",
    )


def _crs_of(x: xr.Dataset | xr.DataArray) -> Any:
    """Return the CRS of an object, in any of the forms that its tool uses."""
    if (crs := x.rio.crs) is not None:
        return crs
    for key in ("epsg", "proj:epsg", "proj:code"):
        said: Any = x.coords[key].values if key in x.coords else x.attrs.get(key)
        codes = {str(v).upper().removeprefix("EPSG:") for v in np.atleast_1d(said)}
        if len(codes) == 1 and (code := codes.pop()).isdigit():
            return int(code)
    return None


def _code(array: xr.DataArray, name: str) -> int:
    crs = _crs_of(array)
    code = crs if isinstance(crs, int) or crs is None else crs.to_epsg()
    if code is None:
        raise S2SharpError(
            "crs-unknown",
            f"{name} has no EPSG code, so its position is unknown.",
            "Set it: open_scene(x.rio.write_crs(32633)), with the code of the tile's zone.",
        )
    return int(code)


def _centred(array: xr.DataArray, band: str, epsg: int) -> xr.DataArray:
    """Return the array with coordinates at pixel centres; stackstac's are corners, as its transform shows."""
    gsd = BANDS[band].gsd
    lattice = Lattice.of(epsg)
    origin = lattice.x0, lattice.y0
    first = float(array.x[0]), float(array.y[0])
    off = [(at - of) % gsd for at, of in zip(first, origin, strict=True)]
    if all(min(o, gsd - o) <= _TOLERANCE for o in off):
        if not _begins_there(array, first, gsd):
            raise S2SharpError(
                "off-lattice",
                f"{band} has coordinates at the corners of pixels; they should be at the centres.",
                f"If they are upper left corners: open_scene(x.assign_coords(x=x.x + {gsd / 2:g}, y=x.y - {gsd / 2:g})).",
            )
        array = array.assign_coords(x=array.x + gsd / 2, y=array.y - gsd / 2)
    elif any(abs(o - gsd / 2) > _TOLERANCE for o in off):
        where = f"{first[0] - gsd / 2:.10g}, {first[1] + gsd / 2:.10g}"
        raise S2SharpError(
            "off-lattice",
            f"{band} begins at ({where}), which is not a corner of ESA's {gsd} m grid in EPSG:{epsg}.",
            "Load it on the product's own grid, or give the item itself: open_scene(item).",
        )
    return array


def _begins_there(array: xr.DataArray, first: tuple[float, float], gsd: int) -> bool:
    """Return whether pixels begin at the coordinates, by the array's own transform."""
    said = array.attrs.get("transform")
    try:
        a, b, left, d, e, top = (float(v) for v in tuple(said)[:6])  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    gaps = (first[0] - left) % gsd, (top - first[1]) % gsd
    return (a, b, d, e) == (gsd, 0, 0, -gsd) and all(
        min(gap, gsd - gap) < _TOLERANCE for gap in gaps
    )


def _reflectance(
    array: xr.DataArray, band: str, scale: float | None, offset: float | None
) -> xr.DataArray:
    """Return float32 reflectance of an array that may hold DN, by its own scale and offset or the given ones."""
    whole = np.issubdtype(array.dtype, np.integer)
    # xarray moves an applied scale from the attributes to the encoding; integers show that none was applied.
    about = {**(array.encoding if whole else {}), **array.attrs}
    said = about.get("scale_factor")
    if said not in (None, 1):  # tools write 1 if a file states no scale
        scale = float(said) if scale is None else scale
        offset = float(about.get("add_offset", 0)) if offset is None else offset
    if offset is None and (whole or scale is not None):
        raise S2SharpError(
            "offset-unknown",
            f"{band} holds DN ({array.dtype}) without a stated offset: reflectance may be wrong by 0.1.",
            f"Give it: open_scene(x, {_RAW}); {_WHEN}.",
        )
    if offset is not None and scale is None:
        scale = 1 / QUANTIFICATION
    nodata = next((about[k] for k in ("_FillValue", "nodata", "missing_value") if k in about), None)
    numbers = (nodata, scale, offset, whole)
    made = xr.apply_ufunc(
        _decoded,
        array,
        kwargs={"numbers": numbers},
        dask="parallelized",
        output_dtypes=[np.float32],
    )
    refuse_bright(made, band)
    about = {"wavelength_nm": BANDS[band].wavelength, "units": "1"}
    made = made.assign_attrs({"long_name": f"{band} reflectance", **about})
    return made.drop_vars([c for c in made.coords if c not in ("x", "y")])


def _decoded(y: np.ndarray, numbers: tuple[Any, float | None, float | None, bool]) -> np.ndarray:
    """Return float32 reflectance, NaN where there is no data."""
    nodata, scale, offset, whole = numbers
    gap = (y == nodata) if nodata is not None else np.zeros(y.shape, dtype=bool)
    if scale is None or offset is None:
        return np.where(gap, np.nan, y).astype(np.float32)
    blank = np.where(gap | ~np.isfinite(y), 0, y)
    # DN 0 is ESA's nodata in float arrays, too.
    made, _ = decode(blank if whole else blank.astype(np.float32), scale, offset)
    return made


def middle(array: xr.DataArray) -> np.ndarray:
    """Return the values of an array; of a lazy one, those of the block in its middle."""
    data: Any = array.data
    if array.chunks is not None:
        data = data.blocks[tuple(len(c) // 2 for c in array.chunks)].compute()
    return np.asarray(data)


def refuse_bright(array: xr.DataArray, name: str) -> None:
    """Refuse arrays that cannot be reflectance: no scene has a median above 2. Of a lazy array, one block is read."""
    data = middle(array)
    some = data[tuple(slice(None, None, max(1, n // _LOOKS)) for n in data.shape)]
    some = some[np.isfinite(some)]
    if some.size and abs(np.median(some)) > _BRIGHT:
        raise S2SharpError(
            "scene-malformed",
            f"The median of {name} is {np.median(some):.6g}, which is not reflectance. It may hold DN.",
            f"Give scale and offset: open_scene(x, {_RAW}); {_WHEN}.",
        )
