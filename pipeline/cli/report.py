"""``s2sharp report``."""

from pathlib import Path
from typing import Annotated

import typer

from ..storage.files import write_text
from ..storage.location import place
from ..ui.terminal import console, told


def report(
    out: Annotated[str, typer.Argument(help="The folder or URL of a run or a mosaic.")],
    *,
    to: Annotated[
        str | None, typer.Option(help="The page to write.", show_default="OUT/report.html")
    ] = None,
) -> None:
    """Write one self-contained page about a run: before and after at chosen places, a map of its units, failures with
    remedies, accuracy, cost and sources.

    It reads OUT alone, during a run and afterwards, and small windows of the native bands where they can be read.
    """
    from ..report.make import make_report

    with told("Stopped. Nothing was written."):
        where = place(out)
        file = where / "report.html" if to is None else place(Path(to) if "://" not in to else to)
        with console.status("Reading the run …"):
            page = make_report(where)
        write_text(file, page)
        console.print(f"{file}  ({len(page) / 1e6:.1f} MB)")
