"""The page that a run or a mosaic leaves in its folder when it ends."""

import warnings

from s2sharp_core.errors import printable

from ..storage.files import write_text
from ..storage.location import Location
from ..ui.terminal import busy

__all__ = ["leave_page"]


def leave_page(out: Location, *, anew: bool) -> Location | None:
    """Write ``report.html`` into ``out``, in brief, and return where it lies; None where there is none.

    Parameters
    ----------
    anew
        Whether anything was done; if not, a page that is there stays as it is.

    Warns
    -----
    UserWarning
        When it cannot be made: a run that ended well ends well without it.
    """
    file = out / "report.html"
    if not anew and file.is_file():
        return file
    try:
        # Here: a run that has nothing to do needs none of it.
        from .make import make_report

        with busy("Looking at the run …"):
            write_text(file, make_report(out, brief=True))
    except Exception as error:
        text = f"report.html was not made: {printable(str(error))} Try `s2sharp report {out}`."
        warnings.warn(text, UserWarning, stacklevel=2)
        return None
    return file
