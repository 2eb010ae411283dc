"""ESA's products as downloaded: the item for a SAFE folder or its zip, as a catalog would have it.

All facts come from the product's own metadata (MTD_MSIL1C.xml or MTD_MSIL2A.xml, and MTD_TL.xml of its granule), and
none from names of folders. Nothing is unpacked: files in a zip have addresses like ``/PATH.zip!/ENTRY``. Elements are
those of ESA's Product Specification Document (S2-PDGS-TAS-DI-PSD), for products since December 2016 with one granule
each. Level-2A up to 2018 (version 14.2 of the document) has other names for some elements; they follow the present
ones.
"""

import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pystac
import shapely

from s2sharp_core.bands import BANDS, MEASURED, native_gsd

from ..storage.location import Location, on_this_machine, store_errors
from .faults import BrokenError
from .http import read_member
from .metadata import as_number

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

MAX_BYTES = 1 << 24
"""Largest size of a metadata document; real products have at most a tenth of it."""

METADATA = frozenset({"MTD_MSIL1C.xml", "MTD_MSIL2A.xml"})
"""Files that mark a folder as a product."""

_LEVELS = {"l1c": "MTD_MSIL1C.xml", "l2a": "MTD_MSIL2A.xml"}
# In the order of ESA's band ids, which begin at 0.
_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
_OFFSETS = {"l1c": "RADIO_ADD_OFFSET", "l2a": "BOA_ADD_OFFSET"}
_UNITS = {
    "l1c": ("QUANTIFICATION_VALUE",),
    "l2a": ("BOA_QUANTIFICATION_VALUE", "L2A_BOA_QUANTIFICATION_VALUE"),
}
_URIS = ("PRODUCT_URI", "PRODUCT_URI_2A", "PRODUCT_URI_1C")
_IMAGES = ("IMAGE_FILE", "IMAGE_FILE_2A", "IMAGE_ID_2A")
_GRANULES = ("Granule", "Granules")
# No name in a product's metadata may lead out of the product.
_IMAGE = re.compile(
    r"GRANULE/(?P<granule>\w[\w.-]*)/(?P<path>IMG_DATA/(?:R[126]0m/)?\w+?_(?P<band>B\d[\dA]|SCL)"
    r"(?:_(?P<gsd>[126]0)m)?)"
)

Root = Location | zipfile.Path
"""Folder of a product, on a disk, in a store or in a zip."""


def is_safe(path: Location) -> bool:
    """Return whether ``path`` is a SAFE folder, or a zip, which may hold one."""
    return path.suffix.lower() in (".safe", ".zip")


def safe_item(path: Location) -> tuple[str, pystac.Item]:
    """Return the level of a product, ``"l1c"`` or ``"l2a"``, and its item.

    Assets are the bands at native resolution, each with its grid, scale, offset and nodata. ``path`` becomes the
    item's own address. Resampled copies are left out, and so are bands without a file. Raise :class:`BrokenError`
    with the fault of the product.
    """
    try:
        root = _root(path)
        for level, name in _LEVELS.items():
            if (root / name).exists():
                return level, _item(root, str(path), level, _xml(root / name))
    # A zip with a damaged directory raises various errors.
    except zipfile.BadZipFile:
        raise BrokenError("is an incomplete zip, perhaps from an interrupted download") from None
    except store_errors(zipfile.LargeZipFile, ValueError, EOFError) as error:
        raise BrokenError(f"can't be read ({type(error).__name__})") from None
    if re.match(r"S2[A-Z]_OPER_PRD_", path.name):
        raise BrokenError(
            "is a product as they were before December 2016, with many tiles, and is not read: its tiles can be had "
            "reprocessed (Collection 1)"
        )
    raise BrokenError(f"has no {' or '.join(_LEVELS.values())}")


def _root(path: Location) -> Root:
    """Return the folder with the metadata: in a zip, or one level down, where some programs unpack a zip."""
    top: Root = path
    if path.suffix.lower() == ".zip":
        if not on_this_machine(path):
            raise BrokenError("is a zip that is not on this machine")
        if not path.is_file():
            raise BrokenError("is not a regular file")
        top = zipfile.Path(zipfile.ZipFile(path))
    elif not on_this_machine(path) or _is_product(path):
        return path
    inside = [folder for folder in top.iterdir() if folder.is_dir() and _is_product(folder)]
    if len(inside) > 1:
        raise BrokenError(f"holds {len(inside)} products, not one")
    return inside[0] if inside else top


