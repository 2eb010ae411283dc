"""From a run's folder to its page."""

import dask

from ..storage.location import Location
from .consistency import consistency
from .facts import gather
from .page import render
from .places import Natives, places, thumbnail

__all__ = ["make_report"]


def make_report(out: Location) -> str:
    """The page of the run in ``out``: HTML that holds all it shows.

    Native bands are asked for where the items say that they lie, in small windows; where they cannot be read, the page
    says why.

    Raises
    ------
    S2SharpError
        ``not-a-run``; ``other-run`` when another version wrote it.
    """
    facts = gather(out)
    natives = Natives(facts.plan)
    # Here, whatever cluster this program may have: its workers need not see ``out``.
    with dask.config.set(scheduler="threads"):
        shown = places(facts, natives)
        found = consistency(facts, natives)
        behind = {layout.epsg: thumbnail(facts, layout) for layout in facts.plan.layouts}
    pictures = {epsg: png for epsg, png in behind.items() if png}
    return render(facts, shown, natives.missing, found, pictures)
