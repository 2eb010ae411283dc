"""STAC items and a collection of a finished cube and its COGs.

They are written last, and each file atomically: a file with its final name is complete.
"""

import json
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import numpy as np
import pystac
import shapely
from pyproj import CRS, Transformer
from pystac.extensions.eo import Band, EOExtension
from pystac.extensions.file import FileExtension
from pystac.extensions.projection import ProjectionExtension
from pystac.extensions.raster import DataType, RasterBand, RasterExtension, Sampling
from pystac.layout import AsIsLayoutStrategy
from pystac.stac_io import DefaultStacIO
from pystac.utils import str_to_datetime

from s2sharp_core import BANDS, S2SharpError
from s2sharp_core.bands import ERROR90, error_of

from ..catalog.addresses import public
from ..catalog.antimeridian import bounding_box, unwrap, wrap
from ..cube.layout import Bounds, Layout
from ..storage.digests import Digest
from ..storage.files import read_text, write_text
from ..storage.location import Location, place
from .cog_profile import VISUAL, CogProfile, Frame
from .stretch import TRUE_COLOUR

_COPERNICUS = "https://sentinel.esa.int/documents/247904/690755/Sentinel_Data_Legal_Notice"
# pystac has no class for this extension, so its fields are written directly.
PROCESSING = "https://stac-extensions.github.io/processing/v1.1.0/schema.json"
# From STAC's best practices for Zarr (2025); the older `application/vnd+zarr` has an unregistered suffix "zarr".
ZARR = "application/vnd.zarr; version=3"


@dataclass(frozen=True)
class Provenance:
    """Sources of one time step of a cube, and its processing.

    ``id``: the acquisition; ``datetime``: ISO 8601 in UTC; ``cloud_cover``: percent; ``sources``: id and address of each
    source item; ``weights``: file → sha256; ``software``: version of s2sharp; ``sensor``: fields of its
    :class:`~s2sharp_core.Sensor`, None where no band was sharpened.
    """

    id: str
    datetime: str
    platform: str | None
    cloud_cover: float | None
    sources: tuple[tuple[str, str | None], ...]
    method: str
    weights: dict[str, str]
    precision: str
    software: str
    sensor: Mapping[str, Any] | None = None


def stac_item(
    out: Location,
    layout: Layout,
    time: int,
    name: str,
    cogs: Mapping[str, Location],
    provenance: Provenance,
    thumbnail: Location | None = None,
    digests: Mapping[str, Digest] = MappingProxyType({}),
    before_after: Location | None = None,
) -> pystac.Item:
    """Describe one time step of a cube as an item of STAC 1.1.

    The item has the extensions projection, eo, raster and processing, and links to the source items, without signatures
    or credentials. Hrefs of assets are relative to ``out/stac/items/NAME.json``, where :func:`write_collection` writes
    the item.

    ``cogs``: files from :func:`write_cogs` for the same ``time`` and ``name``. ``digests``: variable → size and digest of
    its COG, where known. ``thumbnail`` and ``before_after``: pictures below ``out``.
    """
    geometry, bbox = footprint(layout.asked, layout.crs)
    when = str_to_datetime(provenance.datetime)
    when = when.replace(tzinfo=when.tzinfo or UTC)
    item = pystac.Item(name, geometry, bbox, when, _processing(provenance))
    item.stac_extensions.append(PROCESSING)
    item.set_self_href(str(out.absolute() / "stac" / "items" / f"{name}.json"))
    _common(item, provenance)
    ProjectionExtension.ext(item, add_if_missing=True).apply(
        code=f"EPSG:{layout.epsg}", bbox=list(layout.lattice.bounds(layout.area))
    )
    if provenance.cloud_cover is not None:
        EOExtension.ext(item, add_if_missing=True).cloud_cover = provenance.cloud_cover
    for source, href in provenance.sources:
        if href is not None:
            link = pystac.Link("derived_from", public(href), "application/geo+json", source)
            item.add_link(link)
    _add_assets(item, out, layout, time, cogs, digests)
    _add_shown(item, "thumbnail", "Small picture", thumbnail)
    _add_shown(item, "overview", "Before and after", before_after)
    return item


