"""``s2sharp simulate`` and ``s2sharp demo``: synthetic scenes, and a whole run on them or on real ones."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from ..planning.config import read_config
from ..ui.terminal import bars, busy, check_extras, console, told

if TYPE_CHECKING:
    from ..demo.real import Detail


def simulate(
    folder: Annotated[Path, typer.Argument(help="Folder to write to; created if missing.")],
    cells: Annotated[int, typer.Option(help="Side of the area in cells of 60 m.", min=20)] = 150,
    tiles: Annotated[
        int, typer.Option(help="Number of overlapping tiles along a side.", min=1)
    ] = 2,
    dates: Annotated[int, typer.Option(help="Acquisitions, five days apart.", min=1)] = 1,
    epsg: Annotated[int, typer.Option(help="UTM code: 326xx north, 327xx south.")] = 32633,
    seed: Annotated[int, typer.Option(help="Seed of the landscape.")] = 7,
) -> None:
    """Write synthetic Sentinel-2 scenes with known 10 m truth, and a static STAC catalog of them."""
    from ..demo.synthetic import simulate as write

    with told():
        catalog, bbox = write(folder, cells, tiles, dates, epsg, seed)
        area = " ".join(map(repr, bbox))
        console.print(
            f"{catalog}\n\nTry:\n  s2sharp run --catalog {catalog} --bbox {area} --datetime 2024 --out cube"
        )


def demo(
    folder: Annotated[Path, typer.Argument(help="Folder to write to.")] = Path("demo"),
    *,
    real: Annotated[
        bool,
        typer.Option(
            "--real", help="Use six real scenes, fetched once (7 MB) from the Python package index."
        ),
    ] = False,
    chips: Annotated[
        Path | None,
        typer.Option(
            help="With --real: the wheel of the scenes, for machines without a network. "
            "`pip download --no-deps bigearthnet-common==2.8.0` fetches it elsewhere.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Sharpen scenes with known truth, and show the accuracy: synthetic scenes by a whole run, or real ones."""
    with told():
        begin = time.perf_counter()
        page = _demo_real(folder, chips) if real or chips else _demo_drawn(folder)
        console.print(
            f"All files are in {folder.resolve()}; it took {time.perf_counter() - begin:.0f} s."
        )
        if page.exists():
            console.print(f"Open this: {page.resolve()}")


def _demo_drawn(folder: Path) -> Path:
    """Run the demo on synthetic scenes, and return the report."""
    from ..demo.score import make_scenes, score
    from .run import carry_out

    console.rule("1  Synthetic scenes with known truth, in a STAC catalog")
    flags = make_scenes(folder)
    console.print("s2sharp run " + " ".join(f"--{k} {v}" for k, v in _spoken(flags)))
    console.rule("2  The run")
    plan = carry_out(read_config(None, flags))
    console.rule("3  How accurate it is")
    _show_errors(score(folder, plan))
    console.print(
        "RMSE in DN (1/10 000 of reflectance), SRE = 10·log10(Σx²/Σe²) in dB, against the truth. "
        "The shipped nets were trained on such landscapes, among others; `s2sharp demo --real` has real scenes."
    )
    return Path(str(plan.out)) / "report.html"


def _demo_real(folder: Path, chips: Path | None) -> Path:
    """Run the demo on real scenes, and return the picture."""
    check_extras(("matplotlib",), "The picture", "Install it: `pip install 's2sharp[publish]'`.")
    from ..demo.chips import REQUIREMENT, fetch_chips, read_chips

    console.rule("1  Real scenes")
    with busy(f"Looking for {REQUIREMENT} …"):
        file = chips or fetch_chips()
        scenes = read_chips(file)
    console.print(
        f"{len(scenes)} scenes from {file}\n"
        "Surface reflectance (Level-2A), small cuts of BigEarthNet v1 under CDLA-Permissive-1.0. "
        "Contains modified Copernicus Sentinel data."
    )
    console.rule("2  Sharpened")
    from ..demo.real import (
        METHODS_COMPARED,
        chip_cases,
        draw_chips,
        errors,
        judge_chips,
        seen_in_training,
        spectrum,
    )

    # It takes minutes on a slow machine, so bars show the progress.
    with bars() as shown:
        cases = chip_cases(scenes)
        each = {name: shown.add_task(name, total=len(cases), note="") for name in METHODS_COMPARED}
        outcome = judge_chips(
            cases, lambda name, done, note: shown.update(each[name], completed=done, note=note)
        )
    picture = folder / "real.png"
    with busy("Drawing …"):
        draw_chips(picture, outcome.results)
    console.rule("3  How accurate it is")
    console.print(
        "Nobody has measured these bands at 10 m. So the scenes were made twice as coarse and sharpened from 40 m to 20 m, "
        "where the satellite's own 20 m bands are the truth:"
    )
    _show_errors(errors(outcome.rows))
    console.print(
        "RMSE: the typical error, in DN (1/10 000 of reflectance); less is better. SRE: signal over error, in dB; "
        "more is better, and 6 dB more is half the error. Mean of the scenes; bicubic is plain interpolation."
    )
    console.rule("4  How sharp it is")
    console.print(
        "B07 and B8A look nearly like B08, which is measured at 10 m. Of the contrast that B08 shows in patterns of "
        "different size, the two have, from 20 m to 10 m:"
    )
    _show_spectrum(spectrum(outcome.rows))
    console.print(
        "100 % is right. Less is blurred, more is exaggerated. Interpolation loses patterns finer than 40 m."
    )
    if count := seen_in_training(outcome.rows):
        console.print(
            f"The shipped net saw {count} of these {len(scenes)} scenes in training, so this is the best it can do. "
            "Scenes that it had not seen: docs/figures.md."
        )
    return picture


def _show_spectrum(details: "list[Detail]") -> None:
    """Print every third row: neighbouring rows are nearly equal."""
    table = _table("patterns of", "interpolated", "sharpened")
    for detail in details[1::3]:
        shares = (max(0.0, x) for x in (detail.interpolated, detail.sharpened))
        table.add_row(f"{detail.metres:.0f} m", *(f"{100 * x:.0f} %" for x in shares))
    console.print(table)


def _show_errors(rows: Iterator[tuple[str, ...]]) -> None:
    kinds = (f"{figure} {how}" for figure in ("RMSE", "SRE") for how in ("bicubic", "sharpened"))
    table = _table("band", "native", *kinds)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _table(*columns: str) -> Table:
    table = Table()
    for name in columns:
        table.add_column(name, justify="right")
    return table


def _spoken(flags: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in flags.items():
        shown = " ".join(map(repr, value)) if isinstance(value, tuple) else str(value)
        yield key.replace("_", "-"), shown
