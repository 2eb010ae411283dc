"""``open_scene``: make a scene of any object of an analyst, or refuse ambiguous input with the line that resolves it."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pystac
import rioxarray
import xarray as xr

from s2sharp_core import S2SharpError
from s2sharp_core.bands import in_order
from s2sharp_core.lattice import Lattice
from s2sharp_core.scene import known_bands, native

from ..catalog.addresses import is_product
from ..catalog.extent import Degrees
from ..catalog.local_products import are_products, product_around, product_paths
from .arrays import assemble, known_band, named, refuse_bright, tree_of
from .inputs import cells_in, from_file, from_items, from_products

_FILES = (".tif", ".tiff", ".jp2")
# Endings of ESA's file names; "TCI", "AOT" and the like are not bands.
_ESA = re.compile(r"(?:^|[_.-])(?P<band>B(?:0[1-9]|8A|1[012]|[1-9]))(?:_[126]0m)?$", re.IGNORECASE)
_BLOCK = 3072
_EOPF = "measurements/reflectance"  # group of a tree that xarray has made of an EOPF product
_LEAVES = ("r10m", "r20m", "r60m")


def open_scene(
    x: Any,
    *,
    bbox: Degrees | None = None,
    bands: str | Iterable[str] | None = None,
    scale: float | None = None,
    offset: float | None = None,
    private: bool = False,
) -> xr.DataTree:
    """Open a scene: native bands for :func:`sharpen`.

    Parameters
    ----------
    x
        One of these:

        - a STAC item: ``pystac.Item``, its dict, or the path or URL of its document; several are tiles of one acquisition;
        - path or URL of a product: a SAFE folder or its zip, an EOPF Zarr, or a folder that holds one; several, in a list,
          are tiles of one acquisition;
        - a folder of band files, ``B02.tif`` … or with ESA's names;
        - Datasets or DataArrays of odc-stac, stackstac or rioxarray: one for each resolution in a list, or by band in a
          dict. Bands have ESA's names or common ones (``red``, ``nir``, ``rededge1``, ``swir16``);
        - a DataTree with children ``r10m``, ``r20m``, ``r60m``.
    bbox
        West, south, east, north in degrees. The scene covers the whole cells of 60 m around it.
    bands
        ESA names or group names: ``"swir"``, ``"20m"``. Default: all twelve of an item or a product; all present
        bands of other input, which must include the four of 10 m.
    scale, offset
        reflectance = DN × ``scale`` + ``offset``, for files and arrays that hold DN and do not state it. Items and
        products state it themselves.
    private
        Whether a given item may name files of this machine and hosts inside a private network.

    Returns
    -------
    xarray.DataTree
        Children ``r10m``, ``r20m``, ``r60m``: Datasets of float32 reflectance (y, x), NaN where there is no data. Lazy if
        ``x`` is lazy, an item, a product or a file; ``.load()`` reads it all.

    Raises
    ------
    S2SharpError
        ``scene-malformed``, ``off-lattice``, ``crs-unknown``, ``offset-unknown``, ``band-missing``, ``outside``. The
        message for ambiguous input has the line that resolves it. Also the errors of reading an item.
    """
    asked = None if bands is None else in_order(known_bands(bands))
    _check_given(scale, offset)
    if isinstance(x, xr.DataTree) and _EOPF not in x:
        for band, array in native(x).items():
            if array.chunks is None:  # a lazy array is checked when it is sharpened
                refuse_bright(array, band)
        _refuse_given(scale, offset)
        return _cropped(_chosen(x, asked), bbox)
    if isinstance(x, str | Path):
        found = _of_place(str(x), asked, bbox, private=private, given=(scale, offset))
        if isinstance(found, xr.DataTree):
            return found
        x = found
    if paths := _paths(x):
        _refuse_given(scale, offset)
        return from_products(paths, asked, bbox)
    if items := _items(x):
        _refuse_given(scale, offset)
        return from_items(items, asked, bbox, private=private)
    return _cropped(assemble(list(named(_pieces(x))), asked, scale, offset), bbox)


def _check_given(scale: Any, offset: Any) -> None:
    """Refuse what cannot turn DN into reflectance."""
    for name, value in (("scale", scale), ("offset", offset)):
        real = isinstance(value, Real) and math.isfinite(value)
        if value is not None and not (real and (name == "offset" or value > 0)):
            raise S2SharpError(
                "bad-config",
                f"{name} should be one finite number{' above 0' if name == 'scale' else ''}; found {value!r:.80}.",
                "Give, for example, scale=1e-4, offset=-0.1.",
            )


def _refuse_given(scale: float | None, offset: float | None) -> None:
    if scale is not None or offset is not None:
        raise S2SharpError(
            "bad-config",
            "Items and products state their own scale and offset, and a scene holds reflectance.",
            "Leave scale and offset out.",
        )


def _items(x: Any) -> list[pystac.Item | dict[str, Any]]:
    """Return the STAC items in an object; an empty list if it holds something else."""

    def is_item(one: Any) -> bool:
        feature = isinstance(one, dict) and one.get("type") == "Feature"
        return feature or isinstance(one, pystac.Item)

    if is_item(x):
        return [x]
    if isinstance(x, pystac.ItemCollection):
        return list(x)
    several = isinstance(x, list | tuple) and x and all(is_item(one) for one in x)
    return list(x) if several else []


def _paths(x: Any) -> list[str]:
    """Return the products that a list of paths or URLs names; an empty list if it holds something else."""
    several = isinstance(x, list | tuple) and x and all(isinstance(one, str | Path) for one in x)
    if not several:
        return []
    known = [str(one) if "://" in str(one) else str(Path(one).expanduser().resolve()) for one in x]
    if others := [one for one in known if not is_product(one)]:
        raise S2SharpError(
            "scene-malformed",
            f"{others[0]} is not a product (.SAFE, .zip, .zarr).",
            "Give products in a list, and band files by name: open_scene({'B02': rioxarray.open_rasterio('B02.tif'), …}).",
        )
    return known


def _of_place(
    text: str,
    bands: Sequence[str] | None,
    bbox: Degrees | None,
    *,
    private: bool,
    given: tuple[float | None, float | None],
) -> Any:
    """Return the scene of a path or URL; for a folder of band files, the open files by band."""
    local = "://" not in text
    path = Path(text).expanduser().resolve() if local else None
    name = urlsplit(text).path.rstrip("/").lower() if not local else text.rstrip("/").lower()
    if path is not None and not path.exists():
        raise S2SharpError("scene-malformed", f"{path} does not exist.", "Correct the path.")
    if path is not None and given == (None, None) and (whole := _product_of(path)):
        return from_products([str(whole)], bands, bbox)
    if path is not None and path.is_dir() and not is_product(text):
        if files := _band_files(path):
            return {
                band: rioxarray.open_rasterio(file, chunks={"x": _BLOCK, "y": _BLOCK})
                for band, file in files.items()
            }
        if not any(path.glob("*.json")) or are_products(str(path)):
            _refuse_given(*given)
            return from_products([_only(path)], bands, bbox)
    _refuse_given(*given)
    where = text if path is None else str(path)
    if is_product(text):
        return from_products([where], bands, bbox)
    if name.endswith((".json", ".geojson")) or path is None:
        return from_file(where, bands, bbox, private=private)
    raise S2SharpError(
        "scene-malformed",
        f"{where} is not a product, a STAC item or a folder of band files.",
        "Open it yourself, and give its bands: open_scene({'B02': rioxarray.open_rasterio('B02.tif'), …}).",
    )


def _product_of(path: Path) -> Path | None:
    """Return the SAFE folder around a path in it, such as MTD_MSIL2A.xml, a granule or IMG_DATA, or None.

    A folder with files other than ESA's is not a product, wherever it lies.
    """
    own = path.is_dir() and any(f.suffix.lower() != ".jp2" for f in _band_files(path).values())
    return None if own else product_around(path)


def _band_files(folder: Path) -> dict[str, Path]:
    """Return name → file, of a folder and, as in a product's IMG_DATA, of R10m, R20m and R60m in it."""
    folders = [folder, *(folder / f"R{gsd}m" for gsd in (10, 20, 60))]
    files = [f for place in folders if place.is_dir() for f in sorted(place.iterdir())]
    found = {}
    for file in files:
        if file.suffix.lower() in _FILES:
            esa = _ESA.search(file.stem)
            found[f"{esa['band'].upper()} ({file.name})" if esa else file.stem] = file
    return {name: file for name, file in found.items() if known_band(name)}