def _is_product(folder: Root) -> bool:
    return any((folder / name).exists() for name in METADATA)


def _xml(file: Root) -> "Element":
    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import ParseError, fromstring

    try:
        text = read_member(file, MAX_BYTES)
    except FileNotFoundError:
        raise BrokenError(f"has no {file.name}, perhaps from an interrupted download") from None
    try:
        # A product's metadata declare no types and no entities; a document that does may be an attack.
        return fromstring(text, forbid_dtd=True)
    except (ParseError, DefusedXmlException, LookupError, ValueError) as error:
        raise BrokenError(
            f"has a {file.name} that is not XML as ESA writes it ({type(error).__name__})"
        ) from None


@dataclass(frozen=True)
class _Image:
    """A file of one band at native resolution: the name of its granule, and its path in the granule."""

    band: str
    gsd: int
    granule: str
    entry: str

    @property
    def ending(self) -> str:
        """Ending of its name, which other bands and resolutions do not share."""
        return self.entry[self.entry.rindex(f"_{self.band}") :]


def _item(root: Root, home: str, level: str, product: "Element") -> pystac.Item:
    images = _images(product, level)
    granule = _granule(root, next(iter(images.values())).granule)
    tile = _xml(granule / "MTD_TL.xml")
    name = _text(product, *_URIS).removesuffix(".SAFE")
    taken = product.find(".//Datatake")
    part = _first(product, *(f"Granule_List/{granule}" for granule in _GRANULES))
    outline = _outline(product)
    properties = {
        "platform": _text(product, "SPACECRAFT_NAME").lower(),
        "constellation": "sentinel-2",
        "instruments": ["msi"],
        "proj:code": _text(tile, "HORIZONTAL_CS_CODE"),
        "eo:cloud_cover": _number(product, "Cloud_Coverage_Assessment"),
        "sat:relative_orbit": _number(product, "SENSING_ORBIT_NUMBER"),
        "s2:product_uri": name,
        "s2:processing_baseline": _text(product, "PROCESSING_BASELINE"),
        "s2:datatake_id": _attribute(taken, "datatakeIdentifier"),
        "s2:datastrip_id": _attribute(part, "datastripIdentifier"),
        "s2:granule_id": _attribute(part, "granuleIdentifier"),
        "s2:generation_time": _text(product, "GENERATION_TIME"),
    }
    item = pystac.Item(
        id=name,
        geometry=shapely.geometry.mapping(outline) if outline else None,
        bbox=list(outline.bounds) if outline else None,
        datetime=_when(_text(product, "PRODUCT_START_TIME")),
        properties={key: value for key, value in properties.items() if value is not None},
    )
    item.set_self_href(home)
    radiometry = _radiometry(product, level)
    for image in images.values():
        if file := _file(granule, image):
            scaling = radiometry.get(image.band)
            item.add_asset(image.band, _asset(file, image, scaling, _grid(tile, image.gsd)))
    return item


def _file(granule: Root, image: _Image) -> Root | None:
    """Return the file of a band; None if it was not downloaded, which only a product on this machine shows for free.

    People rename files, so the only file of the band is accepted under any name. A listed scene classification must
    exist: without it, clouds would pass for clear ground.
    """
    file = granule / image.entry
    if not (isinstance(granule, zipfile.Path) or on_this_machine(granule)) or file.exists():
        return file
    folder = granule / image.entry.rpartition("/")[0]
    inside = folder.iterdir() if folder.is_dir() else ()
    there = [other for other in inside if other.name.endswith(image.ending)]
    if len(there) == 1:
        return there[0]
    return file if image.band == "SCL" else None


def _granule(root: Root, name: str) -> Root:
    """Return the folder of the granule. People shorten its name, so a single folder is accepted under any name."""
    folder = root / "GRANULE" / name
    if (folder / "MTD_TL.xml").exists():
        return folder
    every = root / "GRANULE"
    there = [f for f in every.iterdir() if f.is_dir()] if every.is_dir() else []
    if len(there) != 1:
        raise BrokenError(f"has no folder GRANULE/{name}")
    return there[0]


