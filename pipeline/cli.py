"""The command line: thin, and made to be learned from ``--help``."""

import inspect
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from s2sharp_core import S2SharpError

from .config import RunConfig, read_config
from .flags import flags

__all__ = ["app", "main"]

EXIT = {"bad-config": 2, "method-unknown": 2, "band-unknown": 2, "other-run": 2, "nothing-found": 3}
"""Exit codes by kind of error: 2 bad configuration, 3 nothing found; 1 for the rest, 4 partial failure."""

PARTIAL = 4

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="All bands of Sentinel-2 at 10 m, from a STAC query to a datacube.\n\n"
    "Begin with `s2sharp demo`. Exit codes: 0 done, 1 error, 2 bad configuration, 3 nothing found, "
    "4 some units failed (run the same command again: only those are redone).",
)
console = Console(soft_wrap=True)
problems = Console(stderr=True, soft_wrap=True)


@contextmanager
def _told(
    stopped: str = "Stopped. The same command continues where this one was.",
) -> Iterator[None]:
    """Errors that a user can act on end the command with one message and their exit code."""
    warnings.showwarning = lambda message, *_: problems.print(
        f"[yellow]warning:[/] {escape(str(message))}"
    )
    try:
        yield
    except S2SharpError as error:
        problems.print(f"[red]{error.kind}:[/] {escape(error.message)}")
        if error.remedy:
            problems.print(f"  → {escape(error.remedy)}")
        raise typer.Exit(EXIT.get(error.kind, 1)) from None
    except KeyboardInterrupt:
        problems.print(escape(stopped))
        raise typer.Exit(130) from None


def _configured(command: Callable[[RunConfig], object]) -> Callable[..., None]:
    """A command that takes :func:`flags` and is given the configuration they make."""

    @wraps(command)
    def with_flags(**given: Any) -> None:
        with _told():
            file = given.pop("config")
            command(read_config(file, {k: v for k, v in given.items() if v is not None}))

    with_flags.__signature__ = inspect.signature(flags)  # type: ignore[attr-defined]
    with_flags.__annotations__ = flags.__annotations__
    return with_flags


@app.command()
@_configured
def run(config: RunConfig) -> None:
    """Sharpen what a STAC query finds into a datacube.

    Flags win over environment variables (`S2SHARP_MAX_CLOUD=20`), which win over the file.

    Example: `s2sharp run --bbox 16.35 48.66 16.48 48.74 --datetime 2024-06 --max-cloud 20 --out vienna`
    """
    _run(config)


@app.command()
@_configured
def plan(config: RunConfig) -> None:
    """Say what `run` with the same flags would read, need and write, and how long it would take.

    Reads the catalogue and times one window; no pixel moves and nothing is written.
    """
    _prepare(config)


def _prepare(config: RunConfig) -> tuple[Any, Any]:
    """The plan of a run, new or continued, and its cost, both shown."""
    from .cost import check_memory, estimate
    from .planning import frozen, make_plan

    with console.status(f"Searching {config.collection} …"):
        plan = frozen(config) or make_plan(config)
    with console.status("Timing one window …"):
        cost = estimate(plan)
    _show(plan, cost)
    check_memory(plan, cost)
    return plan, cost


