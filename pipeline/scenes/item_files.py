"""Items of a search, frozen as stac-geoparquet with everything that a run reads of them, and without secrets.

The file has one schema for all archives: the chosen assets under ESA's names, with their grid from the item or from
its files. So grouping it again gives the same acquisitions without a request.
"""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pystac
import shapely

from s2sharp_core.bands import MEASURED, native_gsd
from s2sharp_core.lattice import Lattice

from ..catalog.access import FREE, Access
from ..catalog.antimeridian import bounding_box, degrees_around, unwrap, wrap
from ..catalog.metadata import FACTS, PROPERTIES, as_flag, as_number, as_text, time_in
from ..catalog.sources import WAYS, Offer, Source, offers
from .acquisition import Acquisition, Choice, Found, found_in, join
from .scene import Refusal, Scene

ROWS = 512
"""Number of items in memory at once, and in one row group of the file."""

_TIME = pa.timestamp("us", tz="UTC")
_TIMES = ("datetime", "start_datetime", "end_datetime", "created", "updated")
_TYPES = {str: pa.string(), float: pa.float64(), bool: pa.bool_()}
_ASSET = pa.struct(
    {
        "href": pa.string(),
        "type": pa.string(),
        "auth:refs": pa.list_(pa.string()),
        "roles": pa.list_(pa.string()),
        "bands": pa.list_(pa.struct({"name": pa.string()})),
        "proj:transform": pa.list_(pa.float64()),
        "proj:shape": pa.list_(pa.int64()),
        **{name: _TYPES[kind] for name, kind in FACTS.items()},
    }
)
_LINK = pa.struct({"rel": pa.string(), "href": pa.string()})
_SCHEMA = pa.schema(
    {
        "type": pa.string(),
        "stac_version": pa.string(),
        "stac_extensions": pa.list_(pa.string()),
        "id": pa.string(),
        "geometry": pa.binary(),
        "bbox": pa.struct(dict.fromkeys(("xmin", "ymin", "xmax", "ymax"), pa.float64())),
        "links": pa.list_(_LINK),
        "assets": pa.struct(dict.fromkeys((*MEASURED, "SCL"), _ASSET)),
        "collection": pa.string(),
        **dict.fromkeys(_TIMES, _TIME),
        "proj:code": pa.string(),
        **{name: _TYPES[kind] for name, kind in PROPERTIES.items()},
    }
)
_EXTENSIONS = [
    f"https://stac-extensions.github.io/{name}/schema.json"
    for name in ("authentication/v1.1.0", "eo/v2.0.0", "projection/v2.0.0", "raster/v2.0.0")
]


def write_items(
    path: Path,
    items: Iterable[pystac.Item],
    bands: Sequence[str],
    catalog: str,
    access: Access = FREE,
) -> tuple[list[Acquisition], list[Refusal], list[Choice]]:
    """Write the facts that :func:`~s2sharp.scenes.acquisition.group` reads of ``items``, atomically, and group them.

    Parameters and results are those of `group`; the scene classification is stored beside ``bands``. Items that are
    refused by themselves are not written. Items that share files with others are written, and refused again later.
    """
    from stac_geoparquet.arrow import to_parquet

    found: list[Found] = []
    refused: list[Refusal] = []
    broken: list[Exception] = []

    def rows() -> Iterator[dict[str, Any]]:
        for item, one in found_in(items, bands, catalog, access, refused):
            found.append(one)
            yield _row(item, one.epsg, one.scene, offers(item, (*bands, "SCL")))

    def batches() -> Iterator[pa.RecordBatch]:
        every = rows()
        try:
            while batch := list(islice(every, ROWS)):
                yield pa.RecordBatch.from_pylist(batch, schema=_SCHEMA)
        except Exception as error:  # otherwise Arrow wraps it in an error of its own
            broken.append(error)

    reader = pa.RecordBatchReader.from_batches(_SCHEMA, batches())
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        draft = Path(folder, path.name)
        to_parquet(reader, draft, compression="zstd")
        if broken:
            raise broken[0]
        draft.replace(path)
    acquisitions, more, choices = join(found)
    return acquisitions, refused + more, choices


def _row(item: pystac.Item, code: int, scene: Scene, chosen: dict[str, Offer]) -> dict[str, Any]:
    shape = _footprint(item, code, scene)
    west, south, east, north = bounding_box(wrap(shape))
    said, files = item.properties, (*scene.sources, *([scene.scl] if scene.scl else []))
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": _EXTENSIONS,
        "id": _clean(item.id),
        "geometry": shapely.to_wkb(shape),
        "bbox": {"xmin": west, "ymin": south, "xmax": east, "ymax": north},
        "links": [{"rel": "self", "href": _clean(scene.href)}] if scene.href else [],
        "assets": {file.band: _asset(file, chosen[file.band], code, scene) for file in files},
        "collection": _clean(item.collection_id or ""),
        "datetime": item.datetime,
        **{key: time_in(said.get(key)) for key in _TIMES[1:]},
        "proj:code": f"EPSG:{code}",
        **{key: _typed(said.get(key), kind) for key, kind in PROPERTIES.items()},
    }


def _asset(file: Source, offer: Offer, code: int, scene: Scene) -> dict[str, Any]:
    gsd = native_gsd(file.band)
    return {
        "href": _clean(file.href),
        "auth:refs": [file.sign] if file.sign in WAYS[1:] else None,
        "type": _typed(offer.asset.media_type, str),
        "roles": ["data"],
        "bands": [{"name": file.band}],
        "proj:transform": list(Lattice.of(code).transform(scene.box, gsd)),
        "proj:shape": list(scene.box.pixels(gsd)),
        **{
            key: _typed(offer.facts.get(key.removeprefix("raster:")), kind)
            for key, kind in FACTS.items()
        },
    }


def _footprint(item: pystac.Item, code: int, scene: Scene) -> shapely.Geometry:
    """Return the item's footprint, or the whole of its grid if the footprint is invalid."""
    try:
        shape = unwrap(shapely.geometry.shape(item.geometry))
        if np.isfinite(shapely.bounds(shape)).all():
            return shape
    except Exception:  # noqa: S110 - shapely, GEOS and malformed JSON each have their own
        pass
    return shapely.box(*degrees_around(code, Lattice.of(code).bounds(scene.box)))


def _typed(value: Any, kind: type) -> Any:
    """Return ``value`` if it is of that kind, in any spelling."""
    if kind is bool:
        return as_flag(value)
    return as_number(value) if kind is float else _clean(as_text(value)) or None


def _clean(text: str) -> str:
    """Return text that UTF-8 can encode; JSON may hold other text."""
    return text.encode("utf-8", "replace").decode()
