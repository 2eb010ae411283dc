"""The page that a run or a mosaic writes into its folder at its end."""

import warnings

from s2sharp_core.errors import printable

from ..storage.files import write_text
from ..storage.location import Location
from ..ui.terminal import busy


def leave_page(out: Location, *, anew: bool) -> Location | None:
    """Write a brief ``report.html`` into ``out`` and return its location, or None without one.

    Parameters
    ----------
    anew
        Whether anything was done; if not, an existing page is kept.

    Warns
    -----
    UserWarning
        If the page cannot be made, because a successful run must not fail for it.
    """
    file = out / "report.html"
    if not anew and file.is_file():
        return file
    try:
        # Loaded here, because a run without work does not need it.
        from .make import make_report

        with busy("Reading the run …"):
            write_text(file, make_report(out, brief=True))
    except Exception as error:
        text = f"report.html was not made: {printable(str(error))} Try `s2sharp report {out}`."
        warnings.warn(text, UserWarning, stacklevel=2)
        return None
    return file
