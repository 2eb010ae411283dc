"""``s2sharp methods`` and ``s2sharp evaluate``: descriptions of methods, and their comparison."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from ..ui.terminal import check_extras, console, told

if TYPE_CHECKING:
    from s2sharp_core.sharpeners.methods import Method


def methods(
    name: Annotated[
        str | None, typer.Argument(help="Method to describe in full.", show_default=False)
    ] = None,
) -> None:
    """List the methods of sharpening: gain, cost, needs, and when to choose each.

    With a NAME, describe that method in full: summary, fit, source.

    A method that needs a fit learns on the scene: `s2sharp run` fits it once per datatake.
    """
    with told():
        if name is None:
            _list_methods()
        else:
            _show_method(name)


def _list_methods() -> None:
    """Print a line for each method, in 80 columns."""
    from s2sharp_core import METHODS

    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=0, collapse_padding=True)
    for column in ("method", "gain", "Mpx/s", "needs", "choose it"):
        right = column in ("gain", "Mpx/s")
        table.add_column(column, no_wrap=True, justify="right" if right else "left")
    for m in METHODS.values():
        gain = f"{m.gain:+.1f}" if m.gain else _or_dash(m.gain)
        table.add_row(m.name, gain, _or_dash(m.speed), f" {_needs(m)} ", m.when)
    console.print(table)
    console.print(
        "gain: dB of signal over error above interpolation, mean of four real scenes,\n"
        "40→20 m; those below 0 were fitted for minutes only, without a GPU.\n"
        "Mpx/s: millions of 10 m pixels a second on two threads. –: not measured.\n"
        "`s2sharp methods NAME` has the source. More: docs/choosing.md, docs/figures.md"
    )


def _or_dash(figure: float | None) -> str:
    return "–" if figure is None else f"{figure:g}"


def _needs(m: "Method") -> str:
    """Describe what a method needs before it can sharpen."""
    if m.fit:
        return "a quick fit" if m.steps == 1 else "a fit"
    return "your weights" if "your weights" in m.needs else "nothing"


def _show_method(name: str) -> None:
    from s2sharp_core.sharpeners.methods import known

    m = known(name)
    rows = {
        "what it is": m.summary,
        "choose it": m.when,
        "gain": "–" if m.gain is None else f"{m.gain:+.1f} dB above interpolation",
        "speed": "–" if m.speed is None else f"{m.speed:g} Mpx/s on two threads, without a fit",
        "needs": m.needs,
        "cost": f"{m.cost} multiply-adds per 10 m pixel",
        "source": m.source,
    }
    if m.fit:
        rows["fit"] = (
            f"{m.steps} step{'s' * (m.steps != 1)}; windows of at least {m.smallest} cells of 60 m"
        )
    for key, value in rows.items():
        console.print(f"[bold]{key:11}[/]{escape(value)}")


def evaluate(
    method: Annotated[
        list[str] | None,
        typer.Option(help="Method; repeat for more.", show_default="bicubic, s2net-m"),
    ] = None,
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            help="Way to make and judge cases; repeat for more: measured, hidden, spectrum, robust, harm, consistency, "
            "mtf, dsen2, papers/coastal, papers/iceland, papers/apex-30, papers/apex-40.",
            show_default="measured",
        ),
    ] = None,
    scene: Annotated[
        list[str] | None, typer.Option(help="Scene to use; repeat for more.", show_default="all")
    ] = None,
    catalog: Annotated[
        Path | None, typer.Option(help="Static catalog of real scenes without gaps.")
    ] = None,
    collection: Annotated[str, typer.Option(help="Collection in the catalog.")] = "sentinel-2-l1c",
    papers: Annotated[
        Path | None,
        typer.Option(
            help="Folder with the arrays of papers (apex.npz, coastal_rr.npz, iceland_raw.npz).",
            show_default="papers/ beside the catalog's folder, or in $S2SHARP_DATA",
        ),
    ] = None,
    synthetic: Annotated[
        int | None,
        typer.Option(
            help="Number of synthetic landscapes, whose 10 m truth is known.",
            min=0,
            show_default="2, with a catalog 0",
        ),
    ] = None,
    cells: Annotated[
        int, typer.Option(help="Side of a synthetic landscape in cells of 60 m.", min=12)
    ] = 48,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METHOD=FOLDER",
            help="Your own weights for a method; repeat for more.",
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
            "fits/. The same command again does not repeat the fits.",
            show_default=False,
        ),
    ] = None,
    pictures: Annotated[bool, typer.Option(help="Write index.html, a page of pictures.")] = True,
) -> None:
    """Judge methods: RMSE, SRE, SAM, ERGAS, UIQI, SSIM, Q2n, indices, invention, time and cost.

    Without a catalog it uses synthetic landscapes. Methods that learn on the scene are fitted to each case's own
    inputs, never to its truth, also in `papers/…`.

    Example: `s2sharp evaluate --method bicubic --method s2net-m --protocol measured --protocol spectrum --out bench`
    """
    from s2sharp_core.learning.options import FitOptions

    from ..bench.compare import find_tasks, folders
    from .bench import judge

    with told(
        f"Stopped. Results so far are in {out}; the same command does not repeat the fits."
        if out
        else "Stopped. Give --out to keep fits."
    ):
        if out and pictures:
            how = "Install it (`pip install 's2sharp[publish]'`), or give --no-pictures."
            check_extras(("matplotlib",), "The page of pictures", how)
        tasks = find_tasks(
            protocol or ["measured"],
            catalog=catalog,
            collection=collection,
            papers=papers,
            scenes=scene or [],
            synthetic=synthetic,
            cells=cells,
        )
        chosen = method or ["bicubic", "s2net-m"]
        own, options = folders(weights or []), FitOptions(steps, seed)
        judge(tasks, chosen, own, options, device, out, pictures=pictures)
