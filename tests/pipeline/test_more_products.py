"""Products as they lie about: of 2017, of a user's Sen2Cor, under other names, in folders of any name."""

import json
import re
import shutil
import warnings
from pathlib import Path

import numpy as np
import pystac
import pytest
from s2sharp.catalog.faults import BrokenError
from s2sharp.catalog.local_products import product_item
from s2sharp.catalog.metadata import baseline, datastrip, datatake, tile
from s2sharp.catalog.search import search
from s2sharp.scenes.acquisition import group
from s2sharp.scenes.read import Files

from s2sharp_core.bands import BANDS

from .pictures import box_at, join, noise, scenes
from .products import write_eopf, write_safe, zipped

BOX = box_at(6, 6)
ALL = (*BANDS, "SCL")
WORLD = (-180.0, -90.0, 180.0, 90.0)


@pytest.fixture
def item(tmp_path: Path) -> pystac.Item:
    return scenes(tmp_path / "cogs", noise(BOX, *ALL, gaps=0.1), BOX)[0]


def found(catalog: Path) -> list[pystac.Item]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        return list(search(str(catalog), "sentinel-2-l2a", WORLD, "2015/.."))


def same_pixels(catalog: Path, item: pystac.Item, offset: float = -0.1) -> None:
    (acquisition,), refused, _ = group(found(catalog), list(BANDS), str(catalog))
    assert not refused
    whole = join([item])
    for band in ALL:
        ours, theirs = (Files(a).mosaic(band, BOX)[0] for a in (acquisition, whole))
        np.testing.assert_array_equal(ours, theirs)
    assert {source.offset for source in acquisition.scenes[0].sources} == {offset}


def of_2017(safe: Path) -> Path:
    """As version 14.2 of the specification has Level-2A: other names of elements, of files, a list for each resolution."""
    (granule,) = (safe / "GRANULE").iterdir()
    for image in list(granule.rglob("*.jp2")):
        image.rename(image.with_name(f"L2A_{image.name}"))
    file = safe / "MTD_MSIL2A.xml"
    text = file.read_text()
    for new, old in (
        ("Product_Info>", "L2A_Product_Info>"),
        ("PRODUCT_URI>", "PRODUCT_URI_2A>"),
        ("IMAGE_FILE>", "IMAGE_FILE_2A>"),
        ("Product_Organisation>", "L2A_Product_Organisation>"),
        ("QUANTIFICATION_VALUES_LIST>", "L1C_L2A_Quantification_Values_List>"),
        ("BOA_QUANTIFICATION_VALUE", "L2A_BOA_QUANTIFICATION_VALUE"),
        ("AOT_QUANTIFICATION_VALUE", "L2A_AOT_QUANTIFICATION_VALUE"),
    ):
        text = text.replace(new, old)
    text = re.sub(r"(IMG_DATA/R\d0m/)", r"\1L2A_", text)
    images = re.findall(r" *<IMAGE_FILE_2A>.*\n", text)
    (head,) = re.findall(r" *<Granule [^<>]*>\n", text)
    lists = "".join(
        f"<Granule_List>{head}{''.join(i for i in images if f'/R{gsd}m/' in i)}</Granule></Granule_List>"
        for gsd in (10, 20, 60)
    )
    text = re.sub(r"<Granule_List>.*</Granule_List>", lists, text, flags=re.DOTALL)
    file.write_text(text)
    return safe


def older(item: pystac.Item, number: str) -> pystac.Item:
    item.properties["s2:processing_baseline"] = number
    for asset in item.assets.values():
        for facts in asset.extra_fields.get("raster:bands", []):
            facts.pop("offset", None)
    return item


def test_level_2a_of_2017_is_read(tmp_path, item):
    folder = tmp_path / "in"
    of_2017(write_safe(folder, older(item, "02.05"), "2A", 0))
    same_pixels(folder, item, 0.0)
    (product,) = found(folder)
    assert baseline(product) == (2, 5)
    assert datatake(product) == "S2A_20240601T101031"
    assert tile(product) == "33UAA"
    assert datastrip(product) == "20240601T101031"


def test_a_product_that_lists_no_offsets_has_none_whatever_its_baseline(tmp_path, item):
    """A user's Sen2Cor on Level-1C before 04.00; on later ones, it lists them."""
    for number, dn, offset in (("99.99", 0, 0.0), ("99.99", -1000, -0.1), ("05.11", 0, 0.0)):
        folder = tmp_path / f"{number}{dn}"
        safe = write_safe(folder, older(item, number), "2A", dn)
        _, product = product_item(str(safe))
        (acquisition,), refused, _ = group([product], list(BANDS), str(safe))
        assert not refused
        assert {s.offset for s in acquisition.scenes[0].sources} == {offset}


@pytest.mark.parametrize("name", ["no suffix", "S2A_MSIL2A_x", "x.safe", "x.SAFE.d", "a.b"])
@pytest.mark.parametrize("inside", [True, False])
def test_a_folder_is_a_product_by_what_is_in_it(tmp_path, item, name, inside):
    folder = tmp_path / "in"
    safe = write_safe(folder, item, "2A", -1000)
    safe.rename(folder / name)
    same_pixels(folder if inside else folder / name, item)


