"""The command line: thin, and made to be learned from ``--help``."""

import json
import time
from collections.abc import Callable, Iterator
from functools import wraps
from inspect import Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, TaskID
from rich.table import Table

from s2sharp_core import S2SharpError

from ..planning.config import RunConfig, read_config
from ..storage.location import place
from ..ui.terminal import bars, console, told
from .flags import FLAGS
from .mosaic import mosaic
from .report import report
from .sensor import sensor
from .view import view

if TYPE_CHECKING:
    from ..train.train import Training

__all__ = [
    "app",
    "main",
]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="All bands of Sentinel-2 at 10 m, from a STAC query to a datacube.\n\n"
    "Begin with `s2sharp demo`. Exit codes: 0 done, 1 error, 2 bad configuration, 3 nothing found, "
    "4 some units failed (run the same command again: only those are redone), 5 another run writes to the same folder.",
)


def _configured(command: Callable[..., object]) -> Callable[..., None]:
    """A command that takes :data:`FLAGS` and is given the configuration they make, before parameters of its own."""
    own = list(signature(command).parameters.values())[1:]

    @wraps(command)
    def with_flags(**given: Any) -> None:
        with told():
            file = given.pop("config")
            kept = {parameter.name: given.pop(parameter.name) for parameter in own}
            settings = {k: v for k, v in given.items() if v is not None}
            command(read_config(file, settings), **kept)

    parameters = [*FLAGS.parameters.values(), *own]
    with_flags.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    with_flags.__annotations__ = {p.name: p.annotation for p in parameters}
    return with_flags


@app.command()
@_configured
def run(config: RunConfig) -> None:
    """Sharpen what a STAC query finds into a datacube.

    Flags win over environment variables (`S2SHARP_MAX_CLOUD=20`), which win over the file.

    Example: `s2sharp run --bbox 16.35 48.66 16.48 48.74 --datetime 2024-06 --max-cloud 20 --out vienna`
    """
    from .run import carry_out

    carry_out(config)


@app.command()
@_configured
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


