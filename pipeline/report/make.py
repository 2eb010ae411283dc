"""The page for a run's folder."""

from typing import TYPE_CHECKING

import dask

from ..storage.location import Location
from .facts import Facts, gather
from .page import render
from .places import Natives, places, thumbnail

if TYPE_CHECKING:
    from .consistency import Consistency


def make_report(out: Location, *, brief: bool = False) -> str:
    """Return the page of the run or the mosaic in ``out``: self-contained HTML.

    Native bands are read in small windows from the addresses in the items. If they cannot be read, the page gives the
    reason.

    Parameters
    ----------
    brief
        Leave out the consistency figure, which needs torch and takes as long as everything else.

    Raises
    ------
    S2SharpError
        ``not-a-run``; ``other-run`` if another version wrote it.
    """
    if (out / "mosaic.json").exists():
        # Loaded here, because the packages for mosaics need not be installed to look at a run.
        from .mosaics import mosaic_page

        with dask.config.set(scheduler="threads"):
            return mosaic_page(out)
    facts = gather(out)
    natives = Natives(facts.plan.coarse)
    # Computed here and not on a cluster of this program, whose workers may not see ``out``.
    with dask.config.set(scheduler="threads"):
        shown = places(facts, natives)
        found = None if brief else _consistency(facts, natives)
        behind = {layout.epsg: thumbnail(facts, layout) for layout in facts.plan.layouts}
    pictures = {epsg: png for epsg, png in behind.items() if png}
    return render(facts, shown, natives.missing, found, pictures, brief=brief)


def _consistency(facts: Facts, natives: Natives) -> "Consistency | None":
    from .consistency import consistency

    return consistency(facts, natives)
