"""Commands on the folder of a run or a mosaic: ``s2sharp status``, ``report``, ``view``, ``verify``, ``clean``, ``history``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from ..storage.files import write_text
from ..storage.location import place
from ..ui.terminal import check_extras, console, told


def status(
    out: Annotated[list[str], typer.Argument(help="Folders or URLs of runs or mosaics.")],
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON object; for several folders, a list.")
    ] = False,
) -> None:
    """Show the progress of runs and mosaics from their folders alone, while they work and afterwards.

    Exit code 0 when all is done, 4 when something is left.
    """
    from .run_folder_output import show_status

    with told():
        show_status([place(one) for one in out], as_json=as_json)


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


def view(
    out: Annotated[str, typer.Argument(help="The folder or URL of a run or a mosaic.")],
    *,
    port: Annotated[int, typer.Option(help="Port; 0: any free one.", min=0, max=65535)] = 0,
) -> None:
    """View a cube: a map and the report, served to this machine alone until Ctrl-C.

    The map shows every acquisition in true colour, short-wave infrared or one band, also during a run. Other programs find
    tiles under `/cube/tiles/WebMercatorQuad/{z}/{x}/{y}.png?acquisition=ID&band=B12&rescale=0,0.4`.

    Needs `pip install 's2sharp[view]'`.
    """
    with told("Closed."):
        check_extras(
            ("titiler.core", "uvicorn"),
            "The map",
            "Install it (`pip install 's2sharp[view]'`), or use `s2sharp report`, which does not need it.",
        )
        import uvicorn

        from ..view.server import LOCAL, app_of, listen

        app = app_of(place(out))
        with listen(port) as listener:
            console.print(f"http://{LOCAL}:{listener.getsockname()[1]}/   (Ctrl-C ends it)")
            server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
            server.run(sockets=[listener])


def clean(
    out: Annotated[str, typer.Argument(help="The folder or URL of a run or a mosaic.")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list the files.")] = False,
    keep: Annotated[
        str | None,
        typer.Option(
            metavar="DATES|PERIOD",
            help="Keep only the newest dates of a cube, by number (24) or by period up to the newest (90d, 12w, 6m, P1Y); "
            "remove the others for good.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Remove leftovers of a run or a mosaic: the stage, temporary files of killed writers, records of failures that were
    repaired.

    The cube or mosaic, COGs, measured sensors, fitted weights and the ledger stay: the same command continues from them.

    With `--keep`, older dates are removed, too: from the cube, its COGs, pictures, catalog and ledger. Later runs leave these
    dates out, and say so.

    Example: `s2sharp clean OUT --keep P1Y --dry-run`
    """
    from .run_folder_output import clean_up

    with told():
        clean_up(place(out), dry_run=dry_run, keep=keep)


def verify(
    out: Annotated[str, typer.Argument(help="The folder or URL of a run or a mosaic.")],
    *,
    sample: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of the units to read, chosen at random.")
    ] = 1.0,
) -> None:
    """Read back the files of a run or a mosaic, and list those that are missing, cut off or changed.

    Their units are recorded as failed, and the same `s2sharp run` or `mosaic` makes only these anew. Exit code 0 when all
    files are intact, 4 when some are broken.
    """
    from .run_folder_output import verify_folder

    with told():
        verify_folder(place(out), sample)


def history(
    out: Annotated[str, typer.Argument(help="Folder or URL of the run.")],
    commit: Annotated[
        bool, typer.Option("--commit", help="First keep a snapshot of the cube as it is now.")
    ] = False,
) -> None:
    """List the snapshots that runs with `--history` have kept of a cube, the newest first.

    `s2sharp.open_cube(OUT, snapshot=ID)` opens one.
    """
    from ..cube.history import commit as keep
    from ..cube.history import snapshots
    from ..engine.lease import Lease

    with told():
        where = place(out)
        if commit:
            with Lease.taken(where, tell=console.print):
                keep(where, "committed by hand")
        for found in snapshots(where):
            console.print(f"{found.id}  {found.written:%Y-%m-%d %H:%M:%S}  {escape(found.message)}")
