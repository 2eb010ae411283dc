"""``s2sharp methods`` and ``s2sharp evaluate``: methods described, and side by side."""

from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from ..ui.terminal import Screen, console, told

__all__ = ["evaluate", "methods"]


def methods(
    name: Annotated[
        str | None, typer.Argument(help="One of them, in full.", show_default=False)
    ] = None,
) -> None:
    """List the ways to sharpen: what each is, what it needs and costs, where it was published.

    With a NAME, that one in full: how it is fitted, too.

    Cost: multiply-adds per 10 m pixel for all coarse bands. A method that needs a fit learns on the scene:
    `s2sharp run` fits it once per datatake.
    """
    with told():
        if name is None:
            _list_methods()
        else:
            _show_method(name)


def _list_methods() -> None:
    """A method a line; on a terminal that is too narrow, all but its name is folded."""
    from s2sharp_core import METHODS

    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("method", no_wrap=True, min_width=max(map(len, METHODS)))
    for column in ("what it is", "needs", "cost", "source"):
        table.add_column(column, overflow="fold")
    for m in METHODS.values():
        table.add_row(m.name, m.summary, m.needs, m.cost, m.source)
    # What is no terminal has no width to fit into; what reads it wants a line for each method.
    wide = console if console.file.isatty() else Screen(width=1000)
    wide.print(table)


def _show_method(name: str) -> None:
    from s2sharp_core.sharpeners.methods import known

    m = known(name)
    rows = {"what it is": m.summary, "needs": m.needs, "cost": m.cost, "source": m.source}
    if m.fit:
        rows["fit"] = (
            f"{m.steps} step{'s' * (m.steps != 1)}; windows of at least {m.smallest} cells of 60 m"
        )
    for key, value in rows.items():
        console.print(f"[bold]{key:11}[/]{escape(value)}")


def evaluate(
    method: Annotated[
        list[str] | None,
        typer.Option(help="A method; repeat for more.", show_default="bicubic, s2net-m"),
    ] = None,
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            help="How cases are made and judged; repeat for more: measured, hidden, spectrum, robust, harm, consistency, "
            "mtf, dsen2, papers/coastal, papers/iceland, papers/apex-30, papers/apex-40.",
            show_default="measured",
        ),
    ] = None,
    scene: Annotated[
        list[str] | None,
        typer.Option(help="Only this scene; repeat for more.", show_default="all"),
    ] = None,
    catalog: Annotated[
        Path | None, typer.Option(help="Static catalogue of real scenes without gaps.")
    ] = None,
    collection: Annotated[str, typer.Option(help="Its collection.")] = "sentinel-2-l1c",
    papers: Annotated[
        Path | None,
        typer.Option(
            help="Folder with the arrays of papers (apex.npz, coastal_rr.npz, iceland_raw.npz).",
            show_default="papers/ beside the catalogue's folder, or in $S2SHARP_DATA",
        ),
    ] = None,
    synthetic: Annotated[
        int | None,
        typer.Option(
            help="Synthetic landscapes, whose 10 m truth is known.",
            min=0,
            show_default="2, with a catalogue 0",
        ),
    ] = None,
    cells: Annotated[int, typer.Option(help="Side of these in cells of 60 m.", min=12)] = 48,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METHOD=FOLDER",
            help="Weights of your own for a method; repeat for more.",
            show_default=False,
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            help="Steps of a fit, for methods that learn.", min=1, show_default="the method's"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random in a fit.")] = 0,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda")] = "auto",
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for table.csv (and table.parquet, where pyarrow is installed), index.html and "
            "fits/. The same command on it again does not repeat the fits.",
            show_default=False,
        ),
    ] = None,
    pictures: Annotated[bool, typer.Option(help="Write index.html, a page of pictures.")] = True,
) -> None:
    """Judge methods: RMSE, SRE, SAM, ERGAS, UIQI, SSIM, Q2n, indices, invention, time and cost.

    Without a catalogue it judges on synthetic landscapes. Methods that learn on the scene are fitted to
    each case's own inputs, never to its truth; so they are in `papers/…`, too.

    Example: `s2sharp evaluate --method bicubic --method s2net-m --protocol measured --protocol spectrum --out bench`
    """
    from s2sharp_core.learning.fitting import FitOptions

    from ..bench.compare import find_tasks, folders
    from .bench import Bench, check_pictures

    with told(
        f"Stopped. What is done lies in {out}; the same command does not repeat its fits."
        if out
        else "Stopped. With --out, fits would have been kept."
    ):
        if out and pictures:
            check_pictures()
        tasks = find_tasks(
            protocol or ["measured"],
            catalog=catalog,
            collection=collection,
            papers=papers,
            scenes=scene or [],
            synthetic=synthetic,
            cells=cells,
        )
        own = folders(weights or [])
        bench = Bench(tasks, out)
        bench.judge(method or ["bicubic", "s2net-m"], own, FitOptions(steps, seed), device)
        if out:
            bench.write(out, pictures=pictures)
