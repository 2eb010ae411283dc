"""An item that contradicts itself or its files is refused by name; what a file lacks is told."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
from s2sharp.catalog.documents import item_of
from s2sharp.catalog.extent import interval
from s2sharp.catalog.http import as_json
from s2sharp.catalog.query import Query, boxes_around
from s2sharp.cli.app import app
from s2sharp.execution.unit import _tell_holes
from s2sharp.planning.area import Area
from s2sharp.scenes.acquisition import Acquisition, group
from s2sharp.scenes.holes import Holes
from s2sharp.scenes.item_files import write_items
from s2sharp.scenes.offset_check import offset_doubt
from s2sharp.scenes.raster import OpenFiles
from s2sharp.scenes.read import Files, load_block
from typer.testing import CliRunner

from s2sharp_core import S2SharpError
from s2sharp_core.bands import BANDS
from s2sharp_core.lattice import Box

from . import items
from .pictures import box_at, join, noise, overwrite, scenes
from .products import write_jp2

BOX = box_at(8, 8)
FOUR = ("B02", "B04", "B05", "B12")


@pytest.fixture
def item(tmp_path: Path) -> pystac.Item:
    return scenes(tmp_path, noise(BOX, *FOUR), BOX)[0]


def refusal(item: pystac.Item, bands: tuple[str, ...] = FOUR) -> str:
    acquisitions, (refused,), _ = group([item], bands, "/catalog.json")
    assert not acquisitions
    return f"{refused.kind}: {refused.message}"


def rename(item: pystac.Item, **names: str) -> None:
    """Give files names of their own beside those that they have."""
    for band, name in names.items():
        old = Path(item.assets[band].href)
        (old.parent / name).parent.mkdir(exist_ok=True)
        item.assets[band].href = str(old.rename(old.parent / name))


def test_addresses_of_two_bands_that_were_exchanged_are_seen_by_the_files_names(item):
    for one, other in (("B02", "B04"), ("B05", "B12")):
        odd = item.clone()
        first, second = odd.assets[one], odd.assets[other]
        first.href, second.href = second.href, first.href
        assert f"has the name of {other}" in refusal(odd)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("T33UAA_20230101T101031_B05_20m.tif", "a name with 2023-01-01, not 2024-06-01"),
        ("T33UBB_20240601T101031_B05_20m.tif", "the name of tile 33UBB, not 33UAA"),
        ("S2A_33UAA_20230101_B05.tif", "the name of another day than B02"),
        ("33UBB_20240601_B05.tif", "the name of another tile than B02"),
    ],
)
def test_a_file_of_another_day_or_tile_is_seen_by_its_name(item, name, why):
    if "T101031" not in name:  # a folder of the first one's day would be in all addresses
        folder = Path(item.assets["B02"].href).parent.rename(
            Path(item.assets["B02"].href).parents[1] / "x"
        )
        for asset in item.assets.values():
            asset.href = str(folder / Path(asset.href).name)
    rename(item, **{band: f"S2A_33UAA_20240601_{band}.tif" for band in FOUR if band != "B05"})
    rename(item, B05=name)
    assert why in refusal(item)


@pytest.mark.parametrize(("one", "other"), [("B02", "B04"), ("B12", "B05")])
def test_one_file_that_is_said_to_hold_two_bands_is_refused(item, one, other):
    rename(item, **{band: f"{number}.tif" for number, band in enumerate(FOUR)})
    item.assets[one].href = item.assets[other].href
    assert f"the same address as {min(one, other)}" in refusal(item)


def test_names_that_say_the_same_in_other_ways_do_no_harm(item):
    exact = join([item.clone()])
    rename(
        item,
        B02="T33UAA_20240531T235959_B02_10m.tif",
        B04="red.tif",
        B05="rededge_of_33UAA_20240601.tif",
        B12="version_20250101_of_20240601_B12.tif",
    )
    assert join([item]).scenes[0].digest == exact.scenes[0].digest


@pytest.mark.parametrize("field", ["bands", "eo:bands"])
def test_a_key_and_a_name_that_say_other_bands_cost_who_asks_for_them(item, field):
    item.assets["B02"].extra_fields[field] = [{"name": "B04"}]
    assert "has an asset B02 that is named B04" in refusal(item)
    assert group([item], ("B05", "B12"), "/catalog.json")[0]


@pytest.mark.parametrize("change", [{"offset": 0.0}, {"offset": -0.2}, {"scale": 0.001}])
def test_a_band_whose_offset_is_far_from_that_of_others_is_refused(item, change):
    item.assets["B05"].extra_fields["raster:bands"][0] |= change
    assert "has bands that differ" in refusal(item)


@pytest.mark.parametrize("said", ["abc", "-0,1", [], [-0.1], True, {"value": -0.1}, float("inf")])
@pytest.mark.parametrize("what", ["offset", "scale"])
def test_a_number_that_is_none_is_refused_and_not_taken_for_unsaid(item, what, said):
    for asset in item.assets.values():
        asset.extra_fields["raster:bands"][0][what] = said
    assert f"its {what} " in (why := refusal(item))
    assert "is not a number" in why


@pytest.mark.parametrize("said", [None, "", float("nan"), "NaN"])
def test_what_tables_write_for_unsaid_is_unsaid(item, said):
    for asset in item.assets.values():
        asset.extra_fields["raster:bands"][0]["offset"] = said
    assert {source.origin for source in join([item]).scenes[0].sources} == {
        "processing baseline 05.11"
    }


def test_an_offset_in_dn_counts_where_the_baseline_says_the_same(item):
    for asset in item.assets.values():
        asset.extra_fields["raster:bands"][0] |= {"scale": 1, "offset": -1000}
    assert join([item]).scenes[0].sources[0].offset == -0.1
    item.properties["s2:processing_baseline"] = "02.05"
    assert "Plausible: scale 0.0001 and offset -0.1" in refusal(item)


def state(item: pystac.Item, band: str, scale: float, offset: float) -> None:
    """Write into a band's file what its DN mean."""
    with rasterio.open(item.assets[band].href, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as file:
        file.scales, file.offsets = (scale,), (offset,)


@pytest.mark.parametrize("stated", [(1e-4, 0.0), (1e-4, -0.2), (1e-3, -0.1), (1.0, -500.0)])
def test_a_file_that_states_other_reflectance_than_its_item_is_refused(item, stated):
    """As where an archive has taken the offset away, and its item, which says nothing of it, has a new baseline."""
    for asset in item.assets.values():
        del asset.extra_fields["raster:bands"][0]["offset"]
    state(item, "B05", *stated)
    with pytest.raises(S2SharpError, match="band B05: the file holds DN with scale") as told:
        Files(join([item])).mosaic("B05", BOX)
    assert told.value.kind == "metadata-contradicts-file"
    assert "offset -0.1 (processing baseline 05.11)" in told.value.message


@pytest.mark.parametrize("stated", [(1e-4, -0.1), (1e-4, -1000.0), (1.0, -1000.0), (1.0, 0.0)])
def test_a_file_may_state_the_same_as_its_item_in_dn_or_nothing(item, stated):
    expected = Files(join([item])).mosaic("B05", BOX)[0]
    state(item, "B05", *stated)
    np.testing.assert_array_equal(Files(join([item])).mosaic("B05", BOX)[0], expected)


def test_what_an_archive_says_it_did_counts_before_what_its_files_say(item):
    item.properties["earthsearch:boa_offset_applied"] = True
    expected = Files(join([item])).mosaic("B05", BOX)[0]
    state(item, "B05", 1e-4, -0.1)
    np.testing.assert_array_equal(Files(join([item])).mosaic("B05", BOX)[0], expected)


@pytest.mark.parametrize("said", [True, "true", "True", 1, "1"])
def test_a_flag_is_read_in_every_spelling(item, said):
    item.properties["earthsearch:boa_offset_applied"] = said
    assert join([item]).scenes[0].sources[0].offset == 0


def test_a_picture_brighter_than_any_cloud_has_another_scale(tmp_path):
    dn = {band: np.full(box_at(30, 30).pixels(BANDS[band].gsd), 3500, np.uint16) for band in FOUR}
    (item,) = scenes(tmp_path, dn, box_at(30, 30))
    for asset in item.assets.values():
        asset.extra_fields["raster:bands"][0]["scale"] = 0.001
    acquisition = join([item])
    block = load_block(Files(acquisition), acquisition, FOUR, box_at(30, 30), 0)
    doubt = offset_doubt(block, acquisition)
    assert doubt is not None
    assert doubt.certain
    assert "Its scale seems to differ" in doubt.text


# Files that are not whole

WIDE = box_at(80, 80)


def holed(folder: Path, band: str, rows: slice, *, edge: bool = False) -> dict[str, float]:
    picture = noise(WIDE, *FOUR)
    for name, dn in picture.items():
        if edge:  # where a swath ends, bands lie side by side
            cells = np.arange(dn.shape[1]) * 80 // dn.shape[1]
            dn[:, cells > 50 + 3 * FOUR.index(name)] = 0
    n = picture[band].shape[0] // 80
    picture[band][rows.start * n : rows.stop * n] = 0
    acquisition = join(scenes(folder, picture, WIDE))
    return lacking(acquisition, WIDE)


def lacking(acquisition: Acquisition, box: Box) -> dict[str, float]:
    holes = Holes(box)
    for row in range(box.row0, box.row1, 32):
        strip = Box(row, min(box.row1, row + 32), box.col0, box.col1)
        holes.look(load_block(Files(acquisition), acquisition, FOUR, strip, 2), strip)
    if holes.found():
        with pytest.warns(UserWarning, match="a file is not whole, perhaps"):
            _tell_holes(holes, acquisition, box)
    return holes.found()


@pytest.mark.parametrize("band", ["B02", "B05"])
@pytest.mark.parametrize(("rows", "share"), [(slice(40, 80), 0.5), (slice(30, 34), 0.05)])
def test_a_band_whose_file_is_partly_written_is_told(tmp_path, band, rows, share):
    assert holed(tmp_path, band, rows) == {band: share}


def test_edges_of_bands_that_lie_apart_are_no_holes(tmp_path):
    assert holed(tmp_path, "B02", slice(0, 0), edge=True) == {}


def test_a_stream_that_was_never_written_to_its_end_is_no_picture(item):
    file = Path(item.assets["B05"].href).with_name("B05.jp2")
    with rasterio.open(item.assets["B05"].href) as old:
        write_jp2(file, old.read(1), old.crs, old.transform)
    item.assets["B05"].href, item.assets["B05"].media_type = str(file), "image/jp2"
    acquisition = join([item])
    assert Files(acquisition).mosaic("B05", BOX)[0].all()
    whole = file.read_bytes()
    for share in (0.3, 0.6, 0.97):
        kept = int(len(whole) * share)
        file.write_bytes(whole[:kept] + bytes(len(whole) - kept))
        with pytest.raises(S2SharpError, match="B05: cannot read"):
            Files(acquisition).mosaic("B05", BOX)


def test_a_file_that_is_replaced_is_told_to_whoever_read_it_before_and_to_nobody_else(item):
    acquisition = join([item])
    reader, other = Files(acquisition), Files(acquisition)
    before = reader.mosaic("B05", BOX)[0]
    halve(Path(item.assets["B05"].href))
    reader.kept.files.clear()  # as where a read fails in between: a file that stays open is the old one
    for again in (reader, Files(acquisition, OpenFiles(seen=reader.kept.seen))):
        with pytest.raises(S2SharpError, match="was replaced while it was read"):
            again.mosaic("B05", BOX)
    np.testing.assert_array_equal(other.mosaic("B05", BOX)[0], before // 2)


def halve(file: Path) -> None:
    with rasterio.open(file) as old:
        about, dn = (old.crs.to_epsg(), tuple(old.transform)[:6]), old.read(1)
    overwrite(file, dn // 2, *about)


# Documents and words


def test_numbers_without_an_end_cost_no_more_than_where_they_stand():
    document = json.dumps(items.cdse()).replace('"gsd": 10', f'"gsd": 1{"0" * 6000}', 1)
    document = document.replace('"bbox": [15.0', f'"bbox": [1{"0" * 500}', 1)
    item = item_of(as_json(document), None)
    assert item.bbox is None
    assert group([item], tuple(BANDS), "https://example.org")[0]
    assert item_of(items.cdse() | {"bbox": [10**400] * 4}, None).bbox is None


def test_a_footprint_that_its_own_bbox_contradicts_loses_no_item():
    query = Query("https://example.org", "c", boxes_around((15, 47, 16, 48), 0), None, None)
    item = item_of(items.cdse(), None)
    assert query.matches(item)
    ring = item.geometry["coordinates"][0]
    turned = {"type": "Polygon", "coordinates": [[[y, x] for x, y in ring]]}
    assert query.matches(item_of(items.cdse() | {"geometry": turned}, None))
    far = Query("https://example.org", "c", boxes_around((15, 10, 16, 11), 0), None, None)
    assert not far.matches(item)
    assert not far.matches(item_of(items.cdse() | {"geometry": turned}, None))


def test_a_footprint_that_crosses_itself_loses_no_item_that_its_bbox_names():
    query = Query(
        "https://example.org", "c", boxes_around((15.9, 47.9, 15.95, 47.95), 0), None, None
    )
    ring = [[15, 47], [16, 47], [16, 0], [15, 48], [15, 47]]
    odd = {"geometry": {"type": "Polygon", "coordinates": [ring]}, "bbox": [15, 47, 16, 48]}
    assert query.matches(item_of(items.cdse() | odd, None))
    assert not query.matches(item_of(items.cdse() | odd | {"bbox": [15, 47, 15.5, 48]}, None))


@pytest.mark.parametrize("said", [None, "", 1e300, 10**400, True, [None], {"a": None}])
def test_the_name_of_a_collection_that_is_no_text_costs_nothing(tmp_path, said):
    item = item_of(items.cdse() | {"collection": said}, None)
    acquisitions, refused, _ = write_items(
        tmp_path / "items.parquet", [item], FOUR, "https://e.org"
    )
    assert len(acquisitions) == 1
    assert not refused


def test_a_document_may_begin_with_a_byte_order_mark():
    assert as_json("\ufeff" + json.dumps(items.cdse()))["id"] == items.cdse()["id"]


def test_a_day_may_be_written_without_strokes_and_a_week_is_none():
    assert interval("20240601") == interval("2024-06-01")
    assert interval("20240601/20240603") == interval("2024-06-01/2024-06-03")
    for odd in ("2024-W22", "2024-W22-6", "20241301", "20240230"):
        with pytest.raises(S2SharpError):
            interval(odd)


def test_a_command_whose_reader_has_gone_ends_as_others_do():
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "s2sharp", "run", "--help"]
    try:
        done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("features", [7, {}, "x", [7]])
def test_an_area_that_is_no_list_of_features_is_refused(tmp_path, features):
    file = tmp_path / "area.json"
    file.write_text(json.dumps({"type": "FeatureCollection", "features": features or {"a": 1}}))
    with pytest.raises(S2SharpError, match="Cannot read the area"):
        Area.of(None, file)


def test_a_folder_that_is_none_is_told_in_a_line(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "lease").write_text("x")
    for command in ("status", "verify", "clean"):
        done = CliRunner().invoke(app, [command, str(tmp_path)])
        assert isinstance(done.exception, SystemExit)
        assert done.exit_code in (1, 2)
