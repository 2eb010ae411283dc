"""Events of a run or a mosaic, one class for each kind."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from .ledger import Record


@dataclass(frozen=True)
class RunPlanned:
    """The plan is made.

    ``facts``: numbers of all units and of those to do (``units``: of the full resolution); ``totals``: phase → units, for
    phases that are known from the start.
    """

    phase: ClassVar[str] = "plan"
    facts: Mapping[str, Any]
    totals: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class LeaseWaiting:
    """Another run holds the folder; ``waits``: text about the wait."""

    phase: ClassVar[str] = "lease"
    waits: str


@dataclass(frozen=True)
class ClusterReady:
    """The workers are ready; ``dashboard``: its address, "" without one."""

    phase: ClassVar[str] = "cluster"
    dashboard: str


@dataclass(frozen=True)
class WorkerSilent:
    """A ``worker`` has given no sign of life for ``seconds``: it is stopped, or its machine sleeps."""

    phase: ClassVar[str] = "cluster"
    worker: str
    seconds: float


@dataclass(frozen=True)
class FitProgress:
    """Progress of the fit to the datatake ``take``."""

    phase: ClassVar[str] = "fit"
    take: str
    step: int
    steps: int
    loss: float


@dataclass(frozen=True)
class _OfUnit:
    """A unit of a phase: "sensor", "fit", "sharpen", "overviews", "publish"; of a mosaic "mosaic", "overviews", "compare"."""

    phase: str

    @property
    def full(self) -> bool:
        """True for a unit of the full resolution."""
        return self.phase in ("sharpen", "mosaic")


@dataclass(frozen=True)
class UnitDone(_OfUnit):
    """A unit has ended: it was made, or has failed."""

    record: Record


@dataclass(frozen=True)
class UnitRetried(_OfUnit):
    """A unit failed and will be tried again."""

    record: Record


@dataclass(frozen=True)
class UnitSkipped(_OfUnit):
    """A unit was done before, under this ``key``."""

    unit: str
    key: str


@dataclass(frozen=True)
class RunEnded:
    """Last event: the outcome in numbers."""

    phase: ClassVar[str] = "done"
    facts: Mapping[str, Any]

    @property
    def whole(self) -> bool:
        """True if nothing failed, was refused or was left."""
        return not any(self.facts.get(name) for name in ("failed", "refused", "stopped"))


@dataclass(frozen=True)
class RunBroken:
    """Last event in place of :class:`RunEnded`: the error that ended the run."""

    phase: ClassVar[str] = "error"
    kind: str
    message: str


Event = (
    RunPlanned
    | LeaseWaiting
    | ClusterReady
    | WorkerSilent
    | FitProgress
    | UnitDone
    | UnitRetried
    | UnitSkipped
    | RunEnded
    | RunBroken
)
Listener = Callable[[Event], None]


def facts_of(event: Event) -> dict[str, Any]:
    """Return the fields of an event for a line of JSON."""
    match event:
        case RunPlanned() | RunEnded():
            return {"phase": event.phase, "event": "progress", **event.facts}
        case UnitSkipped():
            return {"phase": event.phase, "event": "skipped", **asdict(event)}
        case UnitDone() | UnitRetried():
            facts = asdict(event.record)
            del facts["written"]  # set by the ledger; a line has its own time
            what = "again" if isinstance(event, UnitRetried) else "unit"
            return {"phase": event.phase, "event": what, **facts}
        case _:
            return {"phase": event.phase, "event": "progress", **asdict(event)}
