"""The page of a run's folder: made on request, or left there by a run or a mosaic at its end.

What it takes is loaded here when a page is made, because a run without work keeps the page of before.
"""

import warnings

from s2sharp_core.errors import printable

from ..storage.files import write_text
from ..storage.location import Location
from ..ui.terminal import busy


def load_ahead() -> None:
    """Load what the page of a run takes, before it is made."""
    import dask.array  # noqa: F401

    from . import facts, page, places  # noqa: F401


def write_page(out: Location, *, anew: bool) -> Location | None:
    """Write a brief ``report.html`` into ``out`` and return its location, or None without one.

    ``anew``: whether anything was done; if not, an existing page is kept.

    A warning tells if the page cannot be made, because a successful run must not fail for it.
    """
    file = out / "report.html"
    if not anew and file.is_file():
        return file
    try:
        with busy("Reading the run …"):
            write_text(file, make_report(out, brief=True))
    except Exception as error:
        text = f"report.html was not made: {printable(str(error))} Try `s2sharp report {out}`."
        warnings.warn(text, UserWarning, stacklevel=2)
        return None
    return file


def make_report(out: Location, *, brief: bool = False) -> str:
    """Return the page of the run or the mosaic in ``out``: self-contained HTML.

    Native bands are read in small windows from the addresses in the items. If they cannot be read, the page gives the
    reason.

    ``brief``: leave out the consistency figure, which needs torch and takes as long as everything else. Errors:
    ``not-a-run``; ``other-run`` if another version wrote it.
    """
    import dask

    if (out / "mosaic.json").exists():
        # The packages for mosaics need not be installed to look at a run.
        from .mosaics import mosaic_page

        with dask.config.set(scheduler="threads"):
            return mosaic_page(out)
    from .facts import gather
    from .page import render
    from .places import Natives, places, thumbnail

    facts = gather(out)
    natives = Natives(facts.plan.coarse)
    # Computed here and not on a cluster of this program, whose workers may not see ``out``.
    with dask.config.set(scheduler="threads"):
        shown, found = places(facts, natives), None
        if not brief:
            from .consistency import consistency

            found = consistency(facts, natives)
        behind = {layout.epsg: thumbnail(facts, layout) for layout in facts.plan.layouts}
    pictures = {epsg: png for epsg, png in behind.items() if png}
    return render(facts, shown, natives.missing, found, pictures, brief=brief)
