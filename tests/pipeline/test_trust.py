"""A run with --trust has two more layers, without seams, and is not mistaken for one without."""

from pathlib import Path

import numpy as np
import pytest
import rioxarray  # noqa: F401  (registers .rio)
import zarr
from s2sharp.cube.open import open_cube
from s2sharp.planning.make import make_plan
from s2sharp.planning.resume import resume

from s2sharp_core import S2SharpError

from .runs import config, run

CODE = "32633"
SMALL = {"bands": "B02,B05,B09", "trust": True}


@pytest.fixture(scope="module")
def whole(archive: Path, scheduler: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trust") / "out"
    _, outcome = run(config(archive, out, scheduler, **SMALL))
    assert not outcome.failed
    return out


def test_the_layers_are_there_where_something_was_sharpened(whole: Path) -> None:
    cube = open_cube(whole).isel(time=0).load()
    valid = cube["valid"].values == 1
    for name in ("residual", "detail"):
        assert cube[name].dtype == np.uint16
        assert ((cube[name].values > 0) == valid).all()
    # Interpolation carries nothing over, but contradicts what was seen.
    assert cube["detail"].values.max() == 1
    assert 10 < np.median(cube["residual"].values[valid]) < 1000


def test_they_have_no_seams(whole: Path, archive: Path, scheduler: str, tmp_path: Path) -> None:
    west, south, east, north = open_cube(whole).rio.transform_bounds("EPSG:4326")
    part = (west + 0.3 * (east - west), south, east, south + 0.6 * (north - south))
    run(config(archive, tmp_path / "part", scheduler, bbox=part, shard=32, **SMALL))
    one, other = open_cube(whole).isel(time=0), open_cube(tmp_path / "part").isel(time=0)
    same = one.sel(x=other.x, y=other.y).load()
    for name in ("residual", "B05", "B09"):
        np.testing.assert_array_equal(same[name].values, other[name].values)


def test_overviews_show_the_worst(whole: Path) -> None:
    group = zarr.open_group(whole / "cube.zarr", mode="r")[CODE]
    fine, coarse = (np.asarray(group[name][0]) for name in ("residual", "x2/residual"))
    rows, cols = (n // 2 * 2 for n in fine.shape)
    blocks = fine[:rows, :cols].reshape(rows // 2, 2, cols // 2, 2).max(axis=(1, 3))
    np.testing.assert_array_equal(coarse[: rows // 2, : cols // 2], blocks)


def test_a_run_with_trust_is_another_run(whole: Path, archive: Path, tmp_path: Path) -> None:
    with pytest.raises(S2SharpError, match="trust: True → False"):
        resume(config(archive, whole, bands="B02,B05,B09"))
    plans = [
        make_plan(config(archive, tmp_path, **{**SMALL, "trust": trust})) for trust in (True, False)
    ]
    keys = [{plan.key(unit) for unit in plan.units()} for plan in plans]
    assert not keys[0] & keys[1]
    assert plans[0].margin > plans[1].margin


def test_bands_that_are_measured_at_10_m_are_nothing_to_judge(
    archive: Path, tmp_path: Path
) -> None:
    with pytest.raises(S2SharpError, match="nothing to judge"):
        config(archive, tmp_path, bands="B02,B03", trust=True)
