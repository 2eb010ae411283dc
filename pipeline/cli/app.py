"""The command line: its commands, grouped as ``--help`` shows them."""

import atexit
import errno
import gc
import os
import platform
import sys
from functools import partial
from importlib.metadata import version
from io import TextIOWrapper
from typing import Annotated

import typer
from rich.status import Status

from ..cube.intact import store_status
from ..engine import fork_server, interrupt
from ..planning.config import RunConfig
from ..storage.location import store_errors
from ..ui.terminal import GOES_ON, console, leave_quietly
from .demo import demo, simulate
from .evaluate import evaluate, methods
from .flags import Listing, configured
from .mosaic import mosaic
from .run_folder import clean, history, report, status, verify, view
from .sensor import sensor
from .sources import sources
from .train import finetune, import_weights, train

app = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
    help="All bands of Sentinel-2 at 10 m, from a STAC query to a datacube.\n\n"
    "Begin with `s2sharp demo`; then `s2sharp plan` and `s2sharp run`. Exit codes: 0 done, 1 error, 2 bad configuration, 3 nothing found, "
    "4 some units failed (run the same command again: only those are redone), 5 another run writes to the same folder.",
)


def _searching(config: RunConfig) -> Status:
    """Show a status line from the start: loading the libraries of a search may take longer than the search."""
    return console.status(f"Searching {config.collection} …")


def _load_ahead(config: RunConfig) -> None:
    """Load the libraries of local workers while a run is planned, unless its cube needs none any more."""
    if config.scheduler or config.cluster:
        return
    try:
        done = store_status(config.out / "cube.zarr") == "complete"
    except store_errors():  # the run itself tells of it
        return
    if not done:
        fork_server.begin("s2sharp.execution.forked")


@partial(configured, stopped=GOES_ON)
def run(config: RunConfig) -> None:
    """Sharpen the scenes that a STAC query finds into a datacube.

    Flags win over environment variables (`S2SHARP_MAX_CLOUD=20`), and these over the file of `--config`.

    Example: `s2sharp run --bbox 16.35 48.66 16.48 48.74 --datetime 2024-06 --max-cloud 20 --out vienna`
    """
    _load_ahead(config)
    from ..ui.progress import prepare

    prepare(config)
    with _searching(config):
        from .run import carry_out

    carry_out(config)


@partial(configured, stopped="Stopped. Nothing was written.")
def plan(
    config: RunConfig,
    *,
    explain: Annotated[
        str | None,
        typer.Option(
            metavar="UNIT",
            help="List the reads and writes of one unit, given by its number from 1 or its name in the ledger.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Show what `run` with the same flags would read, need and write, and how long it would take.

    It reads the catalog, and times one window of a method that is new to this machine. It reads no pixel and writes nothing.
    """
    if explain is None:
        with _searching(config):
            from .run import planned

        planned(config)
    else:
        from .run import explained

        explained(config, explain)


_GROUPS = {
    "Begin": (demo, methods),
    "Sharpen": (sources, plan, run, mosaic),
    "Look": (status, report, view),
    "Keep": (verify, clean, history),
    "Judge and teach": (evaluate, sensor, simulate, train, finetune),
}
for title, commands in _GROUPS.items():
    for command in commands:
        app.command(cls=Listing, rich_help_panel=title)(command)

weights_app = typer.Typer(no_args_is_help=True, help="Use weights from elsewhere.")

weights_app.command("import")(import_weights)

app.add_typer(weights_app, name="weights", rich_help_panel="Judge and teach")


_OTHERS = ("numpy", "dask", "distributed", "xarray", "zarr", "rasterio")


def _versions(asked: bool) -> None:
    """Print the versions of this package, Python and the main dependencies, and the device."""
    if not asked:
        return
    import rasterio
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    shown = {
        "s2sharp": version("s2sharp"),
        "Python": f"{platform.python_version()} on {platform.platform()}",
        "torch": str(torch.__version__),
        "GDAL": str(rasterio.__gdal_version__),
        **{name: version(name) for name in _OTHERS},
        "device": f"{device}, {os.cpu_count()} processors",
    }
    for name, text in shown.items():
        typer.echo(f"{name:12}{text}")
    raise typer.Exit


@app.callback()
def _common(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            is_eager=True,
            callback=_versions,
            help="Show the versions and the device, for bug reports.",
        ),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run ``s2sharp`` as a process of its own. Characters that an old terminal cannot show become question marks."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    interrupt.hear()
    fork_server.allow()
    # Loading libraries leaves no garbage, and the search for it took a quarter of the time of short commands.
    gc.set_threshold(50_000)
    atexit.register(gc.freeze)
    try:
        app()
    except SystemExit as end:
        # Click itself would end with an error's exit code.
        if isinstance(end.__context__, BrokenPipeError):
            leave_quietly()
        raise
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        typer.echo(f"The output cannot be written: {error.strerror}.", err=True)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
