"""COGs for desktops and a STAC catalogue for everybody else, made from a finished cube.

Written last, and each file whole or not at all: what has its final name is whole.
"""

import json
import posixpath
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import pystac
import rasterio
import shapely
import zarr
from pyproj import CRS, Transformer
from pystac.extensions.eo import Band, EOExtension
from pystac.extensions.projection import ProjectionExtension
from pystac.extensions.raster import DataType, RasterBand, RasterExtension, Sampling
from pystac.layout import AsIsLayoutStrategy
from pystac.stac_io import DefaultStacIO
from pystac.utils import str_to_datetime
from rasterio._err import CPLE_BaseError  # GDAL's own errors, where rasterio does not wrap them
from rasterio.errors import RasterioError
from rasterio.windows import Window

from s2sharp_core import BANDS, S2SharpError
from s2sharp_core.bands import ERROR90, error_of

from .archives import public
from .cube import FILL, LAYERS, SCALE, Bounds, Layout, error_layers
from .globe import around, rolled, unrolled
from .place import Place, place, put, read_text, remove, store_errors, write_text, zarr_store

__all__ = [
    "PROCESSING",
    "ZARR",
    "Frame",
    "Provenance",
    "Raster",
    "add_picture",
    "footprint",
    "relative",
    "stac_item",
    "write_catalog",
    "write_cogs",
    "write_pictures",
]

_TILE = 512
# Enough for the tiles of a shard's row of blocks; GDAL's default is a share of the machine's memory.
_CACHE_MB = 128
_PARTIAL = ".partial-"
_COPERNICUS = "https://sentinel.esa.int/documents/247904/690755/Sentinel_Data_Legal_Notice"

# pystac has no class for this extension: its fields are written as they are.
PROCESSING = "https://stac-extensions.github.io/processing/v1.1.0/schema.json"

# STAC's practices for Zarr (2025); the older `application/vnd+zarr` claims a suffix "zarr" that nobody registered.
ZARR = "application/vnd.zarr; version=3"


