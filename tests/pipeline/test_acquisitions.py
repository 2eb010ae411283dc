"""Which scenes make one picture, and which version of them counts."""

import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pystac
import pytest
from s2sharp.catalog.sources import address
from s2sharp.scenes.acquisition import Acquisition, group
from s2sharp.scenes.read import Files

from s2sharp_core.lattice import Box, Lattice

from .pictures import BOTH, WHEN, gsd_of, join, noise, scenes
from .variants import BANDS, BOX, HERE, LEFT, RIGHT, variant, version, with_own_files


@pytest.fixture
def item(tmp_path) -> pystac.Item:
    return scenes(tmp_path, noise(BOX, *BANDS), BOX)[0]


@pytest.mark.parametrize("lattice", BOTH, ids=["north", "south"])
def test_tiles_of_one_datatake_are_one_picture(tmp_path, lattice):
    items = scenes(tmp_path, noise(BOX, *BANDS), BOX, LEFT, RIGHT, lattice=lattice)
    # Tiles of one overpass are sensed, and processed, at different moments.
    items[0].datetime += timedelta(seconds=14)
    items[1].properties["s2:datatake_id"] = items[1].properties["s2:datatake_id"][:-5] + "05.10"
    for order in (items, items[::-1]):
        acquisition = join(order)
        assert [scene.box for scene in acquisition.scenes] == [LEFT, RIGHT]
        assert acquisition.box == BOX
        assert acquisition.epsg == lattice.epsg
        assert acquisition.datetime == "2024-06-01T10:10:31"
    assert join(items) == join(items[::-1])


def test_another_overpass_or_satellite_is_another_picture(tmp_path, item):
    later = scenes(tmp_path / "b", noise(BOX, *BANDS), BOX, when=WHEN + timedelta(days=5))
    twin = scenes(tmp_path / "c", noise(BOX, *BANDS), BOX, platform="sentinel-2b")
    acquisitions, refused, _ = group([*later, *twin, item], BANDS, HERE)
    assert not refused
    assert len({a.id for a in acquisitions}) == 3
    assert [a.datetime[:10] for a in acquisitions] == ["2024-06-01", "2024-06-01", "2024-06-06"]


def test_two_codes_of_one_datatake_stay_apart(tmp_path, item):
    other = scenes(tmp_path / "b", noise(BOX, *BANDS), BOX, lattice=Lattice.of(32634))
    assert other[0].properties["s2:datatake_id"] == item.properties["s2:datatake_id"]
    acquisitions, *_ = group([*other, item], BANDS, HERE)
    assert [(a.epsg, len(a.scenes)) for a in acquisitions] == [(32633, 1), (32634, 1)]
    assert len({a.id for a in acquisitions}) == 2


@pytest.mark.parametrize(
    ("found", "kept"),
    [
        (["5.09", "05.11"], {"05.11"}),
        (["05.11", "5.09"], {"05.11"}),
        (["9.99", "10.00"], {"10.00"}),
        (["02.05", "03.01", "02.14"], {"03.01"}),
        (["5.09", "05.09", "05.08"], {"5.09"}),
    ],
)
def test_the_newest_baseline_of_a_tile_counts_as_a_number(item, found, kept):
    acquisition = join([version(item, number) for number in found])
    assert {scene.id.rpartition("_N")[2] for scene in acquisition.scenes} == kept


def test_each_tile_has_a_newest_baseline_of_its_own(tmp_path):
    left, right = scenes(tmp_path, noise(BOX, *BANDS), BOX, LEFT, RIGHT)
    found = [version(left, "05.09"), version(right, "05.11"), version(right, "05.09")]
    kept = {scene.id for scene in join(found).scenes}
    assert kept == {f"{left.id}_N05.09", f"{right.id}_N05.11"}


def test_what_a_newer_item_replaces_is_told(item):
    old, new = version(item, "5.09"), version(item, "05.11")
    for order in ([old, new], [new, old]):
        (acquisition,), refused, choices = group(order, BANDS, HERE)
        assert not refused
        assert [scene.id for scene in acquisition.scenes] == [new.id]
        assert [(choice.item, choice.what) for choice in choices] == [(old.id, "replaced")]
        assert choices[0].why == f"processing baseline 05.09; {new.id} has 05.11"


