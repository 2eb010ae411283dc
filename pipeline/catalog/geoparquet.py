"""stac-geoparquet: a catalog in one file, read one part at a time: the items that meet a query, or all of them.

The format is that of the stac-geoparquet specification 1.0: one item per row, with properties as columns, the
geometry as WKB, the bbox and assets as structs. Writers differ in types. So other forms are read, too: a list as
bbox, assets as JSON, and times without a zone, in another zone or in nanoseconds.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from io import BytesIO
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pystac
import shapely
from upath import UPath

from .documents import items_in
from .extent import Degrees
from .faults import unreachable
from .metadata import numbers_in
from .query import Query

ROWS = 512
"""Number of items in memory at once."""

_CORE = ("stac_version", "stac_extensions", "id", "bbox", "collection", "links")
_NEEDED = ("id", "bbox", "geometry", "assets")
_EDGES = ("xmin", "ymin", "xmax", "ymax")
_BBOX = pa.struct(dict.fromkeys(_EDGES, pa.float64()))
_TIME, _EPOCH = pa.timestamp("us", "UTC"), datetime(1970, 1, 1)
_TIMES = ("datetime", "start_datetime", "end_datetime")
_JUDGED = ("collection", *_TIMES, *(f"bbox.{edge}" for edge in _EDGES))
"""Columns whose statistics decide if a part is read."""

Interval = tuple[datetime | None, datetime | None]


def from_parquet(query: Query) -> Iterator[pystac.Item]:
    """Yield the items of a file that meet a query.

    Errors: ``catalog-unreachable``; ``collection-missing``.
    """
    found = False
    try:
        with open_file(query.catalog, private=query.private) as file:
            interval = query.start, query.end
            given = documents(file, query.collection, query.turned, interval)
            for item in items_in(given, query.catalog):
                found = True
                if query.matches(item):
                    yield item
            known = [query.collection] if found else collections(file)
    except (pa.ArrowException, OSError, ValueError) as err:
        raise unreachable(query.catalog, f"is not stac-geoparquet ({err})") from None
    if known and query.collection not in known:
        raise query.missing(known)


def whole(content: bytes, name: str) -> Iterator[pystac.Item]:
    """Yield all items of a file with this ``content``; errors call it ``name``.

    Error: ``catalog-unreachable``.
    """
    try:
        # Without comparisons, for which Arrow would load pandas.
        for batch in _opened(BytesIO(content)).iter_batches(ROWS):
            yield from items_in(_rows(_plain(batch)), name)
    except (pa.ArrowException, OSError, ValueError) as err:
        raise unreachable(name, f"is not stac-geoparquet ({err})") from None


def open_file(href: str, *, private: bool = False) -> BinaryIO:
    """Open a path, an http(s) address or any URL that fsspec knows, for reading at any position.

    Error: ``catalog-unreachable``.
    """
    scheme = urlsplit(href).scheme.lower()
    try:
        if scheme in ("http", "https"):
            from .http import open_web

            return open_web(href, private)
        return UPath(href).open("rb")
    except (OSError, ImportError, ValueError) as err:
        why = getattr(err, "strerror", None) or type(err).__name__
        raise unreachable(href, f"can't be read ({why})") from None


def documents(
    file: BinaryIO, collection: str, boxes: Sequence[Degrees], interval: Interval
) -> Iterator[dict[str, Any]]:
    """Yield the items, as STAC documents, that may touch one of ``boxes`` and ``interval``.

    Parts of the file are skipped if their statistics exclude a match. Each yielded item has a matching bbox and a
    possible time. The caller checks the footprints. Raise ``ValueError`` if ``file`` is not stac-geoparquet
    (``pyarrow.ArrowInvalid`` is one).
    """
    source = _opened(file)
    names = source.schema_arrow.names
    for number in range(source.num_row_groups):
        if not _possible(source.metadata.row_group(number), collection, boxes, interval, names):
            continue
        for batch in source.iter_batches(ROWS, row_groups=[number]):
            plain = _plain(batch)
            yield from _rows(plain.filter(_matching(plain, collection, boxes, interval)))


def _opened(file: BinaryIO) -> pq.ParquetFile:
    source = pq.ParquetFile(file, pre_buffer=True)
    names = source.schema_arrow.names
    missing = [name for name in _NEEDED if name not in names]
    if missing:
        raise ValueError(f"has no column {', '.join(missing)}")
    if len(set(names)) < len(names):
        raise ValueError("has two columns of one name")
    return source


def collections(file: BinaryIO) -> list[str]:
    """Return the ids of the collections in a file."""
    source = pq.ParquetFile(file)
    found: set[str] = set()
    for number in range(source.num_row_groups):
        group = source.metadata.row_group(number)
        least, most = _ranges(group, ["collection"]).get("collection", (None, ""))
        if least == most:
            found.add(least)
        elif "collection" in source.schema_arrow.names:
            column = source.read_row_group(number, columns=["collection"])["collection"]
            found |= set(column.unique().to_pylist())
    return sorted(str(name) for name in found if name)


def _ranges(group: Any, names: Sequence[str] = _JUDGED) -> dict[str, tuple[Any, Any]]:
    """Return the least and greatest value of each column in a row group, (None, None) if it is empty.

    A column with missing values has no range, because a row without a value may match.
    """
    ranges = {}
    for index in range(group.num_columns):
        column = group.column(index)
        said = column.statistics if column.path_in_schema in names else None
        if said is None or not said.has_null_count:
            continue
        try:
            if said.null_count == group.num_rows:
                ranges[column.path_in_schema] = None, None
            elif not said.null_count and said.has_min_max:
                ranges[column.path_in_schema] = said.min, said.max
        except (ArithmeticError, ValueError):  # a time beyond Python's range
            continue
    return ranges


def _possible(
    group: Any, collection: str, boxes: Sequence[Degrees], interval: Interval, names: Sequence[str]
) -> bool:
    """Return whether the statistics of a row group allow a match; without statistics, they do."""
    ranges = _ranges(group)

    def between(low: str, high: str, first: Any, last: Any) -> bool:
        """Return whether values from column ``low`` to column ``high`` may meet ``first`` to ``last``."""
        least, most = ranges.get(low, (None, None))[0], ranges.get(high, (None, None))[1]
        try:
            return not (
                (None not in (last, least) and least > last)
                or (None not in (first, most) and most < first)
            )
        except TypeError:  # of unexpected types
            return True

    if not between("collection", "collection", collection, collection):
        return False
    # A row's interval is more precise than its datetime.
    plain = all(
        ranges.get(name) == (None, None)
        for name in ("start_datetime", "end_datetime")
        if name in names
    )
    if plain and not between("datetime", "datetime", *interval):
        return False
    # Only a scene across the antimeridian begins in the east and ends in the west, or continues beyond it.
    west, east = (ranges.get(f"bbox.{edge}") for edge in ("xmin", "xmax"))
    turned = True
    with suppress(TypeError):
        turned = not west or not east or west[1] > 0 > east[0] or west[0] < -180 or east[1] > 180
    return any(
        (turned or between("bbox.xmin", "bbox.xmax", box[0], box[2]))
        and between("bbox.ymin", "bbox.ymax", box[1], box[3])
        for box in boxes
    )


def _plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the batch with times in UTC, numeric edges of the bbox, and text ids; other values become missing."""
    for index, name in enumerate(batch.schema.names):
        column = batch.column(index)
        if name == "bbox":
            column = _bbox(column)
        elif name in ("id", "collection") and not pa.types.is_string(column.type):
            column = column.cast(pa.string())
        elif pa.types.is_date(column.type) or pa.types.is_timestamp(column.type):
            column = _time(column)
        if column is not batch.column(index):
            batch = batch.set_column(index, name, column)
    return batch