@dataclass(frozen=True)
class Provenance:
    """What one time step of a cube was made from, and how.

    ``id``: the acquisition; ``datetime``: ISO 8601 in UTC; ``cloud_cover``: percent; ``sources``: id
    and address of each source item; ``weights``: file → sha256; ``software``: version of s2sharp; ``sensor``: the fields of
    the :class:`~s2sharp_core.Sensor` that it was seen with, None where nothing was sharpened.
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


@dataclass(frozen=True)
class Raster:
    """What a COG of one variable says about its pixels."""

    dtype: str
    nodata: int
    scale: float
    description: str
    overviews: Literal["average", "mode", "rms"]

    @classmethod
    def of(cls, variable: str) -> "Raster":
        if variable in BANDS:
            about = f"{variable} reflectance, {BANDS[variable].wavelength:.0f} nm"
            return cls("int16", FILL, SCALE, about, "average")
        if variable.endswith(ERROR90):
            (layer,) = error_layers([variable.removesuffix(ERROR90)]).values()
            # Overviews of a file as those of the cube.
            return cls(layer[0], 0, SCALE, layer[1], "rms")
        dtype, about, _ = LAYERS[variable]
        return cls(dtype, 0, 1.0, about, "mode")


@dataclass(frozen=True)
class Frame:
    """Where a picture lies, and how it is copied from an array.

    ``crs``: EPSG:… or WKT; ``pixel``: its side in the CRS's units; ``corner``: the upper left one, (x, y);
    ``shape``: (height, width); ``parts``: pixels of the array, and their window in the picture.
    """

    crs: str
    pixel: float
    corner: tuple[float, float]
    shape: tuple[int, int]
    parts: tuple[tuple[tuple[slice, slice], Window], ...]

    @classmethod
    def of(cls, layout: Layout) -> "Frame":
        """The area that was asked for, shard by shard."""
        parts = []
        for row, col in np.ndindex(layout.shards()):
            part = layout.cells(row, col) & layout.area
            if not part.empty:
                window = Window.from_slices(*layout.area.slices(part, 10))
                parts.append((layout.box.slices(part, 10), window))
        left, _, _, top = layout.asked
        shape = layout.area.pixels(10)
        return cls(f"EPSG:{layout.epsg}", layout.pixel, (left, top), shape, tuple(parts))

    @property
    def transform(self) -> rasterio.Affine:
        (left, top), side = self.corner, self.pixel
        return rasterio.Affine(side, 0.0, left, 0.0, -side, top)


def write_cogs(out: Place, layout: Layout, time: int, name: str) -> dict[str, Place]:
    """Write one Cloud Optimized GeoTIFF per band of the area that was asked for.

    Parameters
    ----------
    out
        The run's folder; the cube is its ``cube.zarr``.
    time
        Index into ``layout.times``.
    name
        The item's name: the files are ``out/cogs/NAME/BAND.tif``. Those already there are replaced. For an
        object store they are made in this machine's temporary folder, one at a time.

    Returns
    -------
    dict
        Band → file; and ``cloud``, where the product had a scene classification; and the half-widths of a run with
        --error90.

    Raises
    ------
    S2SharpError
        ``store-unwritable``: a disk that is full, for example. No file has its final name then but whole
        ones.
    """
    # As it is written: what readers go by knows a date that was added only when the run has ended.
    cube = zarr.open_group(
        zarr_store(out / "cube.zarr"), path=layout.group, mode="r", use_consolidated=False
    )
    errors = error_layers(layout.bands) if layout.error90 else ()
    rasters = {name: Raster.of(name) for name in (*layout.bands, "cloud", *errors)}
    return write_pictures(dict(cube.arrays()), time, Frame.of(layout), out / "cogs" / name, rasters)


def write_pictures(
    arrays: "Mapping[str, zarr.Array[Any]]",
    time: int,
    frame: Frame,
    folder: Place,
    rasters: Mapping[str, Raster],
) -> dict[str, Place]:
    """Write a COG, ``folder/VARIABLE.tif``, for each of ``rasters`` but layers that hold nothing.

    Raises
    ------
    S2SharpError
        ``store-unwritable``.
    """
    if isinstance(folder, Path):
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(f"{_PARTIAL}*"):
            shutil.rmtree(leftover, ignore_errors=True)
    written = {}
    for variable, raster in rasters.items():
        target = folder / f"{variable}.tif"
        try:
            if _write_cog(arrays[variable], time, frame, target, raster):
                written[variable] = target
        except store_errors(RasterioError, CPLE_BaseError) as error:
            raise S2SharpError(
                "store-unwritable",
                f"{target} could not be written: {str(error.__cause__ or error).rstrip('.')}.",
                "See whether the disk is full; the same command goes on from here.",
            ) from error
    return written


def _write_cog(
    array: zarr.Array[Any], time: int, frame: Frame, target: Place, raster: Raster
) -> bool:
    """Write one COG; none for a layer that holds nothing."""
    beside = target.parent if isinstance(target, Path) else None
    with TemporaryDirectory(prefix=_PARTIAL, dir=beside) as scratch:
        raw, cog = Path(scratch) / "raw.tif", Path(scratch) / "cog.tif"
        with rasterio.Env(GDAL_CACHEMAX=_CACHE_MB):
            anything = _copy(array, time, frame, raw, raster)
            if not anything and target.stem not in BANDS:
                remove(target)
                return False
            _translate(raw, cog, raster)
        put(cog, target)
    return True


def _copy(array: zarr.Array[Any], time: int, frame: Frame, raw: Path, raster: Raster) -> bool:
    """Copy into a tiled GeoTIFF, one part in memory at a time; whether it holds anything."""
    height, width = frame.shape
    anything = False
    with rasterio.open(
        raw,
        "w",
        driver="GTiff",
        width=width,
        height=height,
        count=1,
        dtype=raster.dtype,
        nodata=raster.nodata,
        crs=frame.crs,
        transform=frame.transform,
        tiled=True,
        blockxsize=_TILE,
        blockysize=_TILE,
        BIGTIFF="IF_SAFER",
    ) as file:
        for (rows, cols), window in frame.parts:
            pixels = np.asarray(array[time, rows, cols])
            file.write(pixels, 1, window=window)
            anything = anything or bool((pixels != raster.nodata).any())
        file.scales, file.offsets = (raster.scale,), (0.0,)
        file.descriptions = (raster.description,)
    return anything


def _translate(raw: Path, cog: Path, raster: Raster) -> None:
    from rio_cogeo.cogeo import cog_translate
    from rio_cogeo.profiles import cog_profiles

    # DEFLATE: every GDAL reads it. Differences of neighbours (predictor 2) suit integers.
    profile = {**cog_profiles["deflate"], "predictor": 2, "BIGTIFF": "IF_SAFER"}
    cog_translate(
        raw,
        cog,
        profile,
        overview_resampling=raster.overviews,
        in_memory=False,
        config={"GDAL_TIFF_OVR_BLOCKSIZE": str(_TILE), "GDAL_CACHEMAX": _CACHE_MB},
        quiet=True,
    )


def stac_item(
    out: Place,
    layout: Layout,
    time: int,
    name: str,
    cogs: Mapping[str, Place],
    provenance: Provenance,
    thumbnail: Place | None = None,
) -> pystac.Item:
    """Describe one time step of a cube as an item of STAC 1.1.

    It carries the extensions projection, eo, raster and processing, and links to the source items
    without what signs or authenticates their addresses. Hrefs of assets are relative to
    ``out/stac/items/NAME.json``, where :func:`write_catalog` writes it.

    Parameters
    ----------
    cogs
        What :func:`write_cogs` returned for the same ``time`` and ``name``.
    thumbnail
        A PNG below ``out``.
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
    _add_assets(item, out, layout, time, cogs, thumbnail)
    return item


