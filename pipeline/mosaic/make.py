"""Make the plan of a mosaic (grid, area, periods) from a configuration and a cube, or extend an existing one."""

import math
from importlib.metadata import version

from s2sharp_core import S2SharpError
from s2sharp_core.lattice import Box

from ..engine.settings import Command
from .config import BLOCK, MosaicConfig
from .grid import Grid
from .periods import periods
from .plan import MosaicPlan
from .sources import Cube, read_cube

_SIDES = (2048, 1024, 512)

_MOST = 65_535
"""Most sources that a layer of uint16 can count from 1."""

_FREE = {*Command.model_fields, "out", "to", "publish"}
"""Settings that may differ when a mosaic is continued: they do not change pixels."""


def make_plan(config: MosaicConfig) -> MosaicPlan:
    """Make the plan of a new mosaic, or extend the plan in its folder by the cube's new acquisitions.

    Errors: ``not-a-cube``; ``bad-config`` for bands that the cube lacks, or feathering in a CRS without metres;
    ``outside``; ``other-run`` when the folder holds another mosaic.
    """
    cube = read_cube(config.out)
    lacking = [band for band in config.bands or () if band not in cube.bands]
    if lacking:
        raise S2SharpError(
            "bad-config",
            f"The cube in {config.out} has no {', '.join(lacking)}.",
            f"Choose from {', '.join(cube.bands)}.",
        )
    if len(cube.sources) > _MOST:
        raise S2SharpError(
            "too-many-acquisitions",
            f"The cube has {len(cube.sources)} acquisitions; a mosaic's source layer can count {_MOST}.",
            "Make one mosaic for each part of the cube.",
        )
    grid = _grid(config, cube)
    _check_feather(config, grid)
    area = _area(config, cube, grid)
    side = config.tile or next((s for s in _SIDES if 2 * s <= max(area.shape)), _SIDES[-1])
    plan = MosaicPlan(
        software=version("s2sharp"),
        config=config,
        cube=cube,
        grid=grid,
        area=area,
        side=side,
        sources=cube.sources,
        periods=periods(config.period, cube.sources),
    )
    if not (config.to / "mosaic.json").exists():
        if (plan.store / "zarr.json").exists():
            raise S2SharpError(
                "other-run", f"{plan.store} is not of this version.", "Choose another --to."
            )
        return plan
    return _continued(plan)


def _grid(config: MosaicConfig, cube: Cube) -> Grid:
    """Return the requested grid, or that of the EPSG code with most pixels, which are then copied."""
    most = max(cube.groups.values(), key=lambda g: (math.prod(g.area.shape), -g.epsg))
    crs = config.crs or most.grid.crs
    return Grid(crs, config.resolution or 10.0)


def _check_feather(config: MosaicConfig, grid: Grid) -> None:
    if not config.feather:
        return
    most = BLOCK * (grid.metres or 0.0)
    if config.feather > most:
        allowed = f"at most {most:g} m, {BLOCK} pixels," if most else "0 where pixels are angles"
        raise S2SharpError(
            "bad-config",
            f"--feather {config.feather:g}: it can be {allowed} on a grid of {grid.crs[:40]}.",
            "Choose less, or a --crs in metres.",
        )


def _area(config: MosaicConfig, cube: Cube, grid: Grid) -> Box:
    """Return the requested part of the cube's areas on the grid."""
    boxes = []
    for group in cube.groups.values():
        bounds = grid.reached_by(group.grid.bounds(group.area), group.grid.crs)
        if not all(map(math.isfinite, bounds)) or bounds[0] > bounds[2]:
            raise S2SharpError(
                "crs-unsuitable",
                f"{grid.crs[:40]} does not map the cube's EPSG:{group.epsg} to one area.",
                "Choose a --crs made for the area; across the antimeridian, one in metres.",
            )
        boxes.append(grid.around(bounds))
    area = boxes[0]
    for box in boxes[1:]:
        area |= box
    if config.bbox is not None:
        asked = grid.reached_by(config.bbox, "EPSG:4326")
        # A box that reaches beyond the CRS's domain takes the whole cube.
        area &= grid.around(asked) if all(map(math.isfinite, asked)) else area
    if area.empty:
        raise S2SharpError(
            "outside", f"The box {config.bbox} does not meet the cube.", "Give W S E N in degrees."
        )
    return area


def _continued(now: MosaicPlan) -> MosaicPlan:
    """Return the plan ``now`` with sources and periods counted on from those of the existing mosaic; ``other-run``, with
    the differences, if it is another.
    """
    before = MosaicPlan.read(now.config.to)
    old, new = before.config.model_dump(), now.config.model_dump()
    differs = [f"{k}: {old[k]} → {new[k]}" for k in new if k not in _FREE and old[k] != new[k]]
    for name in ("grid", "area", "side", "bands"):
        if not differs and getattr(before, name) != getattr(now, name):
            differs.append(f"the {name}: {getattr(before, name)} → {getattr(now, name)}")
    gone = {s.id for s in before.sources} - {s.id for s in now.sources}
    if not differs and gone:
        differs.append(f"{len(gone)} acquisitions that the cube lacks, {min(gone)} for example")
    if differs:
        raise S2SharpError(
            "other-run",
            f"{now.config.to} holds another mosaic ({'; '.join(differs)}).",
            "Choose another --to, or the same settings to continue it.",
        )
    # Known acquisitions keep their number; their index in the cube may have changed.
    known = {s.id: s for s in now.sources}
    numbered = {s.id: known[s.id] for s in (*before.sources, *now.sources)}
    times = {p.name: p for p in now.periods}
    named = {p.name: times[p.name] for p in (*before.periods, *now.periods)}
    return now.model_copy(
        update={"sources": tuple(numbered.values()), "periods": tuple(named.values())}
    )
