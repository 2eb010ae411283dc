"""The demo on synthetic scenes: the scenes of its run, and the errors against their truth."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from s2sharp_core import BANDS, load_sharpener
from s2sharp_core.blocks import context, sharpen_block
from s2sharp_core.evaluation.metrics import rmse, sre

from ..cube.open import open_cube
from ..planning.client_plan import ClientPlan
from ..scenes.read import Files, load_block
from .synthetic import simulate

# Side of the simulated area in cells: 5.4 km. The three places of the report fit in; 9 km would take three times as long.
_CELLS = 90


def make_scenes(folder: Path) -> dict[str, Any]:
    """Simulate scenes in ``folder``, and return the flags of a run over them."""
    catalog, bbox = simulate(folder / "archive", _CELLS)
    return {"catalog": str(catalog), "bbox": bbox, "datetime": "2024-06", "out": folder / "cube"}


def score(folder: Path, plan: ClientPlan) -> Iterator[tuple[str, ...]]:
    """Yield rows of a table: the error of each coarse band against the truth, for bicubic and the run's method."""
    layout, acquisition = plan.layouts[0], plan.acquisitions[0]
    cube = open_cube(plan.out).isel(time=0).load()
    coarse = tuple(band for band in plan.config.bands if BANDS[band].gsd > 10)
    bicubic = load_sharpener("bicubic", coarse)
    block = load_block(
        Files(acquisition), acquisition, bicubic.reads, layout.area, context(bicubic)
    )
    smooth = sharpen_block(block.data, block.box, layout.area, bicubic)
    for band in coarse:
        with rasterio.open(
            folder / "archive" / "truth" / acquisition.datetime[:10] / f"{band}.tif"
        ) as file:
            window = file.window(*layout.lattice.bounds(layout.area))
            truth = (file.read(1, window=window).astype(np.float32) - 1000) / 10_000
        # Both are judged on the pixels where the run has data.
        known = np.where(cube["valid"].values == 1, truth, np.nan)[None]
        pictures = [smooth[band][None], cube[band].values[None]]
        errors = [f"{rmse(known, x)[0] * 10_000:.1f}" for x in pictures]
        ratios = [f"{sre(known, x)[0]:.2f}" for x in pictures]
        yield (band, f"{BANDS[band].gsd} m", *errors, *ratios)