def footprint(bounds: Bounds, crs: CRS) -> tuple[dict[str, Any], list[float]]:
    """An area in longitude and latitude, counterclockwise, a corner every 10 km at least; and its box."""
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
    # A corner may lie beyond what a projection shows of the Earth.
    ring = np.round(lonlat[np.isfinite(lonlat).all(axis=1)], 7).tolist()
    west, south = np.min(ring, axis=0).tolist()
    east, north = np.max(ring, axis=0).tolist()
    if east - west > 180:
        cut = rolled(unrolled(shapely.Polygon(ring)))
        return shapely.geometry.mapping(cut), list(around(cut))
    return {"type": "Polygon", "coordinates": [ring]}, [west, south, east, north]


def _processing(provenance: Provenance) -> dict[str, Any]:
    """How it was made: the fields of the processing extension, and s2sharp's own."""
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


def _first_published(file: Place) -> datetime | None:
    """When an item that is already there was created."""
    try:
        return str_to_datetime(json.loads(read_text(file))["properties"]["created"])
    except (FileNotFoundError, ValueError, KeyError):
        return None


def _add_assets(
    item: pystac.Item,
    out: Place,
    layout: Layout,
    time: int,
    cogs: Mapping[str, Place],
    thumbnail: Place | None,
) -> None:
    roles = {variable: ["data", "reflectance"] for variable in BANDS}
    roles["cloud"] = ["cloud", "classification"]
    roles |= {error_of(band): ["data", "uncertainty"] for band in BANDS}
    frame = Frame.of(layout)
    for variable, path in cogs.items():
        asset = pystac.Asset(relative(item, path), _title(variable), roles=roles[variable])
        add_picture(item, asset, frame, variable, Raster.of(variable))
    store = pystac.Asset(
        relative(item, out / "cube.zarr" / layout.group),
        "Datacube, all times",
        None,
        ZARR,
        ["data"],
    )
    store.extra_fields["s2sharp:time"] = layout.times[time]
    item.add_asset("cube", store)
    if thumbnail is not None:
        item.add_asset(
            "thumbnail",
            pystac.Asset(
                relative(item, thumbnail),
                "Before and after",
                media_type=pystac.MediaType.PNG,
                roles=["thumbnail"],
            ),
        )


