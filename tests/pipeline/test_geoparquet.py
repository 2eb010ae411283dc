"""stac-geoparquet as others write it: types differ, rows leave things unsaid, and no item is lost by either."""

import io
import json
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import s2sharp.catalog.http
import shapely
from s2sharp.catalog.geoparquet import documents
from s2sharp.catalog.search import search

from s2sharp_core.errors import S2SharpError
from tests.web import every, http_server

from . import europe, items
from .catalogs import L2A, MAY, VIENNA, ids, refused

BOX = (15.5, 48.0, 15.6, 48.1)
WHEN = datetime(2024, 6, 1, 23, 30, 0, 123456, tzinfo=UTC)
NAMES = ["one", "two"]


def table(**columns: Any) -> pa.Table:
    """Two items, with some columns in place of those of the specification."""
    document = items.planetary_computer(when="2024-06-01T23:30:00.123456Z")
    assets = {key: {"href": a["href"], "gsd": a["gsd"]} for key, a in document["assets"].items()}
    edges = dict(zip(("xmin", "ymin", "xmax", "ymax"), document["bbox"], strict=True))
    row = {
        "geometry": shapely.to_wkb(shapely.geometry.shape(document["geometry"])),
        "bbox": edges,
        "assets": assets,
        "datetime": WHEN,
        "collection": "c",
    }
    made = pa.Table.from_pylist([{"id": name, **row} for name in NAMES])
    for name, values in columns.items():
        index = made.schema.get_field_index(name)
        made = made.drop_columns([name]) if index >= 0 else made
        made = made.append_column(name, values)
    return made


def found(tmp_path, made: pa.Table, box=BOX, when="2024-06-01", **how: Any) -> list[Any]:
    pq.write_table(made, tmp_path / "items.parquet", **how)
    return sorted(search(str(tmp_path / "items.parquet"), "c", box, when), key=lambda i: i.id)


EDGES = [15.0, 47.75, 16.5, 48.75]
ASSETS = items.planetary_computer()["assets"]
LOCAL = WHEN.replace(tzinfo=None)
TYPES = {
    "as specified": {},
    "bbox as a list": {"bbox": pa.array([EDGES] * 2)},
    "bbox of three dimensions": {"bbox": pa.array([[*EDGES[:2], 0.0, *EDGES[2:], 9.0]] * 2)},
    "bbox of whole numbers": {
        "bbox": pa.array([{"xmin": 15, "ymin": 47, "xmax": 16, "ymax": 49}] * 2)
    },
    "bbox of text": {
        "bbox": pa.array([{"xmin": "15", "ymin": "47", "xmax": "16", "ymax": "49"}] * 2)
    },
    "bbox that is none": {"bbox": pa.array(["x", "y"])},
    "times without a zone": {"datetime": pa.array([LOCAL] * 2)},
    "times in nanoseconds": {"datetime": pa.array([WHEN] * 2, pa.timestamp("ns", "UTC"))},
    "times of another zone": {"datetime": pa.array([WHEN] * 2, pa.timestamp("us", "Asia/Tokyo"))},
    "times as text": {"datetime": pa.array([WHEN.isoformat()] * 2)},
    "an end as text": {"end_datetime": pa.array([None, "2024-06-02T00:00:00Z"])},
    "a time beyond Python's": {"created": pa.array([2**62] * 2, pa.timestamp("us", "UTC"))},
    "assets as JSON": {"assets": pa.array([json.dumps(ASSETS)] * 2)},
    "geometry that is none": {"geometry": pa.array([{"x": 15.5}] * 2)},
    "ids as a dictionary": {"id": pa.array(NAMES).dictionary_encode()},
    "collection as large text": {"collection": pa.array(["c", "c"], pa.large_string())},
    "properties in a column": {"properties": pa.array([{"platform": "sentinel-2a"}] * 2)},
}


@pytest.mark.parametrize("columns", TYPES.values(), ids=TYPES)
def test_items_are_the_same_whatever_types_their_writer_chose(tmp_path, columns):
    both = found(tmp_path, table(**columns))
    assert [item.id for item in both] == NAMES
    assert {item.datetime for item in both} == {WHEN}
    assert {"B02", "B11"} <= both[0].assets.keys()
    assert not found(tmp_path, table(**columns), when="2024-06-03/2024-07")


def test_a_row_that_does_not_say_is_found_among_rows_that_do(tmp_path):
    """Statistics of a part tell nothing of rows that leave a value unsaid."""
    far = {"xmin": -70.0, "ymin": -20.0, "xmax": -69.0, "ymax": -19.0}
    shape = shapely.to_wkb(shapely.box(-70, -20, -69, -19))
    ours = table()["geometry"].to_pylist()[0]
    geometry = pa.array([shape, ours], pa.binary())
    made = table(bbox=pa.array([far, None]), geometry=geometry)
    assert [item.id for item in found(tmp_path, made)] == ["two"]
    late = datetime(2025, 1, 1, tzinfo=UTC)
    times = pa.timestamp("us", "UTC")
    made = table(
        datetime=pa.array([late, None], times),
        start_datetime=pa.array([None, WHEN], times),
        end_datetime=pa.array([None, WHEN], times),
    )
    assert [item.id for item in found(tmp_path, made)] == ["two"]