def _only(folder: Path) -> str:
    """Return the one product in a folder."""
    there = list(product_paths(str(folder)))
    if len(there) == 1:
        return there[0]
    if there:
        raise S2SharpError(
            "scene-malformed",
            f"{folder} holds {len(there)} products.",
            f"Choose one: open_scene({there[0]!r}).",
        )
    raise S2SharpError(
        "scene-malformed",
        f"{folder} holds no band files (B02.tif, …_B02_10m.jp2) and no product (.SAFE, .zip, .zarr).",
        "Give the folder with the files.",
    )


def _pieces(x: Any) -> Any:
    """Return the objects that hold the arrays."""
    if isinstance(x, xr.DataTree):
        leaves = x[_EOPF].subtree
        return [node.to_dataset() for node in leaves if node.name in _LEAVES]
    if isinstance(x, xr.Dataset | xr.DataArray | Mapping | list | tuple):
        return x
    raise S2SharpError(
        "scene-malformed",
        f"A scene cannot be made from a {type(x).__name__}.",
        "Give a STAC item, a path, or Datasets or DataArrays of xarray: see help(s2sharp.open_scene).",
    )


def _chosen(tree: xr.DataTree, bands: Sequence[str] | None) -> xr.DataTree:
    if bands is None:
        return tree
    have = native(tree)
    if missing := [band for band in bands if band not in have]:
        raise S2SharpError(
            "band-missing", f"The scene lacks {', '.join(missing)}.", f"It holds {', '.join(have)}."
        )
    return tree.map_over_datasets(lambda node: node[[b for b in node.data_vars if b in bands]])


def _cropped(tree: xr.DataTree, bbox: Degrees | None) -> xr.DataTree:
    """Return the part in the whole cells around a box."""
    if bbox is None:
        return tree
    have = native(tree)
    crs = next(iter(have.values())).rio.crs
    if crs is None:
        raise S2SharpError("crs-unknown", "The scene has no CRS.", "Use .rio.write_crs(EPSG).")
    lattice = Lattice.of(crs.to_epsg())
    left, bottom, right, top = lattice.bounds(cells_in(lattice, bbox))
    cut = {
        band: array.sel(x=slice(left, right), y=slice(top, bottom)) for band, array in have.items()
    }
    if any(0 in array.shape for array in cut.values()):
        raise S2SharpError(
            "outside",
            f"The box {bbox} does not meet the scene.",
            "Give W S E N in degrees, longitude first.",
        )
    made = tree_of(cut, crs)
    made.attrs = tree.attrs
    return made