def footprint(bounds: Bounds, crs: CRS) -> tuple[dict[str, Any], list[float]]:
    """Return the footprint of an area in longitude and latitude, counterclockwise with a corner at least every 10 km, and
    its bbox.
    """
    left, bottom, right, top = bounds
    far = 0.1 if crs.is_geographic else 10_000 / crs.axis_info[0].unit_conversion_factor
    across = np.linspace(0, 1, max(2, int((right - left) // far) + 2))[:-1]
    up = np.linspace(0, 1, max(2, int((top - bottom) // far) + 2))[:-1]
    corners = [(left, bottom), (right, bottom), (right, top), (left, top), (left, bottom)]
    edges = zip(corners[:-1], corners[1:], (across, up, across, up), strict=True)
    xy = [(x0 + t * (x1 - x0), y0 + t * (y1 - y0)) for (x0, y0), (x1, y1), ts in edges for t in ts]
    to_degrees = Transformer.from_crs(crs, 4326, always_xy=True)
    x, y = np.transpose([*xy, xy[0]])
    lonlat = np.stack(to_degrees.transform(x, y), axis=1)
    # A corner may lie outside the projection's domain.
    ring = np.round(lonlat[np.isfinite(lonlat).all(axis=1)], 7).tolist()
    west, south = np.min(ring, axis=0).tolist()
    east, north = np.max(ring, axis=0).tolist()
    if east - west > 180:
        cut = wrap(unwrap(shapely.Polygon(ring)))
        return shapely.geometry.mapping(cut), list(bounding_box(cut))
    return {"type": "Polygon", "coordinates": [ring]}, [west, south, east, north]


def _processing(provenance: Provenance) -> dict[str, Any]:
    """Return the fields of the processing extension, and s2sharp's own."""
    facts = {
        "processing:lineage": f"Bands of 20 m and 60 m of {provenance.id} sharpened to 10 m with "
        f"{provenance.method} by s2sharp {provenance.software} in {provenance.precision}; bands of "
        "10 m are copied.",
        "processing:software": {"s2sharp": provenance.software},
        "s2sharp:acquisition": provenance.id,
        "s2sharp:method": provenance.method,
        "s2sharp:precision": provenance.precision,
        "s2sharp:sources": [source for source, _ in provenance.sources],
        "s2sharp:weights": dict(provenance.weights),
    }
    return facts if provenance.sensor is None else {**facts, "s2sharp:sensor": provenance.sensor}


def _common(item: pystac.Item, provenance: Provenance) -> None:
    common = item.common_metadata
    if provenance.platform is None or provenance.platform.lower().startswith("sentinel-2"):
        common.constellation, common.instruments = "sentinel-2", ["msi"]
    if provenance.platform is not None:
        common.platform = provenance.platform.lower()
    common.gsd = 10
    common.updated = datetime.now(UTC).replace(microsecond=0)
    common.created = _first_published(place(item.self_href)) or common.updated


def _first_published(file: Location) -> datetime | None:
    """Return the creation time of an existing item, or None."""
    try:
        return str_to_datetime(json.loads(read_text(file))["properties"]["created"])
    except (FileNotFoundError, ValueError, KeyError):
        return None


def _add_assets(
    item: pystac.Item,
    out: Location,
    layout: Layout,
    time: int,
    cogs: Mapping[str, Location],
    digests: Mapping[str, Digest],
) -> None:
    roles = {variable: ["data", "reflectance"] for variable in BANDS}
    roles |= {"cloud": ["cloud", "classification"], "valid": ["data-mask"], "visual": ["visual"]}
    roles |= {error_of(band): ["data", "uncertainty"] for band in BANDS}
    frame = Frame.of(layout)
    for variable, path in cogs.items():
        raster = VISUAL if variable == "visual" else CogProfile.of(variable)
        asset = pystac.Asset(relative(item, path), _title(variable), roles=roles[variable])
        add_picture(item, asset, frame, variable, raster, digests.get(variable))
    store = pystac.Asset(
        relative(item, out / "cube.zarr" / layout.group),
        "Datacube, all times",
        None,
        ZARR,
        ["data"],
    )
    store.extra_fields["s2sharp:time"] = layout.times[time]
    item.add_asset("cube", store)


def _add_shown(item: pystac.Item, name: str, title: str, picture: Location | None) -> None:
    """Add a preview picture, if there is one; its name is its role."""
    if picture is not None:
        kind = pystac.MediaType.PNG if picture.suffix == ".png" else pystac.MediaType.JPEG
        asset = pystac.Asset(relative(item, picture), title, media_type=kind, roles=[name])
        item.add_asset(name, asset)


def relative(item: pystac.Item, path: Location) -> str:
    """Return a path relative to an item in the same folder or store."""
    return posixpath.relpath(str(path.absolute()), posixpath.dirname(item.self_href))


_TITLES = {
    "cloud": "Scene classification",
    "valid": "Mask of pixels with data",
    "visual": "True colour, 10 m",
}


def _title(variable: str) -> str:
    if variable.endswith(ERROR90):
        return f"{variable.removesuffix(ERROR90)}, half-width of its 90 % interval"
    if variable not in BANDS:
        return _TITLES[variable]
    gsd = BANDS[variable].gsd
    return f"{variable}, 10 m" + ("" if gsd == 10 else f", sharpened from {gsd} m")


def add_picture(
    item: pystac.Item,
    asset: pystac.Asset,
    frame: Frame,
    variable: str,
    raster: CogProfile,
    digest: Digest | None = None,
) -> None:
    """Add a COG to an item, with its grid, data type, scale and bands.

    Core fields of STAC 1.1 (``bands``, ``data_type``, ``nodata``) are written beside those of the older extensions that
    pystac writes and most readers know (``eo:bands``, ``raster:bands``).
    """
    asset.media_type = pystac.MediaType.COG
    item.add_asset(variable, asset)
    shown = TRUE_COLOUR if raster.channels > 1 else (variable,)
    asset.extra_fields |= {
        "bands": [{"name": name, "description": raster.description} for name in shown],
        "data_type": raster.dtype,
        "nodata": raster.nodata,
    }
    if digest is not None:
        # A multihash in hexadecimal: 12 means SHA-256, 20 its length of 32 bytes.
        FileExtension.ext(asset, add_if_missing=True).apply(
            size=digest.size, checksum=f"1220{digest.sha256}"
        )
    grid = ProjectionExtension.ext(asset)  # not .apply(): its default would unset the item's code
    grid.shape = list(frame.shape)
    grid.transform = list(frame.transform)
    pixels = RasterBand.create(
        nodata=raster.nodata,
        sampling=Sampling.AREA,
        data_type=DataType(raster.dtype),
        spatial_resolution=frame.pixel,
        scale=raster.scale if raster.scale != 1 else None,
        offset=0 if raster.scale != 1 else None,
    )
    RasterExtension.ext(asset, add_if_missing=True).bands = [pixels] * raster.channels
    if variable in BANDS:
        asset.extra_fields["s2sharp:native_gsd"] = BANDS[variable].gsd
    if set(shown) <= set(BANDS):
        EOExtension.ext(asset, add_if_missing=True).bands = [_spectral(name) for name in shown]


def _spectral(band: str) -> Band:
    about = BANDS[band]
    # Version 1.1 of the extension has one name for all red edge bands; version 2 has one for each.
    common_name = "rededge" if about.common_name.startswith("rededge") else about.common_name
    return Band.create(
        band,
        common_name,
        center_wavelength=round(about.wavelength / 1000, 4),
        full_width_half_max=round(about.bandwidth / 1000, 4),
    )


class _AtomicIO(DefaultStacIO):
    """Atomic writing, so that neither a reader nor the next run sees half a JSON document."""

    def write_text_to_href(self, href: str, txt: str) -> None:
        write_text(place(href), txt)


def write_collection(
    out: Location,
    items: Sequence[pystac.Item],
    description: str,
    title: str = "Sentinel-2 bands sharpened to 10 m",
) -> Location:
    """Write ``out/stac/collection.json`` and its items, self-contained: the folder can be moved.

    The items are written first and the collection last, so that it never names a missing item.

    ``items``: all items of the collection, from :func:`stac_item`. Error: ``nothing-published`` without items: a
    collection must have an extent.
    """
    if not items:
        raise S2SharpError(
            "nothing-published",
            f"{out} has no item to publish.",
            "Run it for an area and dates that have data.",
        )
    collection = pystac.Collection(
        id=out.absolute().name or "s2sharp",
        description=description,
        extent=pystac.Extent.from_items(items),
        title=title,
        license="other",
        keywords=["sentinel-2", "sharpening", "super-resolution"],
        catalog_type=pystac.CatalogType.SELF_CONTAINED,
    )
    if any(item.common_metadata.constellation == "sentinel-2" for item in items):
        roles = [pystac.ProviderRole.PRODUCER, pystac.ProviderRole.LICENSOR]
        copernicus = pystac.Provider(
            "Copernicus", roles=roles, url="https://dataspace.copernicus.eu"
        )
        collection.providers = [copernicus]
        terms = "Terms of Copernicus Sentinel data"
        collection.add_link(pystac.Link("license", _COPERNICUS, title=terms))
    path = out.absolute() / "stac" / "collection.json"
    collection.set_self_href(str(path))
    collection.add_items(items, strategy=AsIsLayoutStrategy())
    collection.save(stac_io=_AtomicIO())
    return path
