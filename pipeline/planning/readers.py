"""Readers for the units of a plan: the archive's files, or their copies in the stage.

Each loads its own libraries, GDAL or Zarr.
"""

from typing import TYPE_CHECKING

from ..scenes.acquisition import Acquisition
from .plan import Plan

if TYPE_CHECKING:
    from ..scenes.read import Files, Reader
    from ..scenes.stage import Stage


def stage_of(plan: Plan, acquisition: Acquisition) -> "Stage":
    """Return the stage of an acquisition, whether or not it holds copies."""
    from ..scenes.stage import Stage

    layout = plan.layout(acquisition.epsg)
    box = acquisition.box & layout.area.grow(plan.margin)
    scl = ("SCL",) if any(scene.scl for scene in acquisition.scenes) else ()
    return Stage(
        folder=plan.out / "stage",
        acquisition=acquisition,
        bands=(*plan.files, *scl),
        box=box.snap(layout.shard),
        shard=layout.shard,
        seen=plan.seen,
    )


def files_of(plan: Plan, acquisition: Acquisition) -> "Files":
    """Return the reader of an acquisition's own files."""
    from ..scenes.raster import OpenFiles
    from ..scenes.read import Files

    return Files(acquisition, OpenFiles(seen=plan.seen))


def reader_of(plan: Plan, acquisition: Acquisition) -> "Reader":
    """Return the reader of an acquisition's pixels."""
    return stage_of(plan, acquisition) if plan.staged else files_of(plan, acquisition)
