"""The same files give the same values, or the number of the arithmetic was raised: no cube mixes both."""

from pathlib import Path

import numpy as np
import pytest
import zarr
from s2sharp.demo.synthetic import write_catalog
from s2sharp.planning import plan as planning

from s2sharp_core.lattice import Box

from .pictures import box_at, noise, scenes
from .runs import config, run

NUMBER = 3
# Variable → the weighted sum of its values at the full resolution, and in the first overview.
KNOWN: dict[str, tuple[float, float]] = {
    "valid": (0.0, 0.0),
    "B09": (-68.43, -62.81),
    "B02": (637.06, -67.11),
    "source": (0.02, 0.01),
    "B05": (3.22, -140.47),
    "saturated": (0.0, 0.0),
    "cloud": (-0.07, -0.19),
}


def _figures(out: Path, level: str) -> dict[str, float]:
    """A figure for each variable that changes with any of its values, and hardly with a rounding."""
    (code,) = zarr.open_group(out / "cube.zarr", mode="r").group_keys()
    group = zarr.open_group(out / "cube.zarr", path=f"{code}{level}", mode="r")
    found = {}
    for name, array in group.arrays():
        if array.ndim == 3:
            x = np.asarray(array[0]).astype(float)
            weights = np.cos(np.arange(x.size)).reshape(x.shape)
            found[name] = round(float((weights * x).sum() / 1e3), 2)
    return found


def test_who_gives_other_values_has_another_number(tmp_path: Path, scheduler: str) -> None:
    """Where this fails and the change is meant: raise ``ARITHMETIC``, and put its number and figures here."""
    box = box_at(24, 24)
    picture = noise(box, "B02", "B05", "B09", "SCL", gaps=0.02)
    left = Box(box.row0, box.row1, box.col0, box.col0 + 14)
    right = Box(box.row0, box.row1, box.col0 + 10, box.col1)
    write_catalog(tmp_path, scenes(tmp_path, picture, box, left, right))
    out = tmp_path / "out"
    run(config(tmp_path, out, scheduler, bands="B02,B05,B09", window=8, shard=8))
    full, half = _figures(out, ""), _figures(out, "/x2")
    assert planning.ARITHMETIC == NUMBER
    assert {name: (full[name], half[name]) for name in full} == {
        name: pytest.approx(known, abs=0.2) for name, known in KNOWN.items()
    }


def test_the_number_is_in_every_key(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from s2sharp.planning.make import make_plan

    plan = make_plan(config(archive, tmp_path / "out"))
    unit = next(plan.units())
    before = plan.key(unit)
    monkeypatch.setattr(planning, "ARITHMETIC", NUMBER + 1)
    assert plan.key(unit) != before
