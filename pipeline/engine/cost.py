"""Cost of a run or a mosaic, before it begins."""

from dataclasses import dataclass

from s2sharp_core import S2SharpError

# Seconds and bytes above which work has to be confirmed.
_LONG, _BIG = 86_400.0, 1e12


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Cost of a plan.

    ``units``, ``todo``: number of all units of the full resolution, and of those not in the ledger yet; ``read``: bytes
    of pixels, uncompressed, context included; ``output``, ``delivered``: bytes of the finished store with its overviews,
    and the same with the COGs; ``memory``: bytes of a worker on top of its idle size; ``seconds``: time of all units on
    ``workers``.
    """

    units: int
    todo: int
    read: float
    output: float
    delivered: float
    memory: float
    seconds: float
    workers: int


def check_size(what: str, cost: Cost, remedy: str, *, yes: bool) -> None:
    """Refuse a run or a mosaic so large that it may be a mistake (``very-large``), unless ``yes`` confirms it."""
    if yes or (cost.seconds < _LONG and cost.delivered < _BIG):
        return
    raise S2SharpError(
        "very-large",
        f"This {what} would write about {cost.delivered / 1e9:,.0f} GB and take about "
        f"{cost.seconds / 86400:.1f} days on {cost.workers} worker{'s' * (cost.workers > 1)}.",
        f"If that is what you want, add --yes; else {remedy}.",
    )