def test_a_zip_may_hold_a_folder_of_any_name(tmp_path, item):
    folder = tmp_path / "in"
    safe = write_safe(folder, item, "2A", -1000)
    other = safe.rename(folder / "product")
    zipped(other)
    same_pixels(folder, item)


def test_a_granule_whose_folder_has_a_shorter_name_is_found(tmp_path, item):
    folder = tmp_path / "in"
    safe = write_safe(folder, item, "2A", -1000)
    (granule,) = (safe / "GRANULE").iterdir()
    granule.rename(safe / "GRANULE" / "g")
    same_pixels(folder, item)
    shutil.copytree(safe / "GRANULE" / "g", safe / "GRANULE" / "h")
    with pytest.raises(BrokenError, match="has no folder GRANULE/L2A_T33UAA"):
        product_item(str(safe))


def test_a_product_that_was_downloaded_in_part_says_what_it_lacks(tmp_path, item):
    safe = write_safe(tmp_path / "in", item, "2A", -1000)
    (granule,) = (safe / "GRANULE").iterdir()
    (granule / "MTD_TL.xml").unlink()
    with pytest.raises(BrokenError, match=r"has no MTD_TL\.xml"):
        product_item(str(safe))
    shutil.rmtree(safe / "GRANULE")
    with pytest.raises(BrokenError, match="has no folder GRANULE"):
        product_item(str(safe))


def test_a_product_of_before_december_2016_is_told_by_its_age(tmp_path):
    name = "S2A_OPER_PRD_MSIL1C_PDMC_20160311T202349_R108_V20150819T103028_20150819T103028"
    (tmp_path / f"{name}.SAFE").mkdir()
    with pytest.raises(BrokenError, match=r"before December 2016.*Collection 1"):
        product_item(str(tmp_path / f"{name}.SAFE"))


@pytest.mark.parametrize("said", [None, "48 16 48", "nan 16 48 17 49 17 nan 16", "48 16 49 17"])
def test_a_product_lies_where_its_grid_says_without_a_footprint(tmp_path, item, said):
    safe = write_safe(tmp_path / "in", item, "2A", -1000)
    file = safe / "MTD_MSIL2A.xml"
    outline = "" if said is None else f"<EXT_POS_LIST>{said}</EXT_POS_LIST>"
    text = re.sub("<EXT_POS_LIST>.*</EXT_POS_LIST>", outline, file.read_text(), flags=re.DOTALL)
    file.write_text(text)
    (product,) = found(tmp_path / "in")
    assert product.geometry is None
    same_pixels(tmp_path / "in", item)


@pytest.mark.parametrize("packed", [False, True])
def test_files_that_were_renamed_are_found_by_their_band(tmp_path, item, packed):
    folder = tmp_path / "in"
    safe = write_safe(folder, item, "2A", -1000)
    for file in sorted(safe.rglob("*.jp2")):
        file.rename(file.with_name(f"mine{file.name[file.name.rindex('T33') :]}"))
    if packed:
        zipped(safe)
    same_pixels(folder, item)


def test_a_band_of_two_renamed_files_is_left_out(tmp_path, item):
    safe = write_safe(tmp_path / "in", item, "2A", -1000)
    (file,) = safe.rglob("*_B05_20m.jp2")
    shutil.copy(file, file.with_name("a_B05_20m.jp2"))
    file.rename(file.with_name("b_B05_20m.jp2"))
    _, product = product_item(str(safe))
    assert {"B05", "B06"} - set(product.assets) == {"B05"}


@pytest.mark.parametrize("odd", ["a#b", "a?b=c", "a b%20c", "100%", "ä!x"])
@pytest.mark.parametrize("kind", ["safe", "zip", "eopf", "static"])
def test_a_path_of_this_machine_means_what_it_says(tmp_path, item, odd, kind):
    folder = tmp_path / odd
    folder.mkdir()
    if kind == "eopf":
        write_eopf(folder, item, "2A", -0.1)
    elif kind == "static":
        shutil.copytree(tmp_path / "cogs", folder / "cogs")
        document = item.to_dict(include_self_link=False) | {"collection": "sentinel-2-l2a"}
        for band, asset in document["assets"].items():
            path = Path(item.assets[band].href).relative_to(tmp_path)
            asset["href"] = f"./{path}"
        (folder / "item.json").write_text(json.dumps(document))
        about = {
            "type": "Collection",
            "stac_version": "1.0.0",
            "id": "sentinel-2-l2a",
            "description": "x",
            "license": "other",
            "extent": {
                "spatial": {"bbox": [[-180, -90, 180, 90]]},
                "temporal": {"interval": [["2015-01-01T00:00:00Z", None]]},
            },
            "links": [{"rel": "item", "href": "./item.json"}],
        }
        (folder / "catalog.json").write_text(json.dumps(about))
    else:
        safe = write_safe(folder, item, "2A", -1000)
        if kind == "zip":
            zipped(safe)
    same_pixels(folder, item)
