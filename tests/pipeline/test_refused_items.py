"""Items that are refused by name, or whose odd metadata harm nobody else."""

import itertools
from datetime import timedelta
from pathlib import Path

import pystac
import pytest
from s2sharp.scenes.acquisition import group

from s2sharp_core.lattice import Lattice

from ..core.scenes import NORTH, SOUTH
from .pictures import WHEN, join, noise, scenes
from .variants import BANDS, BOX, HERE, refusal, variant, version, with_own_files


@pytest.fixture
def item(tmp_path) -> pystac.Item:
    return scenes(tmp_path, noise(BOX, *BANDS), BOX)[0]


def undated(item: pystac.Item) -> pystac.Item:
    """The item, naming files whose addresses tell no day; nothing is read of them."""
    for band, asset in item.assets.items():
        asset.href = f"/data/{band}.tif"
    return item


def test_two_dates_that_name_one_file_are_both_refused(item):
    """Which of them shows it nobody can tell; the others stay."""
    undated(item)
    later = variant(item, "later", s2__datatake_id="GS2A_20240611T100031_001_N05.10")
    later.datetime = WHEN + timedelta(days=10)
    for band in BANDS[:-1]:
        later.assets[band].href = f"{later.assets[band].href}.later.tif"
    third = with_own_files(
        variant(item, "third", s2__datatake_id="GS2A_20240621T100031_001_N05.10")
    )
    third.datetime = WHEN + timedelta(days=20)
    for order in itertools.permutations([item, later, third]):
        acquisitions, refused, _ = group(order, BANDS, HERE)
        assert [[s.id for s in a.scenes] for a in acquisitions] == [["third"]]
        assert sorted(r.item for r in refused) == sorted([item.id, "later"])
        assert all(r.kind == "item-broken" and BANDS[-1] in r.message for r in refused)


@pytest.mark.parametrize("folder", ["S2A_33UUP_{own}_0_L2A", "{own}", "{own}T100031_N0510_{other}"])
def test_a_file_that_two_dates_name_belongs_to_the_day_in_its_address(item, folder):
    """The odd item costs itself alone; an address with both days decides nothing."""
    other = WHEN + timedelta(days=10)
    day = folder.format(own=f"{WHEN:%Y%m%d}", other=f"{other:%Y%m%d}")
    for band in BANDS:
        file = Path(item.assets[band].href)
        (file.parent / day).mkdir(exist_ok=True)
        item.assets[band].href = str(file.rename(file.parent / day / file.name))
    later = variant(item, "later", s2__datatake_id=f"GS2A_{other:%Y%m%d}T100031_001_N05.10")
    later.datetime = other
    for order in itertools.permutations([item, later]):
        acquisitions, refused, _ = group(order, BANDS, HERE)
        kept = [] if "{other}" in folder else [item.id]
        assert [scene.id for a in acquisitions for scene in a.scenes] == kept
        assert sorted({item.id, "later"} - set(kept)) == sorted(r.item for r in refused)


def test_dates_whose_items_have_one_id_are_refused_one_by_one(item):
    """Two name one file; the third, of the same id, has its own and stays."""
    undated(item)
    dated = []
    for days in (0, 10, 20):
        day = WHEN + timedelta(days=days)
        one = variant(item, f"day{days}", s2__datatake_id=f"GS2A_{day:%Y%m%d}T100031_001_N05.10")
        with_own_files(one).datetime = day
        one.id = "T33UUP"
        dated.append(one)
    dated[1].assets[BANDS[0]].href = dated[0].assets[BANDS[0]].href
    for order in itertools.permutations(dated):
        acquisitions, refused, _ = group(order, BANDS, HERE)
        assert [a.datetime[:10] for a in acquisitions] == [f"{dated[2].datetime:%Y-%m-%d}"]
        assert len(refused) == 2
        assert {
            f"{d:%Y-%m-%d}" in r.message for d in (WHEN, dated[1].datetime) for r in refused
        } == {True}


def test_two_dates_that_name_one_classification_are_both_refused(item):
    """Clouds of one would be masked in the other."""
    item.assets["SCL"] = item.assets["B05"].clone()
    item.assets["SCL"].href = "/data/classes.tif"
    later = variant(item, "later", s2__datatake_id="GS2A_20240611T100031_001_N05.10")
    with_own_files(later).datetime = WHEN + timedelta(days=10)
    assert len(group([item, later], BANDS, HERE)[0]) == 2
    later.assets["SCL"].href = item.assets["SCL"].href
    acquisitions, refused, _ = group([item, later], BANDS, HERE)
    assert not acquisitions
    assert len(refused) == 2
    assert all("SCL" in r.message for r in refused)


def test_a_replaced_item_that_names_a_file_of_another_date_harms_nobody(item):
    later = with_own_files(variant(item, "later"))
    later.properties["s2:datatake_id"] = "GS2A_20240611T100031_001_N05.10"
    later.datetime = WHEN + timedelta(days=10)
    old, new = version(item, "05.09"), with_own_files(version(item, "05.11"))
    old.assets[BANDS[-1]].href = later.assets[BANDS[-1]].href
    acquisitions, refused, _ = group([old, later, new], BANDS, HERE)
    assert [[s.id for s in a.scenes] for a in acquisitions] == [[new.id], ["later"]]
    assert not refused


def shifted(item: pystac.Item, name: str, metres: float, bands=BANDS) -> pystac.Item:
    other = variant(item, name)
    for band in bands:
        other.assets[band].extra_fields["proj:transform"][5] += metres
    return other