def _show(plan: Any, cost: Any) -> None:
    table = Table(title="Plan", title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column()
    table.add_row("Acquisitions", f"{cost.acquisitions} of {cost.scenes} scenes" + _left_out(plan))
    for layout in plan.layouts:
        height, width = layout.area.pixels(10)
        cube = (
            f"{len(layout.times)} × {height} × {width} px of 10 m, shards of {layout.shard * 6} px"
        )
        table.add_row(f"EPSG:{layout.epsg}", cube)
    table.add_row("Method", f"{plan.config.method} → {' '.join(plan.config.bands)}")
    if plan.datatakes:
        table.add_row(
            "Fits",
            f"{cost.fits} of {len(plan.datatakes)} datatakes still to be learned from, each on "
            f"{plan.config.fit_windows} windows"
            + (f" in {plan.options.steps} steps" if plan.options.steps > 1 else ""),
        )
    done = f", {cost.units - cost.todo} of them done already" if cost.todo < cost.units else ""
    table.add_row("Units", f"{cost.units}{done}; {cost.windows} windows to sharpen")
    through = ", through the stage" if plan.staged else ", from the files"
    table.add_row("Reads", f"{_size(cost.read)} of pixels{through}")
    table.add_row("Writes", f"about {_size(cost.delivered)}, the cube {_size(cost.output)} of it")
    table.add_row("Memory", f"{_size(cost.memory)} for each worker beyond its idle size")
    workers = f"{cost.workers} worker" + "s" * (cost.workers > 1)
    table.add_row("Time", f"about {_duration(cost.seconds)} on {workers}")
    console.print(table)
    for refusal in plan.refused:
        problems.print(f"[yellow]left out:[/] {escape(refusal.message)}")


def _left_out(plan: Any) -> str:
    out = []
    if plan.cloudy:
        out.append(f"{len(plan.cloudy)} left out as cloudier than {plan.config.max_cloud:g} %")
    if plan.refused:
        out.append(f"{len(plan.refused)} items refused")
    return f" ({', '.join(out)})" if out else ""


def _size(count: float) -> str:
    return f"{count / 1e9:.2f} GB" if count > 1e9 else f"{count / 1e6:.0f} MB"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _run(config: RunConfig) -> Any:
    """Plan, run with progress, and report; returns the plan."""
    from .deliver import picture_path
    from .run import Event, execute

    _check_extras(config)
    plan, cost = _prepare(config)
    with Progress(
        TextColumn("{task.description:10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
    ) as progress:
        tasks = {}
        if plan.datatakes:
            tasks["fit"] = progress.add_task("fit", total=len(plan.datatakes), note="")
        tasks["sharpen"] = progress.add_task("sharpen", total=cost.units, note="")
        failures = 0

        def tell(event: Event) -> None:
            nonlocal failures
            if event.fit:
                note = "{take}: step {step} of {steps}, loss {loss:.4g}".format(**event.fit)
                progress.update(tasks["fit"], note=note)
                return
            if event.phase not in tasks:
                tasks[event.phase] = progress.add_task(event.phase, total=None, note="")
            if event.record and event.record.status == "failed":
                failures += 1
                problems.print(f"[red]failed:[/] {escape(event.record.message)}")
            note = f"[red]{failures} failed[/]" if failures else ""
            progress.update(tasks[event.phase], advance=1, note=note)

        outcome = execute(plan, tell)
        for task in tasks.values():
            progress.update(task, total=progress.tasks[task].completed)
    for text, count in outcome.warnings.items():
        problems.print(
            f"[yellow]warning:[/] {escape(text)}" + (f" ({count} units)" if count > 1 else "")
        )
    _report(plan, cost, outcome)
    pictures = [picture_path(plan.out, a) for a in plan.acquisitions]
    _show_results(plan, [p for p in pictures if p.exists()])
    if outcome.failed or plan.refused:
        problems.print(
            f"{len(outcome.failed)} units failed and {len(plan.refused)} items were refused; what is "
            "written is valid. The same command does again only what failed; for items that were "
            "refused and have been mended since, take another --out."
        )
        raise typer.Exit(PARTIAL)
    return plan


def _check_extras(config: RunConfig) -> None:
    """What publishing needs must be there before anything starts."""
    from importlib.util import find_spec

    missing = [name for name in ("rio_cogeo", "matplotlib") if find_spec(name) is None]
    if config.publish and missing:
        raise S2SharpError(
            "bad-config",
            f"Publishing needs {' and '.join(missing)}.",
            "Install them (`pip install 's2sharp[publish]'`), or run with --no-publish.",
        )


def _report(plan: Any, cost: Any, outcome: Any) -> None:
    """What was predicted beside what came of it."""
    table = Table(title="Predicted and actual", title_justify="left")
    for name in ("", "predicted", "actual"):
        table.add_column(name, justify="left" if not name else "right")
    table.add_row("units", str(cost.todo), ", ".join(f"{n} {s}" for s, n in outcome.counts.items()))
    table.add_row("windows", str(cost.windows), str(outcome.windows))
    table.add_row("time", _duration(cost.seconds), _duration(outcome.seconds))
    if outcome.peak:
        table.add_row("memory of a worker", _size(cost.memory), _size(outcome.peak))
    size = sum(f.stat().st_size for f in plan.store.rglob("*") if f.is_file())
    table.add_row(
        "cube on disk", _size(cost.output) if cost.todo == cost.units else "", _size(size)
    )
    console.print(table)


def _show_results(plan: Any, pictures: list[Path]) -> None:
    console.print(f"Cube      {plan.store}")
    if plan.config.publish:
        console.print(
            f"COGs      {plan.out / 'cogs'}\nSTAC      {plan.out / 'stac' / 'collection.json'}"
        )
    for picture in pictures[:3]:
        console.print(f"Picture   {picture}")
    code = f", epsg={plan.layouts[0].epsg}" if len(plan.layouts) > 1 else ""
    console.print(
        f'\n[bold]import s2sharp\ncube = s2sharp.open_cube("{escape(str(plan.out))}"{code})[/]\n'
        "cube   # an xarray.Dataset: all bands at 10 m, dims (time, y, x)"
    )


@app.command()
def methods(
    name: Annotated[
        str | None, typer.Argument(help="One of them, in full.", show_default=False)
    ] = None,
) -> None:
    """List the ways to sharpen: what each is, what it needs and costs; with a NAME, its source, too.

    Cost: multiply-adds per 10 m pixel for all coarse bands. A method that needs a fit learns on the scene:
    `s2sharp run` fits it once per datatake.
    """
    from rich.box import SIMPLE_HEAD

    from s2sharp_core import METHODS, load_sharpener

    with _told():
        if name is not None:
            if name not in METHODS:
                load_sharpener(name)
            m = METHODS[name]
            rows = {"what it is": m.summary, "needs": m.needs, "cost": m.cost, "source": m.source}
            if m.fit:
                rows["fit"] = f"{m.steps} steps; windows of at least {m.smallest} cells of 60 m"
            for key, value in rows.items():
                console.print(f"[bold]{key:11}[/]{escape(value)}")
            return
        table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
        for column in ("method", "what it is", "needs", "cost"):
            table.add_column(column, no_wrap=True)
        for m in METHODS.values():
            table.add_row(m.name, m.summary, m.needs, m.cost)
        console.print(table)


@app.command()
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
    from .synthetic import COLLECTION
    from .synthetic import simulate as write

    with _told():
        catalog, bbox = write(folder, cells, tiles, dates, epsg, seed)
        area = " ".join(map(repr, bbox))
        console.print(
            f"{catalog}\n\nTry:\n  s2sharp run --catalog {catalog} --collection {COLLECTION} "
            f"--bbox {area} --datetime 2024 --out cube"
        )


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where to write everything.")] = Path("demo"),
) -> None:
    """Simulate scenes with known truth, sharpen them as a real query would, and say how accurate it is."""
    from .demo import make_scenes, score

    with _told():
        begin = time.perf_counter()
        console.rule("1  Synthetic scenes with known truth, behind a STAC catalogue")
        flags = make_scenes(folder)
        console.print("s2sharp run " + " ".join(f"--{k} {v}" for k, v in _spoken(flags)))
        console.rule("2  The run")
        plan = _run(read_config(None, flags))
        console.rule("3  How accurate it is")
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
        for row in score(folder, plan):
            table.add_row(*row)
        console.print(table)
        console.print(
            "RMSE in DN (1/10 000 of reflectance), SRE = 10·log10(Σx²/Σe²) in dB, against the truth."
        )
        console.print(
            f"Everything is in {folder.resolve()}; it took {time.perf_counter() - begin:.0f} s."
        )


def _spoken(flags: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in flags.items():
        shown = " ".join(map(repr, value)) if isinstance(value, tuple) else str(value)
        yield key.replace("_", "-"), shown


@app.command()
def train(
    out: Annotated[Path, typer.Option(help="Folder for weights and their cards.")],
    catalog: Annotated[
        Path | None, typer.Option(help="Static catalogue of real scenes to learn from, too.")
    ] = None,
    collection: Annotated[str, typer.Option(help="Its collection.")] = "sentinel-2-l1c",
    steps: Annotated[int, typer.Option(help="Steps for each net.", min=50)] = 2000,
    synthetic: Annotated[int, typer.Option(help="Synthetic landscapes to learn from.")] = 12,
    method: Annotated[
        str, typer.Option(help="What to train; `s2sharp methods` lists them.")
    ] = "dsen2",
    features: Annotated[
        int | None,
        typer.Option(
            help="Width of DSen2's nets; the shipped ones have 48.",
            min=1,
            show_default="as published: 128, vdsen2 256",
        ),
    ] = None,
    blocks: Annotated[
        int | None,
        typer.Option(
            help="Residual blocks of DSen2's nets.",
            min=1,
            show_default="as published: 6, vdsen2 32",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
) -> None:
    """Train DSen2 or VDSen2, one net for 20 m and one for 60 m, by Wald's protocol.

    Beside the shipped size, the published one takes 7 times the multiply-adds, VDSen2 150 times: on a
    few CPU cores minutes, an hour or two, days. The shipped weights: `s2sharp train --features 48 --out FOLDER
    --catalog …/scenes/catalog.json`.

    Of a method that learns on the scene, the weights to begin its fits from (`run --warm-start FOLDER`):
    it is fitted to many scenes at once, as it would be to one.
    """
    from s2sharp_core import METHODS

    from .learn import learn, prefit

    with (
        _told(),
        Progress(
            *Progress.get_default_columns(), TextColumn("{task.fields[note]}"), console=console
        ) as bar,
    ):
        if METHODS.get(method) and METHODS[method].fit:
            if features or blocks:
                raise S2SharpError(
                    "bad-config",
                    f"{method} has one size: --features and --blocks are DSen2's.",
                    "Leave them out.",
                )
            task = bar.add_task(method, total=steps, note="")

            def told(step: int, total: int, loss: float, task: Any = task) -> None:
                bar.update(task, completed=step, total=total, note=f"loss {loss:.4g}")

            for file in prefit(out, method, catalog, collection, steps, synthetic, seed, told):
                console.print(f"{file}")
            return
        for gsd in (20, 60):
            task = bar.add_task(f"{gsd} m", total=steps, note="")

            def tell(step: int, loss: float, task: Any = task) -> None:
                bar.update(task, completed=step, note=f"L1 {loss * 10_000:.1f} DN")

            file = learn(
                out,
                method,
                gsd,
                catalog,
                collection,
                steps,
                synthetic,
                features,
                blocks,
                seed,
                tell,
            )
            console.print(f"{file}")


weights_app = typer.Typer(no_args_is_help=True, help="Weights from elsewhere.")
app.add_typer(weights_app, name="weights")


@weights_app.command("import")
def import_weights(
    file: Annotated[Path, typer.Argument(help="HDF5 file as Keras wrote it.")],
    out: Annotated[Path, typer.Option(help="Folder for weights and their cards.")],
) -> None:
    """Turn the weights that the authors of DSen2 published into a folder for `--weights`.

    They are the files `models/s2_….hdf5` of github.com/lanha/DSen2, one for 20 m (032; very deep: 033) and
    one for 60 m (030; 034). What a file is for is seen from its shapes. Needs `pip install 's2sharp[keras]'`.
    """
    from s2sharp_core.weights.keras import import_keras

    with _told():
        method, written = import_keras(file, out)
        console.print(f"{written}\n\nTry:\n  s2sharp run --method {method} --weights {out} …")


@app.command()
def evaluate(
    method: Annotated[
        list[str] | None,
        typer.Option(help="A method; repeat for more.", show_default="bicubic, dsen2"),
    ] = None,
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            help="How cases are made and judged; repeat for more: mtf, dsen2, consistency, papers/coastal, "
            "papers/iceland, papers/apex-30, papers/apex-40.",
            show_default="mtf",
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

    Example: `s2sharp evaluate --method bicubic --method dsen2 --protocol mtf --protocol consistency --out bench`
    """
    import sys
    from importlib.util import find_spec

    from s2sharp_core.fitting import FitOptions

    from .bench import Outcome, compare, find_tasks, folders
    from .bench_tables import SEEN, grids, write_csv, write_tables

    names = method or ["bicubic", "dsen2"]
    outcome = Outcome()

    def keep(so_far: Outcome) -> None:
        nonlocal outcome
        outcome = so_far
        if out and outcome.results:
            write_csv(outcome.rows, out)

    def show() -> list[Any]:
        tables = grids(outcome.rows)
        for table in tables:
            _show_grid(table)
        if any(table.seen for table in tables):
            console.print(SEEN)
        for text in outcome.left_out:
            problems.print(f"[yellow]left out:[/] {escape(text)}")
        return tables

    with _told(
        f"Stopped. What is done lies in {out}; the same command does not repeat its fits."
        if out
        else "Stopped. With --out, fits would have been kept."
    ):
        if out and pictures and find_spec("matplotlib") is None:
            raise S2SharpError(
                "bad-config",
                "The page of pictures needs matplotlib.",
                "Install it (`pip install 's2sharp[publish]'`), or give --no-pictures.",
            )
        tasks = find_tasks(
            protocol or ["mtf"],
            catalog=catalog,
            collection=collection,
            papers=papers,
            scenes=scene or [],
            synthetic=synthetic,
            cells=cells,
        )
        own = folders(weights or [])
        try:
            with Progress(
                *Progress.get_default_columns(), TextColumn("{task.fields[note]}"), console=console
            ) as bar:
                bars = {name: bar.add_task(name, total=len(tasks.cases), note="") for name in names}
                compare(
                    names,
                    tasks.cases,
                    weights=own,
                    options=FitOptions(steps=steps, seed=seed),
                    device=device,
                    fits=out / "fits" if out else None,
                    tell=lambda name, done, note: bar.update(bars[name], completed=done, note=note),
                    keep=keep,
                )
        finally:
            # However it ended: what was judged has been paid for.
            tables = show()
        if not outcome.results:
            raise S2SharpError(
                "nothing-judged",
                "No method could be run on any case.",
                "What is told above as left out says why.",
            )
        if out:
            for file in write_tables(outcome.rows, out):
                console.print(f"Table     {file}")
        if out and pictures:
            from .bench_page import write_page

            with console.status("Drawing …"):
                spoken = " ".join(["s2sharp", *sys.argv[1:]])
                write_page(out / "index.html", outcome, tables, spoken, real=tasks.real)
            console.print(f"Pictures  {out / 'index.html'}")


def _show_grid(grid: Any) -> None:
    """A table of the bench: the best of a column in bold, a dagger where the weights have seen the scene."""
    from rich.box import SIMPLE_HEAD

    table = Table(
        title=grid.title,
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
        padding=0,
    )
    table.add_column(grid.corner, no_wrap=True)
    for column in grid.columns:
        table.add_column(column, justify="right", no_wrap=" " not in column)
    for name, row in grid.rows.items():
        cells = [cell.text + "†" * cell.seen for cell in row]
        bold = [f"[bold]{t}[/]" if cell.best else t for t, cell in zip(cells, row, strict=True)]
        table.add_row(name, *bold)
    console.print(table)


def main() -> None:
    """The entry point of ``s2sharp``."""
    app()


if __name__ == "__main__":
    main()
