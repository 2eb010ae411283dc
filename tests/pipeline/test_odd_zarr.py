"""Whatever stands in the metadata of an EOPF Zarr, it costs that product alone."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from s2sharp.catalog.eopf import _group
from s2sharp.catalog.search import search
from s2sharp.scenes.acquisition import group
from s2sharp.scenes.read import Files

from s2sharp_core.bands import BANDS
from s2sharp_core.errors import S2SharpError

from .pictures import box_at, noise, scenes
from .products import write_eopf, write_safe

ARRAY = "measurements/reflectance/r20m/b8a/.zarray"
WORLD = (-180, -90, 180, 90)


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of one scene as both products."""
    folder = tmp_path_factory.mktemp("downloads")
    box = box_at(4, 4)
    (item,) = scenes(tmp_path_factory.mktemp("cogs"), noise(box, *BANDS, "SCL"), box)
    write_eopf(folder, item, "2A", -0.1)
    write_safe(folder, item, "2A", -1000)
    return folder


def spoiled(downloads: Path, folder: Path, *keys: str, value: Any) -> Path:
    """Copy the products; the Zarr's consolidated metadata have ``value`` at a place."""
    (store,) = shutil.copytree(downloads, folder / "downloads").glob("*.zarr")
    file = store / ".zmetadata"
    document = json.loads(file.read_text())
    inner = document
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    file.write_text(json.dumps(document))
    if isinstance(document["metadata"], dict):  # those of the root are read from their own file
        (store / ".zattrs").write_text(json.dumps(document["metadata"][".zattrs"]))
    return store


@pytest.mark.parametrize(
    "place",
    [
        ("metadata",),
        ("metadata", ARRAY),
        ("metadata", ARRAY, "shape"),
        ("metadata", ARRAY, "chunks"),
        ("metadata", ARRAY, "filters"),
        ("metadata", ".zattrs", "stac_discovery"),
        ("metadata", ".zattrs", "stac_discovery", "properties", "datetime"),
    ],
)
@pytest.mark.parametrize("value", [["64", 64], "x"])
def test_an_odd_product_is_left_out_and_the_one_beside_it_found(downloads, tmp_path, place, value):
    spoiled(downloads, tmp_path, *place, value=value)
    with pytest.warns(UserWarning, match=r"\.zarr .*; it is left out"):
        (item,) = search(str(tmp_path / "downloads"), "sentinel-2-l2a", WORLD, "2024")
    assert str(item.get_self_href()).endswith(".SAFE")


def test_an_array_whose_metadata_turn_odd_later_fails_as_a_file_that_cannot_be_read(
    downloads, tmp_path
):
    store = spoiled(downloads, tmp_path, "metadata", ARRAY, "zarr_format", value=2)
    (item,) = search(str(store), "sentinel-2-l2a", WORLD, "2024")
    (acquisition,), _, _ = group([item], ["B8A"], str(store))
    file = store / ".zmetadata"
    document = json.loads(file.read_text())
    document["metadata"][ARRAY]["shape"] = 7
    file.write_text(json.dumps(document))
    _group.cache_clear()
    with pytest.raises(S2SharpError, match="B8A") as error:
        Files(acquisition).mosaic("B8A", acquisition.box)
    assert "\n" not in error.value.message
