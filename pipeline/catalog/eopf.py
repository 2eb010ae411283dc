"""ESA's EOPF products: the item for the Zarr of a scene, as a catalog would have it, and windows of its arrays.

The layout is that of EOPF's Product Structure and Format Definition, as used by the Sample Service (Zarr v2 and v3
alike). ``measurements/reflectance/r10m/b02`` and others hold DN, with CF's ``scale_factor`` and ``add_offset``.
``conditions/mask/l2a_classification/r20m/scl`` holds the scene classification. The root's attribute
``stac_discovery`` is the product's own STAC item. The address of an array is the address of the Zarr followed by the
array's path, as in EOPF's STAC API, whose addresses are read here, too.
"""

import math
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pystac
import zarr
from zarr.abc.codec import Codec
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, ShardingCodec, ZstdCodec
from zarr.core.metadata import ArrayV2Metadata

from s2sharp_core import S2SharpError
from s2sharp_core.bands import BANDS, CIRRUS, MEASURED, native_gsd

from ..storage.arrays import zarr_store
from ..storage.location import store_errors
from .access import OWN
from .chunk_limits import bounded, check_chunks
from .documents import item_of
from .faults import BrokenError
from .metadata import as_number, as_text, code_in, numbers_in
from .signing import archive_place
from .sources import SCL_PATH, reflectance_path

# Codecs that an archive may use. Others are refused before a byte is read, because numcodecs includes pickle, which
# executes its input.
_CODECS = (BytesCodec, BloscCodec, Crc32cCodec, GzipCodec, ZstdCodec)
_CODECS_V2 = frozenset({"blosc", "gzip", "lz4", "zlib", "zstd"})


@dataclass(frozen=True)
class Array:
    """An open band of a product: its address, and windows of its pixels.

    ``packing``: its stated scale and offset. If floats are stored, a converter made them from DN with these.
    """

    transform: tuple[float, ...]
    shape: tuple[int, int]
    epsg: int | None
    dtype: str
    attrs: Mapping[str, Any]
    array: "zarr.Array[Any]"

    @property
    def packing(self) -> tuple[float, float] | None:
        scale, offset = (as_number(self.attrs.get(key)) for key in ("scale_factor", "add_offset"))
        return None if scale is None or offset is None else (scale, offset)

    @property
    def nodata(self) -> float | None:
        """Return the value for no data."""
        said = (self.attrs.get("_FillValue"), self.attrs.get("fill_value"), self.array.fill_value)
        return next((number for value in said if (number := as_number(value)) is not None), None)

    def read(self, rows: slice, cols: slice) -> np.ndarray:
        """Return the DN of a window, or reflectance if floats are stored."""
        return np.asarray(self.array[rows, cols])

    def masked(self, rows: slice, cols: slice) -> np.ndarray | None:  # noqa: ARG002
        """Return None: there is no separate mask."""
        return None


def opened(href: str, sign: str = OWN) -> Array:
    """Open an array by its address. For ``sign`` see :func:`~s2sharp.catalog.signing.archive_place`.

    Raise :class:`BrokenError` with the fault of the array.
    """
    end = href.lower().index(".zarr/") + len(".zarr")
    name = href[end:].strip("/")
    try:
        return _array(_group(href[:end], sign), name)
    except KeyError:
        raise BrokenError(f"has no array {name}") from None
    except (ArithmeticError, AttributeError, TypeError) as error:  # zarr does not validate metadata
        raise BrokenError(
            f"has metadata of {name} that cannot be read ({type(error).__name__})"
        ) from error


@lru_cache(maxsize=16)
def _group(root: str, sign: str = OWN) -> zarr.Group:
    try:
        return zarr.open_group(bounded(zarr_store(archive_place(root, sign))), mode="r")
    except S2SharpError as error:
        raise BrokenError(f"can't be opened: {error.message}") from None
    except store_errors(ValueError, KeyError, ImportError) as error:
        raise BrokenError(f"can't be read as Zarr ({type(error).__name__})") from None


def _array(group: zarr.Group, name: str) -> Array:
    array = _checked(group, name)
    if array.ndim != 2:
        raise BrokenError(f"has {array.ndim} dimensions in {name}, not rows and columns")
    attrs = dict(array.attrs)
    about = {**_nested(attrs.get("_eopf_attrs")), **attrs}
    return Array(
        transform=_transform(group, name, about),
        shape=(int(array.shape[0]), int(array.shape[1])),
        epsg=_epsg(_about(group, name.rpartition("/")[0]) | about, group),
        dtype=str(array.dtype),
        attrs=about,
        array=array,
    )


def _about(group: zarr.Group, folder: str) -> dict[str, Any]:
    """Return the attributes of a group for its arrays."""
    try:
        return dict(group[folder].attrs) if folder else dict(group.attrs)
    except KeyError:
        return {}


def _checked(group: zarr.Group, name: str) -> "zarr.Array[Any]":
    array = group[name]
    if not isinstance(array, zarr.Array):
        raise KeyError(name)
    if not _harmless(array):
        raise BrokenError(f"has {name} with a codec that is not accepted from archives")
    check_chunks(array, name)
    return array


