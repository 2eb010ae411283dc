"""Facts of a run from its folder: states of its units, their time and memory, and failures."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from ..cube.intact import store_status
from ..engine.lease import Holder, holder
from ..engine.ledger import FINAL, Record
from ..engine.progress import at_work
from ..planning.client_plan import ClientPlan, as_frozen
from ..planning.plan import Plan
from ..planning.unit_states import UnitState, UnitStates
from ..planning.units import Unit
from ..storage.location import Location

# Largest number of records that are read for the figures; of more, an even sample is read. Those of failures are all
# read.
_MOST = 20_000
# Seconds without a record that count as a pause of the run, and not as slow work.
_PAUSE = 1800


@dataclass(frozen=True)
class Facts:
    """A run at one moment.

    ``cube``: what the cube says of itself. ``shards``: acquisition → (unit of the full resolution,
    state). ``phases``: phase → state → count. ``records``: those of units of the full resolution, all or an even
    sample of the ``recorded`` ones; ``failed``: those of failures in all phases.
    """

    plan: ClientPlan
    cube: str
    holder: Holder | None
    shards: Mapping[str, Sequence[tuple[Unit, str]]]
    phases: Mapping[str, Counter[str]]
    records: tuple[Record, ...]
    recorded: int
    failed: tuple[Record, ...]

    @cached_property
    def units(self) -> Counter[str]:
        """Return the number of units of the full resolution in each state."""
        return Counter(state for some in self.shards.values() for _, state in some)

    @property
    def running(self) -> bool:
        """Return whether a process is at work, judged by the lease."""
        return at_work(self.holder)

    @property
    def left(self) -> int:
        """Return the number of units that the same command would still do."""
        return sum(count["left"] + count["failed"] for count in self.phases.values())


def gather(out: Location) -> Facts:
    """Read a run's plan, ledger and lease. Nothing is written, and no process is contacted.

    Errors: as in :func:`~s2sharp.execution.status.status_of`.
    """
    plan = as_frozen(Plan.read(out))
    phases: defaultdict[str, Counter[str]] = defaultdict(Counter)
    shards: defaultdict[str, list[tuple[Unit, str]]] = defaultdict(list)
    done: list[tuple[str, str, str]] = []
    failed: list[tuple[str, str, str]] = []

    def take(found: UnitState[Any]) -> None:
        phases[found.phase][found.state] += 1
        if found.phase == "sharpen" and isinstance(found.of, Unit):
            shards[plan.acquisition_id(found.of)].append((found.of, found.state))
        if found.state == "failed":
            failed.append(found[2:])
        elif found.phase == "sharpen" and found.state in FINAL:
            done.append(found[2:])

    for found in UnitStates(plan).every():
        take(found)
    # The cube also has units of earlier queries. Only the ledger knows how many of them were requested.
    earlier = tuple(a.id for a in plan.present if a.id not in plan.asked)
    before = plan.model_copy(update={"asked": earlier})
    if earlier:
        for found in UnitStates(before).units():
            if found.state in FINAL:
                take(found)
    step = -(-len(done) // _MOST) or 1
    return Facts(
        plan=plan,
        cube=store_status(plan.store),
        holder=holder(out),
        shards=dict(shards),
        phases=dict(phases),
        records=tuple(plan.ledger.reads(done[::step])),
        recorded=len(done),
        failed=tuple(plan.ledger.reads(failed)),
    )


@dataclass(frozen=True)
class Timing:
    """Time and memory of units of the full resolution, from their records.

    ``pixels``: valid pixels of 10 m. ``seconds``: step → seconds of all workers. ``workers``: number of processes.
    ``peak``, ``idle``: bytes of the largest worker. ``curve``: (seconds since the first record, pixels until then),
    without pauses. ``begun``, ``ended``: the first and the last record, ISO 8601 in UTC.
    """

    pixels: int
    seconds: Mapping[str, float]
    workers: int
    peak: int
    idle: int
    curve: tuple[tuple[float, int], ...]
    begun: str
    ended: str


def timing(records: Sequence[Record]) -> Timing | None:
    """Compute the timing; None if no record states any work."""
    worked = [record for record in records if record.seconds]
    if not worked:
        return None
    seconds: defaultdict[str, float] = defaultdict(float)
    for record in worked:
        for step, spent in record.seconds.items():
            seconds[step] += spent
    largest = max(worked, key=lambda record: record.peak)
    stamped = sorted((r for r in worked if r.written), key=lambda record: record.written)
    curve, at, pixels, last = [], 0.0, 0, None
    for record in stamped:
        when = datetime.fromisoformat(record.written)
        passed = (when - last).total_seconds() if last else 0.0
        at, last, pixels = at + (passed if passed < _PAUSE else 0.0), when, pixels + record.valid
        curve.append((at, pixels))
    return Timing(
        pixels=sum(record.valid for record in worked),
        seconds=dict(seconds),
        workers=len({record.worker for record in worked}),
        peak=largest.peak,
        idle=largest.idle,
        curve=tuple(curve),
        begun=stamped[0].written if stamped else "",
        ended=stamped[-1].written if stamped else "",
    )