def test_of_two_levels_of_a_datatake_the_ground_counts(tmp_path):
    """Whatever is newer, and although a tile has the other level alone: that one is missing then, and told."""
    left, right = scenes(tmp_path, noise(BOX, *BANDS), BOX, LEFT, RIGHT)
    name = "S2A_MSIL{}_20240601T101031_N0511_R022_T{}_20240601T{}"
    ground = variant(left, "ground", s2__product_uri=name.format("2A", "33UAA", "120000"))
    above = variant(left, "above", s2__product_type="S2MSI1C", s2__processing_baseline="05.12")
    alone = variant(right, name.format("1C", "33UAB", "120000"))
    for order in ([ground, above, alone], [alone, above, ground]):
        (acquisition,), refused, choices = group(order, BANDS, HERE)
        assert not refused
        assert [(scene.id, scene.level) for scene in acquisition.scenes] == [("ground", "L2A")]
        assert {(choice.item, choice.what, choice.why) for choice in choices} == {
            (item.id, "left out", "it is Level-1C, and ground is Level-2A")
            for item in (above, alone)
        }
    (acquisition,), _, choices = group([above, alone], BANDS, HERE)
    assert (len(acquisition.scenes), acquisition.level, choices) == (2, "L1C", [])


def test_a_path_may_be_written_as_an_address(tmp_path, item):
    """With percent signs for what an address cannot hold, or not; a name that has percent signs is meant as it is."""
    expected = join([item])
    folder = tmp_path / "a b#1?é%20"
    folder.mkdir()
    item.set_self_href(str(tmp_path / "item.json"))
    for asset in item.assets.values():
        file = Path(asset.href).rename(folder / f"{Path(asset.href).stem}.TIF")
        for said in (
            file.as_uri(),
            quote(f"./{folder.name}/{file.name}"),
            str(file),
            f"{folder.name}/{file.name}",
        ):
            asset.href = said
            assert address(asset) == str(file)
    assert join([item]).box == expected.box
    Files(join([item])).mosaic("B02", BOX)


STRIP = "S2A_OPER_MSI_L2A_DS_{}_S20240601T{}_N05.11"


@pytest.mark.parametrize(
    "said",
    [
        ("s2:generation_time", "2024-06-01T17:00:00Z", "2024-06-03T08:00:00.5Z"),
        ("s2:generation_time", "2024-06-03T07:00:00Z", "2024-06-03T10:00:00+02:00"),
        (
            "s2:product_uri",
            "S2A_MSIL2A_20240601T101031_N0511_R022_T33UAA_20240601T170000.SAFE",
            "S2A_MSIL2A_20240601T101031_N0511_R022_T33UAA_20240603T080000.SAFE",
        ),
        (
            "s2:granule_id",
            "S2A_OPER_MSI_L2A_TL_2APS_20240601T170000_A046900_T33UAA_N05.11",
            "S2A_OPER_MSI_L2A_TL_2APS_20240603T080000_A046900_T33UAA_N05.11",
        ),
        ("created", "2024-06-02T00:00:00Z", "2024-06-03T09:00:00Z"),
        ("updated", "2024-06-02T00:00:00Z", "2024-06-03T09:00:00Z"),
        ("title", "nothing", "nothing"),
        # Received by two stations: one strip, two products.
        (
            "s2:datastrip_id",
            STRIP.format("2APS_20240601T170000", "101031"),
            STRIP.format("VGS2_20240601T180000", "101031"),
        ),
    ],
    ids=lambda said: said[0],
)
def test_of_a_tile_processed_twice_the_later_counts(item, said):
    key, before, after = said
    early, late = variant(item, "a"), variant(item, "b")
    early.properties[key], late.properties[key] = before, after
    for order in ([early, late], [late, early]):
        (acquisition,), _, choices = group(order, BANDS, HERE)
        assert [scene.id for scene in acquisition.scenes] == ["b"]
        assert [(choice.item, choice.what) for choice in choices] == [("a", "replaced")]
        assert "same processing baseline as b" in choices[0].why


