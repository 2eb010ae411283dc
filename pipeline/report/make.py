"""From a run's folder to its page."""

from typing import TYPE_CHECKING

import dask

from ..storage.location import Location
from .facts import Facts, gather
from .page import render
from .places import Natives, places, thumbnail

if TYPE_CHECKING:
    from .consistency import Consistency

__all__ = ["make_report"]


def make_report(out: Location, *, brief: bool = False) -> str:
    """The page of the run or the mosaic in ``out``: HTML that holds all it shows.

    Native bands are asked for where the items say that they lie, in small windows; where they cannot be read, the page
    says why.

    Parameters
    ----------
    brief
        Leaves out how far the cube is off what the satellite saw, which takes torch and as long as all the rest.

    Raises
    ------
    S2SharpError
        ``not-a-run``; ``other-run`` when another version wrote it.
    """
    if (out / "mosaic.json").exists():
        # Here: what mosaics are made with need not be installed to look at a run.
        from .mosaics import mosaic_page

        with dask.config.set(scheduler="threads"):
            return mosaic_page(out)
    facts = gather(out)
    natives = Natives(facts.plan)
    # Here, whatever cluster this program may have: its workers need not see ``out``.
    with dask.config.set(scheduler="threads"):
        shown = places(facts, natives)
        found = None if brief else _consistency(facts, natives)
        behind = {layout.epsg: thumbnail(facts, layout) for layout in facts.plan.layouts}
    pictures = {epsg: png for epsg, png in behind.items() if png}
    return render(facts, shown, natives.missing, found, pictures, brief=brief)


def _consistency(facts: Facts, natives: Natives) -> "Consistency | None":
    from .consistency import consistency

    return consistency(facts, natives)
