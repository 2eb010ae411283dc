"""``sharpen`` as a process of openEO, as docs/openeo.md has it: the function here, the graph where openEO's packages are."""

from contextlib import chdir
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pystac
import pytest
import s2sharp
import xarray as xr
from s2sharp.demo.synthetic import simulate

from tests.pipeline.products import write_safe
from tests.test_documentation import ROOT, blocks

PARTS = [b.text for b in blocks(ROOT / "docs" / "openeo.md") if b.language == "python"]
AREA = {"west": 16.36, "south": 48.71, "east": 16.39, "north": 48.74}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("openeo")
    simulate(folder / "archive", cells=30, tiles=1, dates=1)
    catalog = pystac.Catalog.from_file(folder / "archive" / "catalog.json")
    write_safe(folder / "downloads", next(catalog.get_items(recursive=True)), "2A", -1000)
    return folder


def known(folder: Path, parts: list[str]) -> dict[str, Any]:
    """The names that blocks of the page leave."""
    names: dict[str, Any] = {}
    with chdir(folder):
        for part in parts:
            exec(part, names)
        names["cube"] = names["cube"].compute()
    return names


def truth(product: str) -> xr.Dataset:
    return s2sharp.sharpen(product, bands=["B8A", "B11"], bbox=tuple(AREA.values())).compute()


def test_the_process_gives_a_raster_cube(folder: Path) -> None:
    names = known(folder, PARTS[:2])
    cube, product = names["cube"], str(folder / names["product"])
    assert cube.dims == ("t", "bands", "y", "x")
    assert list(cube.bands.values) == ["B04", "B08", "B8A", "B11"]
    assert cube.rio.crs.is_projected
    assert cube.t.values[0] == np.datetime64(s2sharp.open_scene(product).attrs["datetime"])
    part = names["sharpen"](product, SimpleNamespace(**AREA), ["B8A", "B11"]).compute()
    for band, expected in truth(product).items():
        np.testing.assert_array_equal(part.sel(bands=band)[0], expected)


def test_a_graph_gives_what_the_process_gave(folder: Path) -> None:
    pytest.importorskip("openeo.local", reason="openEO's packages: docs/openeo.md says how")
    pytest.importorskip("openeo_core")
    names = known(folder, PARTS)
    assert "sharpen1" in names["graph"]
    bands = truth(str(folder / names["product"]))
    ndmi = (bands.B8A - bands.B11) / (bands.B8A + bands.B11)
    np.testing.assert_array_equal(names["values"][0], ndmi)
    cube = names["cube"].sel(t=names["cube"].t[0])
    red, nir = cube.sel(bands="B04"), cube.sel(bands="B08")
    np.testing.assert_allclose(np.squeeze(names["ndvi"].values), (nir - red) / (nir + red), 1e-5)