def halves(folder: Path) -> list[pystac.Item]:
    """A tile that came in two data strips: two items of its whole grid, each without the other's lines."""
    upper = Box(BOX.row0, BOX.row0 + 7, BOX.col0, BOX.col1)
    lower = Box(BOX.row0 + 5, BOX.row1, BOX.col0, BOX.col1)
    items = []
    for name, part in (("north", upper), ("south", lower)):
        picture = noise(BOX, *BANDS)
        for band, dn in picture.items():
            gone = np.ones(dn.shape, dtype=bool)
            gone[BOX.slices(part, gsd_of(band))] = False
            dn[gone] = 0
        (item,) = scenes(folder / name, picture, BOX)
        seen = scenes(folder / f"{name}-footprint", noise(part, "B01"), part)[0]
        item.id, item.geometry, item.bbox = f"{item.id}-{name}", seen.geometry, seen.bbox
        items.append(item)
    return items


@pytest.mark.parametrize("strips", [True, False])
def test_a_tile_split_into_two_items_is_joined(tmp_path, strips):
    items = halves(tmp_path)
    if strips:
        for number, item in enumerate(items):
            # Archives that draw the whole tile around each half.
            item.geometry = items[0].geometry
            name = STRIP.format("2APS_20240601T170000", f"10103{number}")
            item.properties["s2:datastrip_id"] = name
    whole = noise(BOX, *BANDS)
    for order in (items, items[::-1]):
        (acquisition,), _, choices = group(order, BANDS, HERE)
        assert len(acquisition.scenes) == 2
        assert {scene.tile for scene in acquisition.scenes} == {"33UAA"}
        assert [choice.what for choice in choices] == ["joined", "joined"]
        assert "2 items of tile 33UAA" in choices[0].why
        for band in BANDS:
            dn, number = Files(acquisition).mosaic(band, BOX)
            np.testing.assert_array_equal(dn, whole[band])
            assert set(np.unique(number)) == {1, 2}


def test_a_strip_that_was_not_processed_anew_stays_beside_one_that_was(tmp_path):
    north, south = halves(tmp_path)
    old, new = version(north, "05.09"), version(north, "05.11")
    only = version(south, "05.09")
    (acquisition,), _, choices = group([only, old, new], BANDS, HERE)
    # The newer one first: where both have data, it counts.
    assert [scene.id for scene in acquisition.scenes] == [new.id, only.id]
    assert {(choice.item, choice.what) for choice in choices} == {
        (old.id, "replaced"),
        (new.id, "joined"),
        (only.id, "joined"),
    }


def test_a_part_of_what_a_newer_item_shows_is_not_needed(tmp_path):
    north, _ = halves(tmp_path)
    whole = scenes(tmp_path / "whole", noise(BOX, *BANDS), BOX)[0]
    acquisition = join([version(north, "05.09"), version(whole, "05.11")])
    assert len(acquisition.scenes) == 1
    # But a newer part takes the place of that part only.
    acquisition = join([version(north, "05.11"), version(whole, "05.09")])
    assert [scene.baseline for scene in acquisition.scenes] == [(5, 11), (5, 9)]


def unnamed(item: pystac.Item, name: str, when: datetime, **properties) -> pystac.Item:
    """A tile of a catalog that tells no datatake."""
    other = variant(item, name, grid__code=f"MGRS-{name}", **properties)
    del other.properties["s2:datatake_id"]
    other.datetime = when
    return other


@pytest.mark.parametrize("when", [WHEN, datetime(2024, 6, 1, 23, 59, 50, tzinfo=UTC)])
def test_without_a_datatake_tiles_of_one_pass_are_one_picture(item, when):
    a, b, c = (
        unnamed(item, f"33UA{letter}", when + timedelta(seconds=seconds))
        for letter, seconds in zip("ABC", (0, 14, 1400), strict=True)
    )
    after = unnamed(item, "33UAD", when + timedelta(minutes=98))
    twin = unnamed(item, "33UAE", when + timedelta(minutes=3), platform="sentinel-2b")
    every = [with_own_files(one) for one in (a, b, c, after, twin)]
    answers = set()
    for order in itertools.permutations(every):
        acquisitions = group(order, BANDS, HERE)[0]
        answers.add(tuple(tuple(scene.id for scene in a.scenes) for a in acquisitions))
    assert answers == {(("33UAA", "33UAB", "33UAC"), ("33UAE",), ("33UAD",))}


def test_a_repeated_item_counts_once(item):
    assert len(join([item, item.clone(), item]).scenes) == 1