def _time(column: pa.Array) -> pa.Array:
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("ms"))
    # A time without a zone is UTC; fractions of microseconds are cut off.
    return column if column.type == _TIME else column.cast(_TIME, safe=False)


def _bbox(column: pa.Array) -> pa.Array:
    if pa.types.is_struct(column.type) and {f.name for f in column.type} >= set(_EDGES):
        edges = [column.field(edge) for edge in _EDGES]
        if all(pa.types.is_floating(edge.type) for edge in edges):
            return column
    return pa.array([_edges(said) for said in column.to_pylist()], _BBOX)


def _edges(said: Any) -> dict[str, float] | None:
    """Return the edges of a bbox with two or three dimensions, from a struct or a list."""
    if isinstance(said, dict):
        said = [said.get(edge) for edge in _EDGES]
    numbers = numbers_in(said, 4, 6)
    if numbers is None:
        return None
    half = len(numbers) // 2
    return dict(zip(_EDGES, (*numbers[:2], *numbers[half : half + 2]), strict=True))


def _matching(
    batch: pa.RecordBatch, collection: str, boxes: Sequence[Degrees], interval: Interval
) -> pa.Array:
    """Return a mask of the rows that may match; a row without a value may."""
    import pyarrow.compute as pc  # reading the frozen items of a run does not need it

    names = batch.schema.names
    keep = np.ones(batch.num_rows, dtype=bool)

    def unless(wrong: Any) -> None:
        nonlocal keep
        keep &= ~np.asarray(pc.fill_null(wrong, False))

    if "collection" in names:
        unless(pc.not_equal(batch["collection"], collection))
    first, last = interval
    times = [name for name in _TIMES if name in names]
    if "datetime" in times and all(batch[name].type == _TIME for name in times):
        early, late = (
            pc.coalesce(batch[name], batch["datetime"]) if name in names else batch["datetime"]
            for name in _TIMES[1:]
        )
        if last is not None:
            unless(pc.greater(early, last))
        if first is not None:
            unless(pc.less(late, first))
    west, south, east, north = (pc.struct_field(batch["bbox"], edge) for edge in _EDGES)
    # An item across the antimeridian is judged by its footprint.
    within = pc.and_(
        pc.less_equal(west, east), pc.and_(pc.greater_equal(west, -180), pc.less_equal(east, 180))
    )
    outside: Any = True
    for box in boxes:
        beside = pc.and_(within, pc.or_(pc.greater(west, box[2]), pc.less(east, box[0])))
        away = pc.or_(beside, pc.or_(pc.greater(south, box[3]), pc.less(north, box[1])))
        outside = pc.and_(outside, away)
    unless(outside)
    return pa.array(keep)


