"""The command line: thin, and made to be learned from ``--help``."""

from typing import Annotated

import typer

from ..planning.config import RunConfig
from .demo import demo, simulate
from .evaluate import evaluate, methods
from .flags import configured
from .folder import clean, history, status, verify
from .mosaic import mosaic
from .report import report
from .sensor import sensor
from .sources import sources
from .train import finetune, import_weights, train
from .view import view

__all__ = ["app", "main", "plan"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="All bands of Sentinel-2 at 10 m, from a STAC query to a datacube.\n\n"
    "Begin with `s2sharp demo`. Exit codes: 0 done, 1 error, 2 bad configuration, 3 nothing found, "
    "4 some units failed (run the same command again: only those are redone), 5 another run writes to the same folder.",
)


@configured
def run(config: RunConfig) -> None:
    """Sharpen what a STAC query finds into a datacube.

    Flags win over environment variables (`S2SHARP_MAX_CLOUD=20`), which win over the file.

    Example: `s2sharp run --bbox 16.35 48.66 16.48 48.74 --datetime 2024-06 --max-cloud 20 --out vienna`
    """
    from .run import carry_out

    carry_out(config)


@configured
def plan(
    config: RunConfig,
    *,
    explain: Annotated[
        str | None,
        typer.Option(
            metavar="UNIT",
            help="List what one unit reads and writes: a number from 1, or a name as the ledger has it.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Say what `run` with the same flags would read, need and write, and how long it would take.

    Reads the catalogue and times one window; no pixel moves and nothing is written.
    """
    from .inspect import explained
    from .run import planned

    if explain is None:
        planned(config)
    else:
        explained(config, explain)


for command in (
    run,
    plan,
    sources,
    status,
    verify,
    clean,
    history,
    methods,
    simulate,
    demo,
    train,
    finetune,
    mosaic,
    report,
    sensor,
    view,
    evaluate,
):
    app.command()(command)

weights_app = typer.Typer(no_args_is_help=True, help="Weights from elsewhere.")

weights_app.command("import")(import_weights)

app.add_typer(weights_app, name="weights")


def main() -> None:
    """The entry point of ``s2sharp``."""
    app()


if __name__ == "__main__":
    main()