def test_the_cut_of_overlaps_does_not_depend_on_the_order_of_the_answer(tmp_path):
    cuts = [Box(BOX.row0, BOX.row1, BOX.col0 + i, BOX.col0 + i + 4) for i in (0, 3, 6, 8)]
    items = scenes(tmp_path, noise(BOX, *BANDS), BOX, *cuts)
    rng = np.random.default_rng(1)
    answers = {join([items[i] for i in rng.permutation(4)]) for _ in range(5)}
    assert len(answers) == 1


def test_an_interval_of_sensing_will_do_for_a_moment(item):
    interval = pystac.Item.from_dict(
        {
            **item.to_dict(),
            "properties": {
                **item.properties,
                "datetime": None,
                "start_datetime": "2024-06-01T10:10:31Z",
                "end_datetime": "2024-06-01T10:10:59Z",
            },
        }
    )
    assert join([interval]).datetime == "2024-06-01T10:10:31"


def test_times_are_kept_in_utc(item):
    properties = {**item.properties, "datetime": "2024-06-01T12:10:31+02:00"}
    east = pystac.Item.from_dict({**item.to_dict(), "properties": properties})
    assert join([east]).datetime == "2024-06-01T10:10:31"


def cloudy(folder: Path, left: float | None, right: float | None) -> Acquisition:
    items = scenes(folder, noise(BOX, *BANDS), BOX, LEFT, RIGHT)
    cuts = Box(BOX.row0, BOX.row0 + 3, BOX.col0, BOX.col1)
    items += scenes(folder / "third", noise(cuts, *BANDS), cuts, name="33UAC")
    for item, cover in zip(items, (left, right, None), strict=True):
        item.properties["eo:cloud_cover"] = cover
        if cover is None:
            del item.properties["eo:cloud_cover"]
    return join(items)


def test_cloud_cover_is_that_of_the_whole_picture(tmp_path):
    # Both tiles have 12 rows, 7 columns each; the third doesn't say.
    assert cloudy(tmp_path / "a", 10, 40).cloud == pytest.approx(25)
    assert cloudy(tmp_path / "b", None, 40).cloud == 40
    assert cloudy(tmp_path / "c", 0, 0).cloud == 0
    assert cloudy(tmp_path / "d", None, None).cloud is None


def test_a_large_tile_weighs_more_than_a_small_one(tmp_path):
    wide = Box(BOX.row0, BOX.row1, BOX.col0, BOX.col1 - 3)
    slim = Box(BOX.row0, BOX.row1, BOX.col1 - 3, BOX.col1)
    items = scenes(tmp_path, noise(BOX, *BANDS), BOX, wide, slim)
    for item, cover in zip(items, (0, 100), strict=True):
        item.properties["eo:cloud_cover"] = cover
    assert join(items).cloud == pytest.approx(25)


@pytest.mark.parametrize(
    "hostile",
    [
        "../../etc/passwd",
        "/root/.ssh",
        "a\\b",
        "..",
        "nul\0byte",
        "a\nb",
        "x" * 400,
        "",
        "%2e%2e%2f",
    ],
)
def test_no_id_leads_out_of_a_folder(tmp_path, item, hostile):
    bad = with_own_files(variant(item, "bad"))
    bad.id = hostile
    bad.properties["s2:datatake_id"] = hostile
    acquisitions, *_ = group([bad, item], BANDS, HERE)
    for acquisition in acquisitions:
        assert not set(acquisition.id) & set("/\\\0\n")
        assert len(acquisition.id) <= 120
        assert acquisition.id.strip(".") != ""
        assert (tmp_path / acquisition.id).parent.resolve() == tmp_path.resolve()
    assert item.id in {scene.id for a in acquisitions for scene in a.scenes}


def test_what_pixels_follow_from_is_not_where_they_are_fetched(item):
    (scene,) = join([item]).scenes
    signed = item.clone()
    for asset in signed.assets.values():
        asset.href = f"https://example.com{asset.href}?sig=2"
    (moved,) = join([signed]).scenes
    assert moved.digest == scene.digest
    lower = item.clone()
    for asset in lower.assets.values():
        asset.extra_fields["raster:bands"][0]["offset"] = 0.0
    (other,) = join([lower]).scenes
    assert other.digest != scene.digest
    (newer,) = join([variant(item, item.id, s2__processing_baseline="05.12")]).scenes
    assert newer.digest != scene.digest