def _harmless(array: "zarr.Array[Any]") -> bool:
    about = array.metadata
    if array.dtype.kind not in "iuf":
        return False
    if isinstance(about, ArrayV2Metadata):
        packed = getattr(about.compressor, "codec_id", None)
        return not about.filters and (about.compressor is None or packed in _CODECS_V2)
    return _known(about.codecs)


def _known(codecs: Iterable[Codec]) -> bool:
    return all(
        _known((*codec.codecs, *codec.index_codecs))
        if isinstance(codec, ShardingCodec)
        else isinstance(codec, _CODECS)
        for codec in codecs
    )


def _transform(group: zarr.Group, name: str, about: Mapping[str, Any]) -> tuple[float, ...]:
    """Return the transform that the array or its group states, or else that of the coordinates of pixel centres."""
    folder = name.rpartition("/")[0]
    for said in (about.get("proj:transform"), _about(group, folder).get("spatial:transform")):
        if isinstance(said, list) and (numbers := numbers_in(said[:6], 6)):
            return tuple(numbers)
    steps, starts = [], []
    for axis in ("x", "y"):
        try:
            array = _checked(group, f"{folder}/{axis}")
        except KeyError:
            raise BrokenError(f"does not state the position of {name}") from None
        if array.ndim != 1 or array.shape[0] < 2:
            raise BrokenError(f"does not state the position of {name}")
        first, second, last = (float(np.asarray(array[i])) for i in (0, 1, array.shape[0] - 1))
        step = (last - first) / (array.shape[0] - 1)
        if not math.isclose(step, second - first, rel_tol=1e-6):
            raise BrokenError(f"has {name} on an irregular grid")
        steps.append(step)
        starts.append(first - step / 2)
    return steps[0], 0.0, starts[0], 0.0, steps[1], starts[1]


def _epsg(about: Mapping[str, Any], group: zarr.Group) -> int | None:
    root = dict(group.attrs)
    properties = _nested(_nested(root.get("stac_discovery")).get("properties"))
    other = _nested(root.get("other_metadata"))
    for said in (
        *(facts.get(key) for facts in (about, properties) for key in ("proj:epsg", "proj:code")),
        other.get("horizontal_CRS_code"),
    ):
        if code := code_in(said):
            return code
    return None


def _nested(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def eopf_item(root: str) -> tuple[str, pystac.Item]:
    """Return the level of a product, ``"l1c"`` or ``"l2a"``, and its item.

    ``root`` is the path or URL of the Zarr. Assets are the bands at native resolution, each with its grid, scale, offset
    and nodata. Raise :class:`BrokenError` with the fault of the product.
    """
    root = root.rstrip("/")
    group = _group(root)
    said = _nested(group.attrs.get("stac_discovery"))
    paths = {band: reflectance_path(band) for band in MEASURED}
    try:
        assets = {band: _asset(root, group, band, paths[band]) for band in BANDS}
    except KeyError as error:
        raise BrokenError(f"has no array {error.args[0]}") from None
    # B10 exists only in Level-1C, SCL only in Level-2A.
    for band, path in ((CIRRUS.name, paths[CIRRUS.name]), ("SCL", SCL_PATH)):
        with suppress(KeyError):
            assets[band] = _asset(root, group, band, path)
    code = _epsg({}, group) or _epsg(_nested(assets["B02"].extra_fields), group)
    name = root.rpartition("/")[2].removesuffix(".zarr")
    document: dict[str, Any] = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": as_text(said.get("id")).removesuffix(".SAFE") or name,
        "geometry": said.get("geometry"),
        "bbox": said.get("bbox"),
        "properties": {**_nested(said.get("properties")), "proj:code": code and f"EPSG:{code}"},
        "links": [],
        "assets": {},
    }
    try:
        item = item_of(document, None)
    except BrokenError as error:
        raise BrokenError(f"has a stac_discovery that {error}") from None
    item.set_self_href(root)
    for band, asset in assets.items():
        item.add_asset(band, asset)
    return _level(name, item), item


def _level(name: str, item: pystac.Item) -> str:
    for text in (as_text(item.properties.get("product:type")), item.id, name):
        if found := re.search(r"MSIL?(1C|2A)", text.upper()):
            return f"l{found[1].lower()}"
    raise BrokenError("does not state its level, L1C or L2A")


def _asset(root: str, group: zarr.Group, band: str, path: str) -> pystac.Asset:
    array = _array(group, path)
    gsd = native_gsd(band)
    facts: dict[str, Any] = {
        "gsd": gsd,
        "bands": [{"name": band}],
        "nodata": 0,
        "proj:transform": list(array.transform),
        "proj:shape": list(array.shape),
        "proj:epsg": array.epsg,
    }
    if band in MEASURED:
        if array.packing is None:
            raise BrokenError(f"has no scale_factor and add_offset at {path}")
        scale, offset = array.packing
        facts |= {"data_type": array.dtype, "raster:scale": scale, "raster:offset": offset}
    return pystac.Asset(
        f"{root}/{path}", media_type="application/vnd+zarr", roles=["data"], extra_fields=facts
    )