@pytest.mark.parametrize("west", [179.5, -180.5])
def test_a_bbox_that_goes_on_beyond_the_antimeridian_is_left_to_its_footprint(tmp_path, west):
    edges = pa.array([{"xmin": west, "ymin": -17.0, "xmax": west + 1, "ymax": -16.0}] * 2)
    geometry = pa.array([shapely.to_wkb(shapely.box(west, -17, west + 1, -16))] * 2, pa.binary())
    pq.write_table(table(bbox=edges, geometry=geometry), tmp_path / "items.parquet")
    for asked in (179.6, -179.7):
        with (tmp_path / "items.parquet").open("rb") as file:
            box = (asked, -16.6, asked + 0.1, -16.5)
            assert len(list(documents(file, "c", [box], (None, None)))) == 2


@pytest.mark.parametrize(
    "odd",
    [
        table().append_column("id", pa.array(NAMES)),
        table(id=pa.array([{"x": 1}] * 2)),
        table(collection=pa.array([["c"]] * 2)),
        table(collection=pa.array([1, 2])),
    ],
    ids=["two columns of one name", "ids that are none", "collection in a list", "numbers"],
)
def test_a_file_of_which_nothing_can_be_understood_is_refused_in_a_line(tmp_path, odd):
    with pytest.raises(S2SharpError) as error:
        found(tmp_path, odd)
    assert error.value.kind in ("catalog-unreachable", "collection-missing")
    assert "\n" not in error.value.message


def test_only_what_is_needed_of_a_remote_file_is_fetched(tmp_path, monkeypatch):
    monkeypatch.setattr(s2sharp.catalog.http, "PART", 1 << 16)
    europe.write(tmp_path / "items.parquet", 600, rows=50)
    parts: list[str] = []
    with http_server(tmp_path, lambda _, path: parts.append(path)) as url:
        whole = ids(f"{url}/items.parquet", europe.COLLECTION, (-180, -90, 180, 90), "2024")
        full, parts[:] = len(parts), []
        assert ids(f"{url}/items.parquet", europe.COLLECTION, (0.0, 10.0, 1.0, 11.0), "2024") == []
    assert len(whole) == 600
    assert len(parts) < full


def test_of_a_file_sorted_by_longitude_a_box_reads_the_parts_that_it_touches(tmp_path):
    europe.write(tmp_path / "items.parquet", 2000, rows=2000)
    table = pq.read_table(tmp_path / "items.parquet")
    west = [row["xmin"] for row in table["bbox"].to_pylist()]
    table = table.take(np.argsort(west))
    pq.write_table(table, tmp_path / "sorted.parquet", row_group_size=50)
    box = (10.0, -90.0, 12.0, 90.0)
    read = []

    class Watched(io.FileIO):
        def read(self, size=-1):
            content = super().read(size)
            read.append(len(content))
            return content

    def found(name):
        read.clear()
        with Watched(tmp_path / name) as file:
            ids = {d["id"] for d in documents(file, europe.COLLECTION, [box], (None, None))}
        return ids, sum(read)

    expected, _ = found("items.parquet")
    ids, some = found("sorted.parquet")
    assert ids == expected
    assert 0 < len(ids) < 500
    # The footer of so many small parts is a third of the file.
    assert some < 0.6 * (tmp_path / "sorted.parquet").stat().st_size


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_a_file_that_is_not_given_is_named_without_secrets(tmp_path, status):
    with http_server(tmp_path, every(1, status)) as url, refused("catalog-unreachable") as err:
        list(search(f"{url}/items.parquet?sig=hunter2", L2A, VIENNA, MAY))
    assert f"{url}/items.parquet answered {status}" in err.value.message
    assert "hunter2" not in str(err.value)


@pytest.mark.parametrize("content", [None, b"", b"PAR1", b"not parquet" * 100])
def test_a_file_that_is_no_parquet_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / "items.parquet").write_bytes(content)
    with refused("catalog-unreachable") as err:
        list(search(str(tmp_path / "items.parquet"), L2A, VIENNA, MAY))
    assert "items.parquet" in err.value.message


def test_parquet_of_something_else_is_named(tmp_path):
    pq.write_table(pa.table({"id": ["a"], "geometry": [b"x"]}), tmp_path / "items.parquet")
    with refused("catalog-unreachable") as err:
        list(search(str(tmp_path / "items.parquet"), L2A, VIENNA, MAY))
    assert "bbox, assets" in err.value.message
