"""``s2sharp simulate`` and ``s2sharp demo``: scenes that are drawn, and the whole way on them."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from ..planning.config import read_config
from ..ui.terminal import console, told

__all__ = ["demo", "simulate"]


def simulate(
    folder: Annotated[Path, typer.Argument(help="Where to write; made if it is not there.")],
    cells: Annotated[int, typer.Option(help="Side of the area in cells of 60 m.", min=20)] = 150,
    tiles: Annotated[
        int, typer.Option(help="Cut into so many overlapping tiles a side.", min=1)
    ] = 2,
    dates: Annotated[int, typer.Option(help="Acquisitions, five days apart.", min=1)] = 1,
    epsg: Annotated[int, typer.Option(help="UTM code: 326xx north, 327xx south.")] = 32633,
    seed: Annotated[int, typer.Option(help="Another seed, another landscape.")] = 7,
) -> None:
    """Write synthetic Sentinel-2 scenes with known 10 m truth, behind a static STAC catalogue."""
    from ..demo.synthetic import COLLECTION
    from ..demo.synthetic import simulate as write

    with told():
        catalog, bbox = write(folder, cells, tiles, dates, epsg, seed)
        area = " ".join(map(repr, bbox))
        console.print(
            f"{catalog}\n\nTry:\n  s2sharp run --catalog {catalog} --collection {COLLECTION} "
            f"--bbox {area} --datetime 2024 --out cube"
        )


def demo(
    folder: Annotated[Path, typer.Argument(help="Where to write everything.")] = Path("demo"),
) -> None:
    """Simulate scenes with known truth, sharpen them as a real query would, and say how accurate it is."""
    from ..demo.score import make_scenes, score
    from .run import carry_out

    with told():
        begin = time.perf_counter()
        console.rule("1  Synthetic scenes with known truth, behind a STAC catalogue")
        flags = make_scenes(folder)
        console.print("s2sharp run " + " ".join(f"--{k} {v}" for k, v in _spoken(flags)))
        console.rule("2  The run")
        plan = carry_out(read_config(None, flags))
        console.rule("3  How accurate it is")
        _show_errors(score(folder, plan))
        console.print(
            "RMSE in DN (1/10 000 of reflectance), SRE = 10·log10(Σx²/Σe²) in dB, against the truth. "
            "The shipped nets learned on landscapes drawn alike, among others; docs/figures.md has real scenes."
        )
        console.print(
            f"Everything is in {folder.resolve()}; it took {time.perf_counter() - begin:.0f} s."
        )
        page = plan.out.absolute() / "report.html"
        if page.exists():
            console.print(f"Open this in a browser: {page}")


def _show_errors(rows: Iterator[tuple[str, ...]]) -> None:
    table = Table()
    for name in (
        "band",
        "native",
        "RMSE bicubic",
        "RMSE sharpened",
        "SRE bicubic",
        "SRE sharpened",
    ):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _spoken(flags: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in flags.items():
        shown = " ".join(map(repr, value)) if isinstance(value, tuple) else str(value)
        yield key.replace("_", "-"), shown