def relative(item: pystac.Item, path: Place) -> str:
    """A path as it is seen from where an item is written, in the same folder or store."""
    return posixpath.relpath(str(path.absolute()), posixpath.dirname(item.self_href))


def _title(variable: str) -> str:
    if variable.endswith(ERROR90):
        return f"{variable.removesuffix(ERROR90)}, half-width of its 90 % interval"
    if variable not in BANDS:
        return "Scene classification"
    gsd = BANDS[variable].gsd
    return f"{variable}, 10 m" + ("" if gsd == 10 else f", sharpened from {gsd} m")


def add_picture(
    item: pystac.Item, asset: pystac.Asset, frame: Frame, variable: str, raster: Raster
) -> None:
    """Add a COG to an item, and say where it lies, what its numbers mean and which light it shows.

    Core fields of STAC 1.1 (``bands``, ``data_type``, ``nodata``) stand beside those of the extensions'
    versions that pystac's classes write and most readers know (``eo:bands``, ``raster:bands``).
    """
    asset.media_type = pystac.MediaType.COG
    item.add_asset(variable, asset)
    asset.extra_fields |= {
        "bands": [{"name": variable, "description": raster.description}],
        "data_type": raster.dtype,
        "nodata": raster.nodata,
    }
    grid = ProjectionExtension.ext(asset)  # not .apply(): its default would unset the item's code
    grid.shape = list(frame.shape)
    grid.transform = list(frame.transform)[:6]
    pixels = RasterBand.create(
        nodata=raster.nodata,
        sampling=Sampling.AREA,
        data_type=DataType(raster.dtype),
        spatial_resolution=frame.pixel,
        scale=raster.scale if raster.scale != 1 else None,
        offset=0 if raster.scale != 1 else None,
    )
    RasterExtension.ext(asset, add_if_missing=True).bands = [pixels]
    if variable in BANDS:
        asset.extra_fields["s2sharp:native_gsd"] = BANDS[variable].gsd
        EOExtension.ext(asset, add_if_missing=True).bands = [_spectral(variable)]


def _spectral(band: str) -> Band:
    about = BANDS[band]
    # Version 1.1 of the extension knows one name for all red edges; version 2 has one for each.
    common_name = "rededge" if about.common_name.startswith("rededge") else about.common_name
    return Band.create(
        band,
        common_name,
        center_wavelength=round(about.wavelength / 1000, 4),
        full_width_half_max=round(about.bandwidth / 1000, 4),
    )


class _AtomicIO(DefaultStacIO):
    """Files appear whole: a reader, or the next run, never meets half a JSON document."""

    def write_text_to_href(self, href: str, txt: str) -> None:
        write_text(place(href), txt)


def write_catalog(
    out: Place,
    items: Sequence[pystac.Item],
    description: str,
    title: str = "Sentinel-2 bands sharpened to 10 m",
) -> Place:
    """Write ``out/stac/collection.json`` and its items, self-contained: the folder can be moved.

    The items are written first and the collection last, so that it never names one that is missing.

    Parameters
    ----------
    items
        All items the collection shall have, from :func:`stac_item`.

    Raises
    ------
    S2SharpError
        ``nothing-published`` without items: a collection must have an extent.
    """
    if not items:
        raise S2SharpError(
            "nothing-published",
            f"There is no item to write a catalogue of in {out}.",
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
        _credit(collection)
    path = out.absolute() / "stac" / "collection.json"
    collection.set_self_href(str(path))
    collection.add_items(items, strategy=AsIsLayoutStrategy())
    collection.save(stac_io=_AtomicIO())
    return path


def _credit(collection: pystac.Collection) -> None:
    roles = [pystac.ProviderRole.PRODUCER, pystac.ProviderRole.LICENSOR]
    collection.providers = [
        pystac.Provider("Copernicus", roles=roles, url="https://dataspace.copernicus.eu")
    ]
    collection.add_link(
        pystac.Link("license", _COPERNICUS, title="Terms of Copernicus Sentinel data")
    )
