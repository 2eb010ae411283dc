"""Areas in several codes, across the equator and the antimeridian: nothing is lost there, and nothing doubled."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer
from s2sharp.catalog.antimeridian import bounding_box, unwrap, wrap
from s2sharp.catalog.search import search
from s2sharp.cube.open import open_cube
from s2sharp.demo.synthetic import COLLECTION, write_catalog, write_scenes
from s2sharp.planning.area import Area
from s2sharp.planning.config import RunConfig, read_config
from s2sharp.planning.make import make_plan
from s2sharp.scenes.acquisition import group
from s2sharp.scenes.item_files import write_items
from shapely.affinity import translate

from s2sharp_core import S2SharpError
from s2sharp_core.lattice import Box, Lattice

from .pictures import WHEN, noise
from .runs import config, run

BANDS = ("B02", "B05")


def asked(folder: Path, area: object) -> RunConfig:
    """A configuration with a box, or a polygon in a file."""
    flags: dict[str, Any] = {"out": folder / "out", "datetime": "2024"}
    if isinstance(area, tuple):
        return read_config(None, {**flags, "bbox": area})
    (folder / "area.geojson").write_text(json.dumps(area))
    return read_config(None, {**flags, "area": folder / "area.geojson"})


def area_of(settings: RunConfig) -> Area:
    return Area.of(settings.bbox, settings.area)


def polygon(*rings: list[list[float]]) -> dict[str, object]:
    return {"type": "MultiPolygon", "coordinates": [[[*ring, ring[0]]] for ring in rings]}


FIJI = (178.0, -19.0, -178.0, -16.0)
WEST = [[178.0, -19.0], [180.0, -19.0], [180.0, -16.0], [178.0, -16.0]]
EAST = [[-180.0, -19.0], [-178.0, -19.0], [-178.0, -16.0], [-180.0, -16.0]]
BEYOND = [[178.0, -19.0], [182.0, -19.0], [182.0, -16.0], [178.0, -16.0]]
BEFORE = [[x - 360, y] for x, y in BEYOND]


@pytest.mark.parametrize("area", [polygon(WEST, EAST), polygon(BEYOND), polygon(BEFORE)])
def test_an_area_across_the_antimeridian_may_be_said_in_many_ways(tmp_path, area):
    settings = asked(tmp_path, area)
    assert shapely.equals(area_of(settings).lonlat, area_of(asked(tmp_path, FIJI)).lonlat)
    assert area_of(settings).digest == area_of(asked(tmp_path, polygon(WEST, EAST))).digest
    west, south, east, north = area_of(settings).reach
    assert 177 < west <= 178
    assert -178 <= east < -177
    assert -20 < south <= -19
    assert -16 <= north < -15


def test_each_code_has_all_of_an_area_across_the_antimeridian(tmp_path):
    settings = asked(tmp_path, (179.3, -19.0, -179.3, -16.0))
    inside = np.random.default_rng(0).uniform((179.3, -19.0), (180.7, -16.0), (200, 2))
    inside[:, 0] = (inside[:, 0] + 180) % 360 - 180
    for code in (32760, 32701):
        to_grid = Transformer.from_crs(4326, code, always_xy=True)
        shape = area_of(settings).shape(code).buffer(1)
        assert all(shape.contains(shapely.Point(to_grid.transform(*xy))) for xy in inside)
        assert shape.geom_type == "Polygon"
    assert area_of(settings).shape(32759).is_empty
    assert area_of(settings).shape(32702).is_empty


def test_on_the_equator_both_codes_have_the_area(tmp_path):
    settings = asked(tmp_path, (-3.1, -0.2, -2.9, 0.3))
    north, south = (area_of(settings).shape(code) for code in (32630, 32730))
    assert shapely.equals_exact(north, shapely.transform(south, lambda xy: xy - [0, 1e7]), 1e-3)
    assert north.bounds[1] < 0 < north.bounds[3]


def test_a_box_has_a_shape_in_the_codes_whose_tiles_can_reach_it(tmp_path):
    wide = asked(tmp_path, (3.0, 47.0, 17.0, 49.0))
    found = [code for code in range(32601, 32661) if not area_of(wide).shape(code).is_empty]
    assert found == [32631, 32632, 32633, 32634]
    for code in found:
        left, _, right, _ = area_of(wide).shape(code).bounds
        assert 99_960 <= left < right <= 909_780


@settings(max_examples=30, deadline=None)
@given(st.floats(-180, 180), st.floats(-75, 75), st.floats(0.01, 5), st.floats(0.01, 3))
def test_every_cell_that_may_be_written_is_within_reach(west, south, width, height):
    east = (west + width + 180) % 360 - 180
    flags = {"out": "out", "datetime": "2024", "bbox": (west, south, east, south + height)}
    settings_ = read_config(None, flags)
    known = unwrap(wrap(_box(area_of(settings_).reach)))
    for code in (*range(32601, 32661, 1), *range(32701, 32761)):
        shape = area_of(settings_).shape(code)
        if shape.is_empty:
            continue
        lattice = Lattice.of(code)
        left, bottom, right, top = lattice.bounds(lattice.around(shape.bounds))
        across, up = np.linspace(left, right, 9), np.linspace(bottom, top, 9)
        x, y = (grid.ravel() for grid in np.meshgrid(across, up))
        to_degrees = Transformer.from_crs(code, 4326, always_xy=True)
        points = shapely.points(np.column_stack(to_degrees.transform(x, y)))
        near = known.buffer(1e-4)
        assert (near.covers(points) | translate(near, -360).covers(points)).all()


def _box(degrees: tuple[float, float, float, float]) -> shapely.Polygon:
    west, south, east, north = degrees
    return shapely.box(west, south, east + 360 * (east < west), north)


@pytest.mark.parametrize("bbox", [(14.2, 47.0, 14.0, 47.1), (100.0, 0.0, -70.0, 1.0)])
def test_a_box_with_west_and_east_mixed_up_is_refused(tmp_path, bbox):
    with pytest.raises(Exception, match="antimeridian"):
        asked(tmp_path, bbox)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([(1, 2, 3, 4)], (1, 2, 3, 4)),
        ([(170, 0, 180, 1), (-180, 0, -175, 1)], (170, 0, -175, 1)),
        ([(170, 0, 175, 1), (-179, -2, -175, 1), (-100, 0, -90, 5)], (170, -2, -90, 5)),
        ([(-10, 0, 10, 1), (100, 0, 110, 1)], (-10, 0, 110, 1)),
        ([(-180, -90, 180, 90)], (-180, -90, 180, 90)),
    ],
)
def test_the_box_around_several_parts_is_the_narrowest(parts, expected):
    assert bounding_box(shapely.union_all([shapely.box(*part) for part in parts])) == expected


# Real files, as archives tell of them


def as_split(shape: shapely.Polygon) -> dict[str, Any]:
    return shapely.geometry.mapping(wrap(shape))


def as_jump(shape: shapely.Polygon) -> dict[str, Any]:
    ring = [((x + 180) % 360 - 180, y) for x, y in shape.exterior.coords]
    return {"type": "Polygon", "coordinates": [ring]}


def as_beyond(shape: shapely.Polygon) -> dict[str, Any]:
    return shapely.geometry.mapping(shape)


def landscape(
    folder: Path, codes: tuple[int, int], place: tuple[float, float], draw: Callable[..., Any]
) -> tuple[list[pystac.Item], dict[int, tuple[Box, dict[str, np.ndarray]]]]:
    """Two overlapping tiles in each code, around one place, of one overpass; and what they show."""
    items, truth = [], {}
    for code in codes:
        lattice = Lattice.of(code)
        x, y = Transformer.from_crs(4326, code, always_xy=True).transform(*place)
        at = lattice.around((x, y, x + 1, y + 1))
        box = Box(at.row0, at.row0 + 1, at.col0, at.col0 + 1).grow(60)
        left = Box(box.row0, box.row1, box.col0, box.col0 + 66)
        right = Box(box.row0, box.row1, box.col0 + 54, box.col1)
        picture = noise(box, *BANDS, seed=code)
        truth[code] = box, picture
        for item in write_scenes(folder, picture, lattice, box, [left, right], WHEN):
            west, south, east, north = item.bbox
            item.geometry = draw(_box((west, south, east, north)))
            items.append(item)
    return items, truth


PLACES = {
    "antimeridian": ((32660, 32601), (180.0, 52.0), (179.97, 51.985, -179.97, 52.015)),
    "equator": ((32630, 32730), (-3.0, 0.0), (-3.02, -0.015, -2.98, 0.015)),
    "zones": ((32633, 32634), (18.0, 48.0), (17.97, 47.985, 18.03, 48.015)),
}


@pytest.mark.parametrize("draw", [as_split, as_jump, as_beyond])
@pytest.mark.parametrize("catalog", ["static", "stac-geoparquet"])
def test_scenes_on_the_antimeridian_are_found_once_from_either_side(tmp_path, draw, catalog):
    codes, place, box = PLACES["antimeridian"]
    items, _ = landscape(tmp_path, codes, place, draw)
    source = str(write_catalog(tmp_path, items))
    if catalog == "stac-geoparquet":
        found = search(source, COLLECTION, (-180, -90, 180, 90), "2024")
        source = str(tmp_path / "items.parquet")
        write_items(tmp_path / "items.parquet", found, BANDS, source)
    for west, east in ((box[0], box[2]), (179.99, 179.995), (-179.995, -179.99)):
        ids = [i.id for i in search(source, COLLECTION, (west, box[1], east, box[3]), "2024")]
        assert sorted(ids) == sorted(i.id for i in items)
    assert not list(search(source, COLLECTION, (170.0, box[1], 171.0, box[3]), "2024"))
    assert not list(search(source, COLLECTION, (-1.0, box[1], 1.0, box[3]), "2024"))
    # Of a footprint that may have been cut at the line nothing is concluded.
    assert all(s.footprint is None for a in group(items, BANDS, source)[0] for s in a.scenes)


@pytest.mark.parametrize("where", PLACES)
def test_a_run_across_codes_has_every_pixel_of_each(tmp_path, scheduler, where):
    codes, place, bbox = PLACES[where]
    items, truth = landscape(tmp_path, codes, place, as_split)
    write_catalog(tmp_path, items)
    out = tmp_path / "out"
    plan, outcome = run(config(tmp_path, out, scheduler, bbox=bbox, bands=BANDS))
    assert not outcome.failed
    assert [(a.epsg, len(a.scenes)) for a in plan.acquisitions] == [
        (code, 2) for code in sorted(codes)
    ]
    for layout in plan.layouts:
        box, picture = truth[layout.epsg]
        # All that was asked for, where the code has tiles.
        wanted = layout.lattice.around(area_of(plan.config).shape(layout.epsg).bounds) & box
        assert layout.area == wanted
        expected = picture["B02"][box.slices(wanted, 10)].astype(int) - 1000
        cube = open_cube(out, epsg=layout.epsg).isel(time=0)
        stored = np.rint(cube["B02"].values * 10_000)
        np.testing.assert_array_equal(stored, expected)
        assert (cube["valid"] == 1).all()
        assert set(np.unique(cube["source"])) == {1, 2}
    if where == "antimeridian":
        # Asked for in degrees, from both sides of the line.
        for epsg in codes:
            part = open_cube(out, epsg=epsg, bbox=(179.99, 51.99, -179.99, 52.0))
            assert 100 < part.sizes["x"] < 250


def test_what_is_published_of_a_cube_on_the_antimeridian_says_where_it_lies(tmp_path):
    from s2sharp.publish.stac import footprint

    codes, place, bbox = PLACES["antimeridian"]
    items, _ = landscape(tmp_path, codes, place, as_split)
    write_catalog(tmp_path, items)
    plan = make_plan(config(tmp_path, tmp_path / "out", bbox=bbox, bands=BANDS))
    for layout in plan.layouts:
        geometry, (west, _, east, _) = footprint(layout.lattice.bounds(layout.area), layout.crs)
        assert 179.9 < west < 180
        assert -180 < east < -179.9
        assert shapely.geometry.shape(geometry).area < 0.01


@pytest.mark.parametrize(
    ("geometries", "why"),
    [
        (["square", None], None),
        ([None, {"type": "GeometryCollection", "geometries": []}, "square"], None),
        ([{"type": "GeometryCollection", "geometries": ["square"]}], None),
        (["square", {"type": "Point", "coordinates": [50, 50]}], None),
        ([None], "has no polygon; it has nothing"),
        ([{"type": "Point", "coordinates": [1, 1]}], "it has Point"),
        ([{"type": "Polygon", "coordinates": None}], "no lists of positions"),
        ([{"type": "Polygon", "coordinates": [[[10**400, 1], [2.5, 1]]]}], "no lists of positions"),
    ],
)
def test_of_an_area_what_has_no_polygon_is_no_matter(
    tmp_path: Path, geometries: list, why: str | None
) -> None:
    square = {"type": "Polygon", "coordinates": [[[1, 1, 9], [2, 1, 9], [2, 2, 9], [1, 1, 9]]]}
    text = json.dumps(
        {
            "type": "FeatureCollection",
            "features": [
                {"type": "Feature", "properties": {}, "geometry": geometry}
                for geometry in geometries
            ],
        }
    ).replace('"square"', json.dumps(square))
    (tmp_path / "area.geojson").write_text(text)
    about = {"out": tmp_path, "area": tmp_path / "area.geojson", "datetime": "2024"}
    if why is None:
        assert area_of(read_config(None, about)).lonlat.bounds == (1, 1, 2, 2)
        return
    with pytest.raises(S2SharpError, match=why) as caught:
        area_of(read_config(None, about))
    assert caught.value.kind == "bad-config"
    assert "json.exception" not in str(caught.value)


RING = [[1.0, 1.0, 9.0, 0.5], [2.0, 1.0, 9.0, 0.5], [2.0, 2.0, 9.0, 0.5]]


def drawn(file: Path, ring: list, encoding: str = "utf-8") -> tuple[float, ...]:
    """Bounds of an area in a file of that ring, whose feature has a name that is not in ASCII."""
    square = {"type": "Polygon", "coordinates": [ring]}
    feature = {"type": "Feature", "properties": {"name": "Köln"}, "geometry": square}
    file.write_text(json.dumps(feature, ensure_ascii=False), encoding=encoding)
    return area_of(
        read_config(None, {"out": file.parent, "area": file, "datetime": "2024"})
    ).lonlat.bounds


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_an_area_is_read_as_programs_write_it(tmp_path: Path, encoding: str) -> None:
    assert drawn(tmp_path / "area.geojson", RING, encoding) == (1, 1, 2, 2)


def test_an_area_that_jumps_over_the_antimeridian_is_not_taken_for_the_rest_of_the_globe(
    tmp_path: Path,
) -> None:
    ring = [[179.5, -17], [-179.5, -17], [-179.5, -16], [179.5, -16]]
    with pytest.raises(S2SharpError, match="cut the polygon at the antimeridian"):
        drawn(tmp_path / "area.geojson", ring)
    world = [[-180, -90], [180, -90], [180, 90], [-180, 90]]
    assert drawn(tmp_path / "area.geojson", world) == (-180, -90, 180, 90)
