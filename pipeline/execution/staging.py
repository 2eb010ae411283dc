"""Staging: native shards are copied near the workers before they are read."""

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from s2sharp_core import S2SharpError
from s2sharp_core.lattice import Box

from ..engine.ledger import Record
from ..engine.phases import Engine, Job
from ..engine.worker import REMEDY_NO_SPACE
from ..planning.plan import Plan
from ..planning.readers import stage_of
from ..planning.units import Unit
from ..scenes.stage import Stage, clear
from ..storage.location import store_errors
from .run import Run

if TYPE_CHECKING:
    from distributed import Future


class Stager:
    """Staging of shards before the units that read them, and eviction of the oldest idle ones over budget."""

    def __init__(self, plan: Plan, engine: Engine) -> None:
        self._plan, self._engine = plan, engine
        self._stages: dict[str, Stage] = {}
        # By (acquisition, cells): copies under way, units that need a shard, and sizes of idle shards, the oldest first.
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
        """Return futures of the shards that a unit reads and that are not staged yet.

        A unit that is submitted again gets new futures, since the earlier ones may have failed or been lost with a worker.
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
        """Release the shards of a finished unit, and evict idle ones over budget."""
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
            # The next unit that needs a failed shard tries it again.
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
        """Remove the stage."""
        clear(self._plan.out / "stage")


def stage_unit(run: Run, unit: Unit, cells: Box) -> int | S2SharpError:
    """Stage one shard that ``unit`` reads; return its size in bytes, or the error as a value."""
    stage = stage_of(run.plan, run.plan.acquisition(unit))
    try:
        return stage.write(cells)
    except S2SharpError as error:
        return error
    except store_errors() as error:
        return S2SharpError(
            "store-unwritable", f"Cannot write {stage.folder}: {error}.", REMEDY_NO_SPACE
        )