@app.command()
def status(
    out: Annotated[str, typer.Argument(help="The folder or URL of a run.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Say where a run stands, from its folder alone: while it works, and after it ended or died.

    Exit code 0 when all of it is done, 4 when something is left.
    """
    from .inspect import show_status

    with told():
        show_status(place(out), as_json=as_json)


@app.command()
def clean(
    out: Annotated[str, typer.Argument(help="The folder or URL of a run or a mosaic.")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list it.")] = False,
) -> None:
    """Remove what a run or a mosaic left behind and nobody needs, and nothing else: the stage, drafts of killed
    writers, records of failures that have been made good.

    The cube or mosaic, COGs, measured sensors, fitted weights and the ledger stay: the same command continues from them.
    """
    from .inspect import clean_up

    with told():
        clean_up(place(out), dry_run=dry_run)


@app.command()
def history(
    out: Annotated[str, typer.Argument(help="Folder or URL of the run.")],
    commit: Annotated[
        bool, typer.Option("--commit", help="Keep what the cube is now as a snapshot, too.")
    ] = False,
) -> None:
    """List the snapshots that runs with `--history` have kept of a cube, the newest first.

    `s2sharp.open_cube(OUT, snapshot=ID)` opens one.
    """
    from ..cube.history import commit as keep
    from ..cube.history import snapshots
    from ..engine.lease import Lease
    from ..storage.location import place

    with told():
        where = place(out)
        if commit:
            with Lease.taken(where, tell=console.print):
                keep(where, "committed by hand")
        for found in snapshots(where):
            console.print(f"{found.id}  {found.written:%Y-%m-%d %H:%M:%S}  {escape(found.message)}")


@app.command()
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
    wide = console if console.file.isatty() else Console(width=1000)
    wide.print(table)


def _show_method(name: str) -> None:
    from s2sharp_core import METHODS, load_sharpener

    if name not in METHODS:
        load_sharpener(name)
    m = METHODS[name]
    rows = {"what it is": m.summary, "needs": m.needs, "cost": m.cost, "source": m.source}
    if m.fit:
        rows["fit"] = (
            f"{m.steps} step{'s' * (m.steps != 1)}; windows of at least {m.smallest} cells of 60 m"
        )
    for key, value in rows.items():
        console.print(f"[bold]{key:11}[/]{escape(value)}")


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
    from ..demo.synthetic import COLLECTION
    from ..demo.synthetic import simulate as write

    with told():
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


@app.command()
def train(
    out: Annotated[Path, typer.Option(help="Folder for weights and their cards.")],
    catalog: Annotated[
        list[Path] | None,
        typer.Option(
            help="Static catalogue of real scenes to learn from, too; may be given again."
        ),
    ] = None,
    collection: Annotated[
        list[str] | None,
        typer.Option(
            help="Its collection, once for each catalogue.", show_default="sentinel-2-l1c"
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(help="Steps for each net.", min=20, show_default="the method's"),
    ] = None,
    synthetic: Annotated[int, typer.Option(help="Synthetic landscapes to learn from.")] = 12,
    method: Annotated[
        str, typer.Option(help="What to train; `s2sharp methods` lists them.")
    ] = "s2net-m",
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
    """Train a net by Wald's protocol: s2net-s, -m or -l in minutes; or DSen2's, one for 20 m and one for 60 m.

    The same command again goes on with an s2net whose training was stopped. The weights that ship: `s2sharp train
    --method s2net-m --out FOLDER --catalog …/scenes/catalog.json --collection sentinel-2-l1c --catalog …/l2a/catalog.json
    --collection sentinel-2-l2a`, the other sizes alike; of DSen2, `--method dsen2 --features 48` and the first catalogue. Its published size takes 7 times the multiply-adds of the shipped one, VDSen2 150 times: on a few
    CPU cores minutes, an hour or two, days.

    Of a method that learns on the scene, the weights to begin its fits from (`run --warm-start FOLDER`):
    it is fitted to many scenes at once, as it would be to one.
    """
    from s2sharp_core import METHODS
    from s2sharp_core.learning.s2net import SIZES

    from ..train.train import Training

    training = Training(out, method, _sources(catalog, collection), steps, synthetic, seed)
    with told(), bars() as shown:
        of_scene = method in METHODS and METHODS[method].fit is not None
        if of_scene or method in SIZES:
            if features or blocks:
                raise S2SharpError(
                    "bad-config",
                    f"{method} has one size: --features and --blocks are DSen2's.",
                    "Leave them out.",
                )
            files = _train_start(training, shown) if of_scene else _train_s2net(training, shown)
        else:
            files = _train_nets(training, features, blocks, shown)
        for file in files:
            console.print(f"{file}")


def _sources(
    catalogs: list[Path] | None, collections: list[str] | None
) -> tuple[tuple[Path, str], ...]:
    """Catalogues with their collections.

    Raises
    ------
    S2SharpError
        ``bad-config`` when their numbers differ.
    """
    catalogs = catalogs or []
    collections = collections or ["sentinel-2-l1c"] * len(catalogs)
    if len(catalogs) != len(collections):
        raise S2SharpError(
            "bad-config",
            f"There are {len(catalogs)} --catalog and {len(collections)} --collection.",
            "Give one --collection for each --catalog.",
        )
    return tuple(zip(catalogs, collections, strict=True))


def _watched(shown: Progress, name: str) -> Callable[[int, int, float], None]:
    task = shown.add_task(name, total=None, note="")

    def tell(step: int, total: int, loss: float) -> None:
        shown.update(task, completed=step, total=total, note=f"loss {loss:.4g}")

    return tell


def _train_start(training: "Training", shown: Progress) -> Iterator[Path]:
    """What a method that learns on the scene may begin from."""
    from ..train.train import prefit

    yield from prefit(training, _watched(shown, training.method))


def _train_s2net(training: "Training", shown: Progress) -> Iterator[Path]:
    from ..train.train import school

    yield school(training, _watched(shown, training.method))


@app.command()
@_configured
def finetune(config: RunConfig) -> None:
    """Go on teaching s2net on acquisitions of your own, one level down, for `run --weights OUT`.

    It takes the flags of `run`: windows of all acquisitions that the query finds are learned from, a quarter of them is held
    out, and what does not help there is not kept. OUT gets weights, card, loss curve and its picture; the same
    command goes on with what was stopped.

    Example: `s2sharp finetune --bbox 16 48 17 49 --datetime 2024 --max-cloud 10 --out vienna-weights`
    """
    from ..train.losses import draw_losses
    from ..train.train import finetune as teach_on

    config = read_config(None, {**config.model_dump(exclude_defaults=True), "adapt": True})
    with bars() as shown:
        file = teach_on(config, _watched(shown, config.method))
    about = json.loads(file.with_suffix(".json").read_text())["result"]
    before, after = about["held_out_before"], about["held_out_after"]
    console.print(
        f"{file}\nError on the windows held out, over bicubic's: {before:.4f} before, {after:.4f} after"
        + ("" if after < before else ": the weights stay as they were")
    )
    if picture := draw_losses(file):
        console.print(f"Picture   {picture}")
    method = config.method.removesuffix("-adapted")
    console.print(f"\nTry:\n  s2sharp run --method {method} --weights {config.out} …")


def _train_nets(
    training: "Training", features: int | None, blocks: int | None, shown: Progress
) -> Iterator[Path]:
    """The nets of DSen2 or VDSen2, one after the other."""
    from s2sharp_core.learning.dsen2 import Recipe

    from ..train.train import learn

    for gsd in (20, 60):
        task = shown.add_task(f"{gsd} m", total=training.steps or Recipe.steps, note="")

        def tell(step: int, loss: float, task: TaskID = task) -> None:
            shown.update(task, completed=step, note=f"L1 {loss * 10_000:.1f} DN")

        yield learn(training, gsd, features, blocks, tell)


app.command()(mosaic)

app.command()(report)

app.command()(sensor)

app.command()(view)

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
    from s2sharp_core.learning.keras import import_keras

    with told():
        method, written = import_keras(file, out)
        console.print(f"{written}\n\nTry:\n  s2sharp run --method {method} --weights {out} …")


@app.command()
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


def main() -> None:
    """The entry point of ``s2sharp``."""
    app()


if __name__ == "__main__":
    main()
