"""Whatever stands in a document, it costs its own item alone. ``python -m tests.benchmarks.fuzz`` looks longer."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, seed, settings
from s2sharp.catalog.documents import fingerprint, item_of
from s2sharp.catalog.search import search

from s2sharp_core.bands import BANDS

from . import fuzzing, items
from .fuzzing import check_item, check_product, odd_items, odd_texts
from .pictures import box_at, noise, scenes
from .products import write_safe

SEED = 20_240_601
few = settings(
    max_examples=120,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@seed(SEED)
@few
@given(document=odd_items())
def test_an_odd_item_is_in_an_acquisition_or_refused(tmp_path, document):
    check_item(document, tmp_path)


@pytest.fixture(scope="module")
def safe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("safe")
    box = box_at(4, 4)
    (item,) = scenes(folder / "cogs", noise(box, *BANDS, "SCL"), box)
    return write_safe(folder, item, "2A", -1000)


@seed(SEED)
@settings(few, max_examples=60)
@given(change=odd_texts())
def test_an_odd_product_is_in_an_acquisition_or_left_out(tmp_path, safe, change):
    check_product(safe, change, tmp_path)


def test_each_shape_as_it_is_is_taken(tmp_path):
    for document in fuzzing.SHAPES:
        assert check_item(document, tmp_path) == "taken"


def test_an_item_that_comes_twice_is_known_by_what_it_says():
    one, two = items.cdse(), items.cdse()
    assert fingerprint(item_of(one, None)) == fingerprint(item_of(items.cdse(), None))
    for asset in one["assets"].values():
        asset["href"] += "?X-Amz-Signature=0123456789abcdef0123456789"
    assert fingerprint(item_of(one, None)) == fingerprint(item_of(two, None))
    two["properties"]["eopf:datastrip_id"] = "S2C_x_S20250330T100051_N05.11"
    assert fingerprint(item_of(one, None)) != fingerprint(item_of(two, None))


def test_halves_of_a_tile_under_one_id_are_both_there(tmp_path):
    """In one page of an API, in a static catalog, and in a file: the search gives both, and they are joined."""
    import json

    from s2sharp.scenes.acquisition import group
    from s2sharp.scenes.read import Files

    from s2sharp_core.lattice import Box

    box = box_at(12, 14)
    whole = noise(box, *BANDS)
    halves = []
    for half, rows in (("upper", (0, 7)), ("lower", (5, 12))):
        part = Box(box.row0 + rows[0], box.row0 + rows[1], box.col0, box.col1)
        picture = {}
        for band, dn in whole.items():
            gone = np.ones(dn.shape, dtype=bool)
            gone[box.slices(part, BANDS[band].gsd)] = False
            picture[band] = np.where(gone, 0, dn).astype(dn.dtype)
        (item,) = scenes(tmp_path / half, picture, box)
        (seen,) = scenes(tmp_path / f"{half}-seen", noise(part, "B01"), part)
        item.geometry, item.bbox = seen.geometry, seen.bbox
        item.id = "one-and-the-same"
        # One strip: a station's name differs, and not when its sensing began.
        item.properties["s2:datastrip_id"] = "S2A_OPER_MSI_L2A_DS_x_S20240601T101031_N05.11"
        document = item.to_dict(include_self_link=False) | {"collection": "s2"}
        (tmp_path / f"{half}.json").write_text(json.dumps(document))
        halves.append(document)
    about = {
        "type": "Collection",
        "stac_version": "1.0.0",
        "id": "s2",
        "description": "x",
        "license": "other",
        "extent": {
            "spatial": {"bbox": [[-180, -90, 180, 90]]},
            "temporal": {"interval": [["2015-01-01T00:00:00Z", None]]},
        },
        "links": [
            {"rel": "item", "href": f"./{half}.json"} for half in ("upper", "lower", "lower")
        ],
    }
    (tmp_path / "catalog.json").write_text(json.dumps(about))
    found = list(search(str(tmp_path / "catalog.json"), "s2", fuzzing.WORLD, "2024"))
    assert len(found) == 2
    (acquisition,), refused, choices = group(found, list(BANDS), str(tmp_path / "catalog.json"))
    assert not refused
    assert [choice.what for choice in choices] == ["joined", "joined"]
    for band in BANDS:
        np.testing.assert_array_equal(Files(acquisition).mosaic(band, box)[0], whole[band])
