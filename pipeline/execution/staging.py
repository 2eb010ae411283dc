"""Native shards copied near the workers, before and while they are read."""

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from s2sharp_core import S2SharpError
from s2sharp_core.lattice import Box

from ..engine.ledger import Record
from ..engine.phases import Engine, Job
from ..engine.worker import REMEDY_NO_SPACE
from ..planning.plan import Plan
from ..planning.reads import stage_of
from ..planning.units import Unit
from ..scenes.stage import Stage, clear
from ..storage.location import store_errors
from .run import Run

if TYPE_CHECKING:
    from distributed import Future

__all__ = ["Stager", "stage_unit"]


class Stager:
    """Stages shards before the units that read them, and evicts the oldest idle ones over budget."""

    def __init__(self, plan: Plan, engine: Engine) -> None:
        self._plan, self._engine = plan, engine
        self._stages: dict[str, Stage] = {}
        # Shards that units wait for, and those that nobody does, the oldest first: (acquisition, cells) → …
        self._coming: dict[tuple[str, Box], Future[Any]] = {}
        self._users: defaultdict[tuple[str, Box], set[Unit]] = defaultdict(set)
        self._idle: dict[tuple[str, Box], int] = {}

    def _of(self, unit: Unit) -> tuple[Stage, list[Box]]:
        acquisition = self._plan.acquisition(unit)
        if acquisition.id not in self._stages:
            self._stages[acquisition.id] = stage_of(self._plan, acquisition)
            self._stages[acquisition.id].lay_out()
        stage = self._stages[acquisition.id]
        return stage, stage.needed(self._plan.wanted(unit).grow(self._plan.margin))

    def need(self, unit: Unit) -> "list[Future[Any]]":
        """The futures of the shards that a unit reads and that are not there yet; of one that is sent again they are new:
        what it waited for may have failed, or been lost with its worker.
        """
        if not self._plan.staged:
            return []
        stage, shards = self._of(unit)
        futures = []
        for cells in shards:
            name = stage.acquisition.id, cells
            before = unit in self._users[name]
            self._users[name].add(unit)
            self._idle.pop(name, None)
            if stage.has(cells):
                continue
            coming = self._coming.get(name)
            if before or coming is None or coming.done():
                self._coming[name] = self._engine.client.submit(
                    stage_unit,
                    Run(self._plan.out, self._plan.stamp, 0),
                    unit,
                    cells,
                    workers=self._engine.workers.staging,
                    allow_other_workers=True,
                    pure=False,
                )
            futures.append(self._coming[name])
        return futures

    def release(self, job: Job, _record: Record) -> None:
        """Let the shards of a unit that came back go, when there are too many."""
        if not self._plan.staged:
            return
        unit = job.of
        stage, shards = self._of(unit)
        for cells in shards:
            name = stage.acquisition.id, cells
            self._users[name].discard(unit)
            if self._users[name]:
                continue
            del self._users[name]
            # A shard that could not be staged is tried again by whoever needs it next.
            self._coming.pop(name, None)
            size = stage.size(cells)
            if size is not None:
                self._idle[name] = size
        over = sum(self._idle.values()) - self._plan.config.stage_budget * 1e9
        for name, size in list(self._idle.items()):
            if over <= 0:
                break
            self._stages[name[0]].evict(name[1])
            del self._idle[name]
            over -= size

    def clear(self) -> None:
        """Remove the stage: nothing is left to be done from it."""
        clear(self._plan.out / "stage")


def stage_unit(run: Run, unit: Unit, cells: Box) -> int | S2SharpError:
    """Stage one shard that ``unit`` reads; returns its bytes, or what went wrong (an error is data)."""
    stage = stage_of(run.plan, run.plan.acquisition(unit))
    try:
        return stage.write(cells)
    except S2SharpError as error:
        return error
    except store_errors() as error:
        return S2SharpError(
            "store-unwritable", f"Cannot write {stage.folder}: {error}.", REMEDY_NO_SPACE
        )
