"""``s2sharp train``, ``finetune`` and ``weights import``: train, adapt and import weights."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress, TaskID

from s2sharp_core import S2SharpError

from ..planning.config import RunConfig, read_config
from ..ui.terminal import bars, console, told
from .flags import configured

if TYPE_CHECKING:
    from ..training.train import Training


def train(
    out: Annotated[Path, typer.Option(help="Folder for weights and their cards.")],
    catalog: Annotated[
        list[Path] | None,
        typer.Option(help="Static catalog of real scenes for training; repeat for more."),
    ] = None,
    collection: Annotated[
        list[str] | None,
        typer.Option(help="Collection, one for each catalog.", show_default="sentinel-2-l1c"),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Steps for each net.", min=20, show_default="the method's")
    ] = None,
    synthetic: Annotated[
        int, typer.Option(help="Number of synthetic landscapes for training.")
    ] = 12,
    method: Annotated[
        str, typer.Option(help="Method to train; `s2sharp methods` lists them.")
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

    The same command again continues an s2net whose training was stopped. The shipped weights were made by `s2sharp train
    --method s2net-m --out FOLDER --catalog …/scenes/catalog.json --collection sentinel-2-l1c --catalog …/l2a/catalog.json
    --collection sentinel-2-l2a`, and the other sizes alike; those of DSen2 by `--method dsen2 --features 48` and the first
    catalog, in minutes on a few cores. DSen2 in its published size takes 7 times as long, an hour or two; VDSen2 takes 150
    times as long, days.

    A method that learns on the scene is fitted to many scenes at once. `run --warm-start FOLDER` begins its fits with the
    result.
    """
    from s2sharp_core import METHODS
    from s2sharp_core.learning.s2net import SIZES

    from ..training.train import Training, train_s2net, train_start

    training = Training(out, method, _sources(catalog, collection), steps, synthetic, seed)
    files: Iterable[Path]
    with told(), bars() as shown:
        of_scene = method in METHODS and METHODS[method].fit is not None
        if of_scene or method in SIZES:
            if features or blocks:
                raise S2SharpError(
                    "bad-config",
                    f"{method} has one size: --features and --blocks are DSen2's.",
                    "Leave them out.",
                )
            tell = _watched(shown, method)
            files = train_start(training, tell) if of_scene else [train_s2net(training, tell)]
        else:
            files = _train_nets(training, features, blocks, shown)
        for file in files:
            console.print(f"{file}")


def _sources(
    catalogs: list[Path] | None, collections: list[str] | None
) -> tuple[tuple[Path, str], ...]:
    """Return the catalogs with their collections; ``bad-config`` when their numbers differ."""
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


@configured
def finetune(config: RunConfig) -> None:
    """Adapt s2net to your own acquisitions, one level down, for `run --weights OUT`.

    It takes the flags of `run`, and trains on windows of all acquisitions that the query finds. A quarter of the windows is
    held out; if the error there does not fall, the weights stay unchanged. OUT gets weights, card, loss curve and its
    picture. The same command continues a stopped training.

    Example: `s2sharp finetune --bbox 16 48 17 49 --datetime 2024 --max-cloud 10 --out vienna-weights`
    """
    from ..training.train import draw_losses
    from ..training.train import finetune as teach_on

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
    """Train the nets of DSen2 or VDSen2, one after the other."""
    from s2sharp_core.learning.dsen2 import Recipe

    from ..training.train import train_dsen2

    for gsd in (20, 60):
        task = shown.add_task(f"{gsd} m", total=training.steps or Recipe.steps, note="")

        def tell(step: int, loss: float, task: TaskID = task) -> None:
            shown.update(task, completed=step, note=f"L1 {loss * 10_000:.1f} DN")

        yield train_dsen2(training, gsd, features, blocks, tell)


def import_weights(
    file: Annotated[Path, typer.Argument(help="HDF5 file written by Keras.")],
    out: Annotated[Path, typer.Option(help="Folder for weights and their cards.")],
) -> None:
    """Convert the published weights of DSen2 into a folder for `--weights`.

    They are the files `models/s2_….hdf5` of github.com/lanha/DSen2, one for 20 m (032; very deep: 033) and
    one for 60 m (030; 034). The shapes in a file tell its use. Needs `pip install 's2sharp[keras]'`.
    """
    from s2sharp_core.learning.keras import import_keras

    with told():
        method, written = import_keras(file, out)
        console.print(f"{written}\n\nTry:\n  s2sharp run --method {method} --weights {out} …")
