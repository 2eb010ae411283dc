"""Items that say other things of one small scene."""

from urllib.parse import quote

import pystac
from s2sharp.scenes.acquisition import group
from s2sharp.scenes.scene import Refusal

from s2sharp_core.lattice import Box

from ..core.scenes import box_at

BANDS = ("B01", "B02", "B05")
BOX = box_at(12, 12)
LEFT = Box(BOX.row0, BOX.row1, BOX.col0, BOX.col0 + 7)
RIGHT = Box(BOX.row0, BOX.row1, BOX.col0 + 5, BOX.col1)
HERE = "/catalog.json"


def variant(item: pystac.Item, name: str, **properties) -> pystac.Item:
    """The same scene as another item says it."""
    other = item.clone()
    other.id = name
    other.properties |= {key.replace("__", ":"): value for key, value in properties.items()}
    return other


def with_own_files(item: pystac.Item) -> pystac.Item:
    """The item, naming files that no other one names; nothing is read of them."""
    for asset in item.assets.values():
        asset.href = f"{asset.href.removesuffix('.tif')}_{quote(item.id, safe='')}.tif"
    return item


def version(item: pystac.Item, number: str) -> pystac.Item:
    return variant(item, f"{item.id}_N{number}", s2__processing_baseline=number)


def refusal(item: pystac.Item, *others: pystac.Item, bands=BANDS) -> Refusal:
    """Why `item` is refused, where `others` are not."""
    acquisitions, refused, _ = group([*others[:1], item, *others[1:]], bands, HERE)
    kept = [scene.id for a in acquisitions for scene in a.scenes]
    assert sorted(kept) == sorted(o.id for o in others)
    (only,) = refused
    assert only.item == item.id
    assert item.id in only.message
    return only