def test_an_item_off_the_lattice_is_refused_by_name(item):
    for metres in (10, 20, 40, 0.01):
        why = refusal(shifted(item, "crooked", metres), item)
        assert why.kind == "off-lattice"
        assert "B01" in why.message
    why = refusal(shifted(item, "one-band", 20, ["B05"]), item)
    assert (why.kind, "B05" in why.message) == ("off-lattice", True)
    # A band that is not read may lie as it likes.
    assert not group([shifted(item, "one-band", 20, ["B05"])], ["B02"], HERE)[1]


def test_bands_of_an_item_must_cover_the_same_cells(item):
    why = refusal(shifted(item, "apart", 60, ["B05"]), item)
    assert why.kind == "off-lattice"
    assert "B05" in why.message


def test_pixels_of_another_size_or_turned_are_refused(item):
    for place, value in ((0, 10.5), (1, 0.1), (3, -0.1), (4, 10)):
        other = variant(item, "turned")
        other.assets["B02"].extra_fields["gsd"] = 10
        other.assets["B02"].extra_fields["proj:transform"][place] = value
        assert refusal(other, item).kind in ("off-lattice", "band-missing")


def test_in_the_south_a_northing_40_more_than_a_multiple_of_60_is_on_the_lattice(tmp_path):
    good = scenes(tmp_path / "good", noise(BOX, *BANDS), BOX, lattice=SOUTH)[0]
    assert good.assets["B01"].extra_fields["proj:transform"][5] % 60 == 40
    assert join([good]).box == BOX
    # What a loader that snaps to multiples of 60 would have written.
    snapped = Lattice(SOUTH.epsg, 0.0, NORTH.y0)
    bad = scenes(tmp_path / "bad", noise(BOX, *BANDS), BOX, lattice=snapped)[0]
    assert bad.assets["B01"].extra_fields["proj:transform"][5] % 60 == 0
    bad.id = "snapped"
    assert refusal(bad, good).kind == "off-lattice"
    for asset in bad.assets.values():
        del asset.extra_fields["proj:transform"]
    assert refusal(bad, good).kind == "off-lattice"


def test_a_grid_that_the_item_does_not_state_is_read_from_the_file(item):
    stated = join([item])
    for key in ("proj:transform", "proj:shape"):
        other = item.clone()
        for asset in other.assets.values():
            asset.extra_fields.pop(key)
        assert join([other]) == stated
    Path(item.assets["B05"].href).unlink()
    other.id = "headless"
    why = refusal(other)
    assert (why.kind, "B05" in why.message) == ("asset-unreadable", True)


def test_missing_and_resampled_bands_are_refused_by_name(item):
    lacking = variant(item, "lacking")
    del lacking.assets["B05"]
    why = refusal(lacking, item)
    assert (why.kind, "B05" in why.message) == ("band-missing", True)
    assert not group([lacking], ["B01", "B02"], HERE)[1]
    coarse = variant(item, "coarse")
    coarse.assets["B02_20m"] = coarse.assets.pop("B02")
    coarse.assets["B02_20m"].extra_fields["proj:transform"][0] = 20
    why = refusal(coarse, item)
    assert why.kind == "band-missing"
    assert "resampled" in why.message
    assert "B02_20m" in why.message


def test_a_resampled_copy_beside_the_native_band_is_not_taken(item):
    copy = item.assets["B05"].clone()
    copy.extra_fields |= {"proj:transform": item.assets["B02"].extra_fields["proj:transform"]}
    copy.href = copy.href.replace("B05", "B05_10m")
    item.assets = {"B05_10m": copy} | item.assets
    (scene,) = join([item]).scenes
    assert [Path(s.href).name for s in scene.sources if s.band == "B05"] == ["B05.tif"]


def test_an_address_that_a_remote_catalog_may_not_name_is_refused(item):
    _, refused, _ = group([item], BANDS, "https://example.com/catalog.json")
    assert [r.kind for r in refused] == ["href-refused"]


@pytest.mark.parametrize(
    "grid",
    [
        {"proj:transform": [10, 0, "west", 0, -10, 4_600_020]},
        {"proj:transform": [10, 0, 1]},
        {"proj:transform": [10, 0, float("nan"), 0, -10, 4_600_020]},
        {"proj:transform": [10, 0, float("inf"), 0, -10, 4_600_020]},
        {"proj:transform": "10 0 500100"},
        {"proj:shape": [72]},
        {"proj:shape": ["all", "of it"]},
        {"proj:shape": [0, 0]},
        {"proj:shape": [-72, -72]},
        {"proj:shape": [float("inf"), 72]},
        {"proj:shape": 72},
    ],
)
def test_a_grid_that_makes_no_sense_costs_its_item_only(item, grid):
    broken = variant(item, "broken")
    broken.assets["B02"].extra_fields |= grid
    assert "B02" in refusal(broken, item).message


@pytest.mark.parametrize(
    "said",
    [
        {"datetime": None},
        {"proj:code": "EPSG:4326"},
        {"proj:code": "none"},
        {"s2:processing_baseline": [7]},
        {"s2:datatake_id": ["x"]},
        {"eo:cloud_cover": "many"},
        {"platform": 2},
        {"grid:code": 33},
        {"sat:absolute_orbit": "x", "sat:relative_orbit": [1]},
    ],
)
def test_odd_metadata_of_one_item_leave_the_others_alone(item, said):
    odd = with_own_files(variant(item, "odd", grid__code="MGRS-33UAB"))
    odd.properties |= said
    if "datetime" in said:
        odd.datetime = None
    acquisitions, refused, _ = group([odd, item], BANDS, HERE)
    assert item.id in {scene.id for a in acquisitions for scene in a.scenes}
    assert {r.item for r in refused} <= {"odd"}
