"""A scene that covers a corner costs nothing where it has no data, and loses nothing where it has."""

import numpy as np
import pystac
import pytest
import s2sharp.scenes.scene
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer
from s2sharp.demo.synthetic import write_catalog
from s2sharp.planning.make import make_plan
from s2sharp.scenes.acquisition import group
from s2sharp.scenes.scene import MARGIN, Scene, edges_of
from shapely.affinity import scale

from s2sharp_core.lattice import Box, Lattice

from ..core.scenes import box_at
from .pictures import BOTH, WHEN, noise, scenes
from .runs import config, run

BANDS = ("B02", "B05")
BOX = box_at(600, 600)
HERE = "/catalog.json"


def located(lattice: Lattice, outline: list[tuple[float, float]], turns: int = 0) -> pystac.Item:
    """An item of a tile of 600 cells, which has data within `outline`: (row, column) in cells of it."""
    to_degrees = Transformer.from_crs(lattice.epsg, 4326, always_xy=True)
    left, top = lattice.x0 + BOX.col0 * 60, lattice.y0 - BOX.row0 * 60
    ring = [to_degrees.transform(left + col * 60, top - row * 60) for row, col in outline]
    ring = ring[turns:] + ring[:turns]
    item = pystac.Item(
        "corner",
        shapely.geometry.mapping(shapely.Polygon(ring)),
        list(shapely.Polygon(ring).bounds),
        WHEN,
        {"proj:code": f"EPSG:{lattice.epsg}", "s2:processing_baseline": "05.11"},
    )
    for band, gsd in (("B02", 10), ("B05", 20)):
        transform, shape = list(lattice.transform(BOX, gsd)), list(BOX.pixels(gsd))
        about = {"proj:transform": transform, "proj:shape": shape}
        item.add_asset(band, pystac.Asset(f"/data/{band}.tif", extra_fields=about))
    return item


def scene_of(item: pystac.Item) -> Scene:
    (acquisition,), refused, _ = group([item], BANDS, HERE)
    assert not refused
    return acquisition.scenes[0]


def cells(row0: int, row1: int, col0: int, col1: int) -> Box:
    return Box(BOX.row0 + row0, BOX.row0 + row1, BOX.col0 + col0, BOX.col0 + col1)


def sees(scene: Scene, box: Box) -> bool:
    return bool(scene.sees(edges_of([box]))[0])


@pytest.mark.parametrize("lattice", BOTH, ids=["north", "south"])
@pytest.mark.parametrize("turns", [0, 2])
@pytest.mark.parametrize("backwards", [False, True])
def test_data_in_a_corner_is_seen_there_and_not_in_the_others(lattice, turns, backwards):
    triangle = [(0.0, 0.0), (0.0, 300.0), (300.0, 0.0)]
    item = located(lattice, triangle[::-1] if backwards else triangle, turns)
    scene = scene_of(item)
    corners = {(row - BOX.row0, col - BOX.col0) for row, col in scene.footprint}
    assert corners == {(0, 0), (0, 300), (300, 0)}
    assert sees(scene, cells(0, 64, 0, 64))
    assert sees(scene, cells(140, 160, 140, 160))
    # Just beyond the slanted edge: archives draw with a broad pen.
    assert sees(scene, cells(200, 264, 200, 264))
    assert not sees(scene, cells(330, 394, 330, 394))
    assert not sees(scene, cells(500, 564, 0, 64))
    assert not sees(scene, cells(0, 64, 500, 564))
    assert not sees(scene, cells(500, 564, 500, 564))


def points() -> st.SearchStrategy[tuple[float, float]]:
    return st.tuples(st.integers(-100, 700), st.integers(-100, 700)).map(
        lambda p: (float(p[0]), float(p[1]))
    )


@settings(max_examples=80, deadline=None)
@given(
    st.lists(points(), min_size=3, max_size=7),
    st.tuples(*[st.integers(-50, 640)] * 2, *[st.integers(1, 80)] * 2),
)
def test_no_cell_with_data_is_ever_taken_for_empty(outline, place):
    """Whatever the footprint is like: crooked, crossing itself, larger than the tile."""
    scene = scene_of(located(BOTH[0], outline))
    row, col, height, width = place
    asked = cells(row, row + height, col, col + width)
    data = shapely.make_valid(shapely.Polygon([(c, r) for r, c in outline]))
    data &= shapely.box(0, 0, 600, 600)
    if data.intersects(shapely.box(col, row, col + width, row + height)) and data.area > 0:
        inside = asked & BOX
        assert inside.empty or sees(scene, asked)
    far = scale(data.envelope.buffer(2 * MARGIN + 2), 1.01, 1.01)
    if data.area > 10 and not far.intersects(shapely.box(col, row, col + width, row + height)):
        assert scene.footprint is None or not sees(scene, asked)


