"""stac-geoparquet: a catalogue in one file, read a part at a time.

The format is that of the stac-geoparquet specification 1.0: an item a row, its properties as columns,
its geometry as WKB, its bbox and assets as structs.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from .degrees import Degrees

__all__ = ["collections", "documents", "everything"]

ROWS = 512
"""Items that are held at once."""

_CORE = ("stac_version", "stac_extensions", "id", "bbox", "collection", "links")
_NEEDED = ("id", "bbox", "geometry", "assets")
# What runs write, and most others; with less to load than others take.
_TIME, _EPOCH = pa.timestamp("us", "UTC"), datetime(1970, 1, 1)
Interval = tuple[datetime | None, datetime | None]


def documents(
    file: BinaryIO, collection: str, boxes: Sequence[Degrees], interval: Interval
) -> Iterator[dict[str, Any]]:
    """The items, as STAC documents, that may touch one of ``boxes`` and ``interval``.

    Parts of the file whose statistics rule that out are not read; what is yielded has a bbox that touches and
    a time that may; footprints are for the caller to judge.

    Raises
    ------
    ValueError
        When ``file`` is no stac-geoparquet (``pyarrow.ArrowInvalid`` is one).
    """
    source = _opened(file)
    for number in range(source.num_row_groups):
        if not _possible(source.metadata.row_group(number), collection, boxes, interval):
            continue
        for batch in source.iter_batches(ROWS, row_groups=[number]):
            yield from _rows(batch.filter(_matching(batch, collection, boxes, interval)))


def everything(file: BinaryIO) -> Iterator[dict[str, Any]]:
    """All items, as STAC documents. Nothing is compared, for which Arrow would load pandas.

    Raises
    ------
    ValueError
        As of :func:`documents`.
    """
    for batch in _opened(file).iter_batches(ROWS):
        yield from _rows(batch)


def _opened(file: BinaryIO) -> pq.ParquetFile:
    source = pq.ParquetFile(file, pre_buffer=True)
    missing = [name for name in _NEEDED if name not in source.schema_arrow.names]
    if missing:
        raise ValueError(f"has no column {', '.join(missing)}")
    return source


def collections(file: BinaryIO) -> list[str]:
    """The ids of the collections whose items a file has."""
    source = pq.ParquetFile(file)
    found: set[str] = set()
    for number in range(source.num_row_groups):
        least, most = _ranges(source.metadata.row_group(number)).get("collection", (None, ""))
        if least == most:
            found.add(least)
        elif "collection" in source.schema_arrow.names:
            column = source.read_row_group(number, columns=["collection"])["collection"]
            found |= set(column.unique().to_pylist())
    return sorted(name for name in found if name)


def _ranges(group: Any) -> dict[str, tuple[Any, Any]]:
    """Column → its least and greatest value in a row group, where that is told."""
    columns = [group.column(index) for index in range(group.num_columns)]
    return {
        column.path_in_schema: (column.statistics.min, column.statistics.max)
        for column in columns
        if column.statistics is not None and column.statistics.has_min_max
    }


def _possible(group: Any, collection: str, boxes: Sequence[Degrees], interval: Interval) -> bool:
    """Whether the statistics of a row group leave room for a match; without any, they do."""
    ranges = _ranges(group)

    def between(low: str, high: str, first: Any, last: Any) -> bool:
        """Whether values from column ``low`` to column ``high`` may meet ``first`` to ``last``."""
        if low not in ranges or high not in ranges:
            return True
        try:
            return not (
                (last is not None and ranges[low][0] > last)
                or (first is not None and ranges[high][1] < first)
            )
        except TypeError:  # times as text
            return True

    if not between("collection", "collection", collection, collection):
        return False
    if "start_datetime" not in ranges and not between("datetime", "datetime", *interval):
        return False
    # Only a scene across the antimeridian begins in the east and ends in the west.
    turned = "bbox.xmax" in ranges and ranges["bbox.xmin"][1] > 0 > ranges["bbox.xmax"][0]
    return any(
        (turned or between("bbox.xmin", "bbox.xmax", box[0], box[2]))
        and between("bbox.ymin", "bbox.ymax", box[1], box[3])
        for box in boxes
    )


def _matching(
    batch: pa.RecordBatch, collection: str, boxes: Sequence[Degrees], interval: Interval
) -> pa.Array:
    """Which rows may match; where a row does not say, it may."""
    import pyarrow.compute as pc  # what a run has frozen is read whole, and needs none of it

    names = batch.schema.names
    keep = np.ones(batch.num_rows, dtype=bool)

    def unless(wrong: Any) -> None:
        nonlocal keep
        keep &= ~np.asarray(pc.fill_null(wrong, False))

    if "collection" in names:
        unless(pc.not_equal(batch["collection"], collection))
    first, last = interval
    if "datetime" in names and pa.types.is_timestamp(batch["datetime"].type):
        early, late = (
            pc.coalesce(batch[name], batch["datetime"]) if name in names else batch["datetime"]
            for name in ("start_datetime", "end_datetime")
        )
        if last is not None:
            unless(pc.greater(early, last))
        if first is not None:
            unless(pc.less(late, first))
    west, south, east, north = (
        pc.struct_field(batch["bbox"], edge) for edge in ("xmin", "ymin", "xmax", "ymax")
    )
    outside: Any = True
    for box in boxes:
        beside = pc.and_(
            pc.less_equal(west, east), pc.or_(pc.greater(west, box[2]), pc.less(east, box[0]))
        )
        away = pc.or_(beside, pc.or_(pc.greater(south, box[3]), pc.less(north, box[1])))
        outside = pc.and_(outside, away)
    unless(outside)
    return pa.array(keep)


def _rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """The rows as STAC documents.

    As stac-geoparquet's own reader makes them, in a third of the time, which is what reading a continent takes.
    """
    shapes = shapely.from_wkb(np.array(batch["geometry"].to_pylist(), object), on_invalid="ignore")
    texts = shapely.to_geojson(shapes)
    names = [name for name in batch.schema.names if name != "geometry"]
    times = {n: _times(batch[n]) for n in names if pa.types.is_timestamp(batch[n].type)}
    rows = batch.drop_columns(["geometry", *times]).to_pylist()
    for number, (row, text) in enumerate(zip(rows, texts, strict=True)):
        row |= {name: column[number] for name, column in times.items()}
        said = {name: row[name] for name in names if row[name] is not None}
        document = {name: said.pop(name) for name in _CORE if name in said}
        document["type"] = "Feature"
        document["geometry"] = json.loads(text) if text else None
        assets = said.pop("assets", {})
        document["assets"] = {key: asset for key, asset in assets.items() if asset is not None}
        if bbox := document.get("bbox"):
            document["bbox"] = [bbox[edge] for edge in ("xmin", "ymin", "xmax", "ymax")]
        yield {**document, "properties": {"datetime": None, **said}}


def _times(column: pa.Array) -> list[str | None]:
    """Times as text, to their last digit."""
    if column.type != _TIME:
        import pyarrow.compute as pc

        texts: list[str | None] = pc.strftime(column, format="%Y-%m-%dT%H:%M:%SZ").to_pylist()
        return texts
    ticks = column.view(pa.int64()).to_pylist()
    try:
        times = [None if n is None else _EPOCH + timedelta(microseconds=n) for n in ticks]
    except OverflowError as error:
        raise ValueError("has times beyond what years there are") from error
    return [t if t is None else f"{t.isoformat(timespec='microseconds')}Z" for t in times]
