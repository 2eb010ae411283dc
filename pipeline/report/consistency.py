"""Consistency of a cube: its pixels degraded by the sensor model, against the native pixels."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from s2sharp_core import load_sharpener
from s2sharp_core.bands import BANDS
from s2sharp_core.blocks import context, sharpen_block
from s2sharp_core.lattice import Box
from s2sharp_core.sensor.observation import residual

from ..planning.plan import Plan
from ..planning.units import Unit
from ..storage.location import store_errors
from .facts import Facts
from .places import Natives, instant

# Number of compared windows, and their side in cells of 60 m.
_WINDOWS, _SIDE = 6, 32


@dataclass(frozen=True)
class Consistency:
    """RMSE in DN by band, of the cube and of bicubic interpolation, over ``pixels`` native pixels in ``windows``."""

    cube: dict[str, float]
    bicubic: dict[str, float]
    pixels: dict[str, int]
    windows: int

    @property
    def most(self) -> float:
        """Return the largest value."""
        return max(*self.cube.values(), *self.bicubic.values(), 1e-9)


def consistency(facts: Facts, natives: Natives) -> Consistency | None:
    """Compute consistency on windows in the middle of units, evenly over the run; None if none can be compared."""
    found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {band: [] for band in natives.bands}
    windows = 0
    for unit in _sample(facts):
        errors = dict(_errors(facts.plan, unit, natives))
        windows += bool(errors)
        for band, both in errors.items():
            found[band].append(both)
    together = {
        band: np.concatenate([np.stack([x.ravel() for x in both]) for both in some], axis=1)
        for band, some in found.items()
        if some
    }
    known = {band: x[:, np.isfinite(x).all(axis=0)] for band, x in together.items()}
    rms = {band: np.sqrt((x**2).mean(axis=1)) for band, x in known.items() if x.size}
    if not rms:
        return None
    return Consistency(
        cube={band: float(both[0]) for band, both in rms.items()},
        bicubic={band: float(both[1]) for band, both in rms.items()},
        pixels={band: known[band].shape[1] for band in rms},
        windows=windows,
    )


def _sample(facts: Facts) -> list[Unit]:
    units = [unit for some in facts.shards.values() for unit, state in some if state == "ok"]
    count = min(_WINDOWS, len(units))
    return [units[i * (len(units) - 1) // max(1, count - 1)] for i in range(count)]


def _errors(
    plan: Plan, unit: Unit, natives: Natives
) -> Iterator[tuple[str, tuple[np.ndarray, np.ndarray]]]:
    """Yield for each band the differences of cube and bicubic interpolation from the native band, in DN."""
    acquisition, layout = plan.acquisition(unit), plan.layout(unit.epsg)
    cube = instant(plan.out, acquisition)
    if cube is None:
        return
    box = _middle(plan.wanted(unit) & acquisition.box)
    around = box.grow(context(load_sharpener("bicubic")))
    rows, cols = layout.area.slices(box, 10)
    for band, native in natives.read(acquisition, around).items():
        try:
            ours = cube[band].isel(y=rows, x=cols).values
        except store_errors():  # a shard that is being written, or was lost
            continue
        bicubic = sharpen_block({band: native}, around, box, load_sharpener("bicubic", (band,)))
        seen = native[around.slices(box, BANDS[band].gsd)]
        sensor = plan.sensor(acquisition.take)
        pictures = ours, bicubic[band]
        errors = [10_000 * residual(picture, seen, band, sensor) for picture in pictures]
        yield band, (errors[0], errors[1])


def _middle(box: Box) -> Box:
    """Return the middle of ``box``, as large as a window if possible."""
    rows, cols = (min(_SIDE, n) for n in box.shape)
    row, col = box.row0 + (box.shape[0] - rows) // 2, box.col0 + (box.shape[1] - cols) // 2
    return Box(row, row + rows, col, col + cols)