@pytest.mark.parametrize(
    "geometry",
    [
        None,
        {"type": "Polygon", "coordinates": []},
        {"type": "Polygon", "coordinates": "everywhere"},
        {"type": "Point", "coordinates": [15.0, 41.0]},
        {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]},  # elsewhere
        {"type": "Polygon", "coordinates": [[[0, 0], [float("nan"), 0], [1, 1], [0, 0]]]},
    ],
)
def test_a_footprint_that_says_nothing_is_no_footprint(geometry):
    item = located(BOTH[0], [(0, 0), (0, 300), (300, 0)])
    item.geometry = geometry
    scene = scene_of(item)
    assert scene.footprint is None
    assert sees(scene, cells(500, 564, 500, 564))
    assert not sees(scene, cells(600, 664, 0, 64))


def test_units_without_data_are_not_planned_and_none_is_lost(tmp_path, scheduler, monkeypatch):
    """A tile of 7 × 7 shards, data in one corner: as many units as there is data, and the same cube."""
    monkeypatch.setattr(s2sharp.scenes.scene, "MARGIN", 2)
    box = box_at(96, 96)
    picture = noise(box, *BANDS)
    for band, dn in picture.items():
        n = dn.shape[0] // 96
        rows, cols = np.indices(dn.shape) // n
        picture[band] = np.where(rows + cols < 40, dn, 0).astype(dn.dtype)
    (item,) = scenes(tmp_path, picture, box)
    to_degrees = Transformer.from_crs(32633, 4326, always_xy=True)
    left, _, _, top = Lattice.of(32633).bounds(box)
    ring = [
        to_degrees.transform(left + c * 60, top - r * 60) for r, c in ((0, 0), (0, 41), (41, 0))
    ]
    footprint = shapely.Polygon(ring)
    outs = {}
    for name, geometry in (("all", item.geometry), ("corner", shapely.geometry.mapping(footprint))):
        item.geometry = geometry
        folder = tmp_path / name
        write_catalog(folder, [item.clone()])
        settings = config(folder, folder / "out", scheduler, bands=BANDS, shard=16, window=16)
        plan, outcome = run(settings)
        assert not outcome.failed
        outs[name] = len(list(plan.units())), outcome.counts
        cube = s2sharp.open_cube(folder / "out").isel(time=0)
        seen = np.rint(cube["B02"].fillna(-3.2768).values * 10_000)
        expected = np.where(picture["B02"] > 0, picture["B02"].astype(int) - 1000, -32768)
        np.testing.assert_array_equal(seen, expected)
    assert outs["corner"][0] < 0.5 * outs["all"][0]
    assert outs["corner"][1]["ok"] == outs["all"][1]["ok"]


def test_an_acquisition_whose_data_lie_elsewhere_is_no_date_of_the_cube(tmp_path, monkeypatch):
    monkeypatch.setattr(s2sharp.scenes.scene, "MARGIN", 2)
    box = box_at(60, 60)
    items = scenes(tmp_path / "a", noise(box, *BANDS), box)
    other = scenes(tmp_path / "b", noise(box, *BANDS), box, when=WHEN.replace(day=6))[0]
    west, south, east, north = other.bbox
    # The far corner; its box still meets the area.
    corner = [(west, north), (west, south), (west + (east - west) * 0.2, south), (west, north)]
    other.geometry = shapely.geometry.mapping(shapely.Polygon(corner))
    write_catalog(tmp_path, [*items, other])
    whole = make_plan(config(tmp_path, tmp_path / "out", bands=BANDS))
    assert len(whole.acquisitions) == 2
    third = (west + (east - west) * 0.6, south + (north - south) * 0.3, east, north)
    part = make_plan(config(tmp_path, tmp_path / "out", bands=BANDS, bbox=third))
    assert [a.datetime[:10] for a in part.acquisitions] == ["2024-06-01"]