def _rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """Yield the rows as STAC documents.

    The result is that of stac-geoparquet's own reader in a third of the time. For a continent, this reading
    dominates.
    """
    texts = shapely.to_geojson(_shapes(batch["geometry"]))
    names = [name for name in batch.schema.names if name != "geometry"]
    times = {n: _times(batch[n]) for n in names if pa.types.is_timestamp(batch[n].type)}
    rows = batch.drop_columns(["geometry", *times]).to_pylist()
    for number, (row, text) in enumerate(zip(rows, texts, strict=True)):
        row |= {name: column[number] for name, column in times.items()}
        said = {name: row[name] for name in names if row[name] is not None}
        document = {name: said.pop(name) for name in _CORE if name in said}
        document = {"stac_version": "1.0.0", **document, "type": "Feature"}
        document["geometry"] = json.loads(text) if text else None
        assets = _mapping(said.pop("assets", None))
        document["assets"] = {key: asset for key, asset in assets.items() if asset is not None}
        if bbox := document.get("bbox"):
            document["bbox"] = [bbox[edge] for edge in _EDGES]
        nested = _mapping(said.pop("properties", None))
        yield {**document, "properties": {"datetime": None, **nested, **said}}


def _shapes(column: pa.Array) -> Any:
    """Return the footprints, with None for invalid WKB."""
    kind = column.type
    if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        return np.full(len(column), None)
    return shapely.from_wkb(np.array(column.to_pylist(), object), on_invalid="ignore")


def _mapping(said: Any) -> dict[str, Any]:
    """Return a struct, a map or JSON as a dict."""
    if isinstance(said, str):
        try:
            said = json.loads(said)
        except (ValueError, RecursionError):
            return {}
    if isinstance(said, list) and all(isinstance(pair, tuple) for pair in said):
        said = dict(said)
    return said if isinstance(said, dict) else {}


def _times(column: pa.Array) -> list[str | None]:
    """Return times as text, to their last digit."""
    return [None if n is None else _moment(n) for n in column.view(pa.int64()).to_pylist()]


def _moment(microseconds: int) -> str:
    try:
        moment = _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:  # beyond the range of years: no time, which fails this item alone
        return f"{microseconds} µs"
    return f"{moment.isoformat(timespec='microseconds')}Z"
