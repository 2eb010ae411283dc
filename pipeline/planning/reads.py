"""Places that the units of a plan read from: the archive's files, or their copies near the workers."""

from ..scenes.acquisition import Acquisition
from ..scenes.raster import Kept
from ..scenes.read import Files, Reader
from ..scenes.stage import Stage
from .plan import Plan

__all__ = ["files_of", "reader_of", "stage_of"]


def stage_of(plan: Plan, acquisition: Acquisition) -> Stage:
    """Return the place of an acquisition's copies, whether or not there are any."""
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


def files_of(plan: Plan, acquisition: Acquisition) -> Files:
    """Return what an acquisition's own files are read with."""
    return Files(acquisition, Kept(seen=plan.seen))


def reader_of(plan: Plan, acquisition: Acquisition) -> Reader:
    """Return what an acquisition's pixels are read with."""
    return stage_of(plan, acquisition) if plan.staged else files_of(plan, acquisition)
