"""Where real data are found: `S2SHARP_DATA`, else `../shared/data` beside the checkout."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr

from s2sharp_core.bands import BANDS, BY_GSD
from s2sharp_core.lattice import Lattice
from s2sharp_core.scene import make_scene

SCENES = ("shark_bay", "iceland", "australia", "coastal")
L2A_CHIPS = (
    "ben1_S2A_MSIL2A_20170613T101031_87_48",
    "ben1_S2A_MSIL2A_20170617T113321_36_85",
    "ben1_S2A_MSIL2A_20170617T113321_4_55",
    "ben1_S2A_MSIL2A_20171221T112501_56_35",
    "ben1_S2B_MSIL2A_20170924T93020_69_24",
    "ben1_S2B_MSIL2A_20180204T94161_57_38",
)


def shared_data() -> Path | None:
    """The folder that holds `scenes/` and `papers/`, or None."""
    given = os.environ.get("S2SHARP_DATA")
    folder = Path(given) if given else Path(__file__).parents[2] / "shared" / "data"
    return folder if (folder / "scenes" / "catalog.json").is_file() else None


needs_data = pytest.mark.skipif(
    shared_data() is None,
    reason="no real data: set S2SHARP_DATA to a folder with scenes/catalog.json and papers/*.npz, "
    "or put that folder at ../shared/data beside the checkout",
)


def _folder() -> Path:
    folder = shared_data()
    if folder is None:
        raise FileNotFoundError(needs_data.kwargs["reason"])
    return folder


def real_scene(name: str) -> xr.DataTree:
    """One of `SCENES` at its native resolutions: float32 reflectance, NaN where DN is 0."""
    return _native(_folder() / "scenes" / "sentinel-2-l1c" / name, name)


def l2a_chip(name: str) -> xr.DataTree:
    """One of `L2A_CHIPS`, 20 cells a side, as `real_scene` gives a scene."""
    return _native(_folder() / "l2a", name)


def scene_of_20_m() -> dict[int, np.ndarray]:
    """A large Level-1C scene without its 10 m bands: 20 and 60 → float32 reflectance (bands, y, x)."""
    (file,) = (_folder() / "l1c_20_60m").glob("*.npz")
    with np.load(file) as content:
        return {g: content[f"y{g}"].astype(np.float32) / 10_000 for g in (20, 60)}


def _native(folder: Path, name: str) -> xr.DataTree:
    """The item `name` of a folder with its assets."""
    item = json.loads((folder / f"{name}.json").read_text())
    lattice = Lattice.of(int(item["properties"]["proj:code"].removeprefix("EPSG:")))
    arrays, boxes = {}, set()
    for band in BANDS:
        asset = item["assets"][band]
        (step, _, left, _, _, top), (height, width) = asset["proj:transform"], asset["proj:shape"]
        bounds = (left, top - step * height, left + step * width, top)
        boxes.add(lattice.box(bounds, f"{name} {band}"))
        with rasterio.open(folder / asset["href"]) as file:
            dn = file.read(1)
        facts = asset["raster:bands"][0]
        y = dn.astype(np.float32) * np.float32(facts["scale"]) + np.float32(facts["offset"])
        arrays[band] = np.where(dn == facts["nodata"], np.float32(np.nan), y)
    (box,) = boxes
    return make_scene(arrays, lattice, box)


def paper(name: str) -> dict[str, np.ndarray]:
    """The arrays of `papers/NAME.npz` as they were published: DN, rows first, bands last."""
    with np.load(_folder() / "papers" / f"{name}.npz") as file:
        return {key: file[key] for key in file.files}


def by_gsd(scene: xr.DataTree) -> dict[int, np.ndarray]:
    """A scene of all twelve bands as GSD → (bands, h, w)."""
    return {
        gsd: np.stack([scene[f"r{gsd}m"][band].values for band in bands])
        for gsd, bands in BY_GSD.items()
    }
