"""``s2sharp report``."""

from pathlib import Path
from typing import Annotated

import typer

from ..storage.files import write_text
from ..storage.location import place
from ..ui.terminal import console, told

__all__ = ["report"]


def report(
    out: Annotated[str, typer.Argument(help="The folder or URL of a run or a mosaic.")],
    *,
    to: Annotated[
        str | None, typer.Option(help="The page to write.", show_default="OUT/report.html")
    ] = None,
) -> None:
    """Write one page about a run that holds all it shows: before and after at chosen places, a map of its units, what
    failed and what to do, how far to trust it, what it took, what it is from.

    It reads OUT alone, while a run works and after it ended or died, and small windows of the native bands, where
    they are within reach.
    """
    from ..report.make import make_report

    with told("Stopped. Nothing was written."):
        where = place(out)
        file = where / "report.html" if to is None else place(Path(to) if "://" not in to else to)
        with console.status("Looking at the run …"):
            page = make_report(where)
        write_text(file, page)
        console.print(f"{file}  ({len(page) / 1e6:.1f} MB)")