def _images(product: "Element", level: str) -> dict[str, _Image]:
    """Return the file of each band, at native resolution."""
    found = {}
    for element in _every_image(product):
        entry = (element.text or "").strip()
        said = _IMAGE.fullmatch(entry)
        if said is None:
            continue
        band = said["band"]
        gsd = native_gsd(band)
        if band in (*MEASURED, "SCL") and said["gsd"] in (None, str(gsd)):
            found[band] = _Image(band, gsd, said["granule"], f"{said['path']}.jp2")
    if not found:
        raise BrokenError(
            f"names no image of {level.upper()} by {' or '.join(_IMAGES)}, as products since December 2016 do"
        )
    if len({image.granule for image in found.values()}) > 1:
        raise BrokenError("has several granules, as products before December 2016 have")
    return found


def _every_image(product: "Element") -> Iterator["Element"]:
    for granule in _GRANULES:
        for image in _IMAGES:
            yield from product.iterfind(f".//{granule}/{image}")


def _asset(
    file: Root, image: _Image, scaling: tuple[float, float] | None, grid: dict[str, Any]
) -> pystac.Asset:
    facts: dict[str, Any] = {"gsd": image.gsd, "bands": [{"name": image.band}], "nodata": 0, **grid}
    if scaling is not None:
        scale, offset = scaling
        facts |= {"data_type": "uint16", "raster:scale": scale, "raster:offset": offset}
    address = f"{file.root.filename}!/{file.at}" if isinstance(file, zipfile.Path) else str(file)
    return pystac.Asset(address, media_type="image/jp2", roles=["data"], extra_fields=facts)


def _radiometry(product: "Element", level: str) -> dict[str, tuple[float, float]]:
    """Return scale and offset (in reflectance) of each band; no offset if the product lists none, whatever its
    baseline.

    Products before baseline 04.00 list none, nor do those that a user's Sen2Cor (99.99) made from them.
    """
    unit = next((n for name in _UNITS[level] if (n := _number(product, name)) is not None), None)
    if unit is None or unit <= 0:
        raise BrokenError(f"has no {_UNITS[level][0]}")
    offsets: dict[str, float] = {}
    for element in product.iter(_OFFSETS[level]):
        number, value = element.get("band_id", ""), as_number(element.text)
        if not number.isdecimal() or int(number) >= len(_BANDS) or value is None:
            raise BrokenError(f"has a {_OFFSETS[level]} without a band or a number")
        offsets[_BANDS[int(number)]] = value / unit
    if offsets and (without := [band for band in BANDS if band not in offsets]):
        raise BrokenError(f"has no {_OFFSETS[level]} of {', '.join(without)}")
    return {band: (1 / unit, offsets.get(band, 0.0)) for band in MEASURED}


def _grid(tile: "Element", gsd: int) -> dict[str, Any]:
    """Return transform and shape of a band, as the granule states them."""
    names = ("ULX", "XDIM", "ULY", "YDIM")
    place = tile.find(f".//Geoposition[@resolution='{gsd}']")
    size = tile.find(f".//Size[@resolution='{gsd}']")
    if place is None or size is None:
        raise BrokenError(f"states no grid of {gsd} m in MTD_TL.xml")
    left, step_x, top, step_y = (_number(place, name) for name in names)
    shape = [_number(size, name) for name in ("NROWS", "NCOLS")]
    return {"proj:transform": [step_x, 0.0, left, 0.0, step_y, top], "proj:shape": shape}


def _outline(product: "Element") -> shapely.Polygon | None:
    """Return a footprint, from "latitude longitude latitude …"; None without a valid one: the grid says it, too."""
    element = _first(product, "EXT_POS_LIST")
    words = (element.text or "").split() if element is not None else []
    try:
        numbers = [float(word) for word in words]
        shape = shapely.Polygon(zip(numbers[1::2], numbers[::2], strict=True))
    except (ValueError, shapely.errors.GEOSException):
        return None
    return None if shape.is_empty else shape


def _when(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise BrokenError(f"has the sensing time {text!r}, which is not a time") from None


def _text(root: "Element", *names: str) -> str:
    """Return the text of the first of ``names`` that exists."""
    element = _first(root, *names)
    if element is None or not (text := (element.text or "").strip()):
        raise BrokenError(f"has no {names[0]}")
    return text


def _first(root: "Element", *names: str) -> "Element | None":
    found = (root.find(f".//{name}") for name in names)
    return next((element for element in found if element is not None), None)


def _number(root: "Element", name: str) -> float | None:
    return as_number(root.findtext(f".//{name}"))


def _attribute(element: "Element | None", name: str) -> str | None:
    return None if element is None else element.get(name)
