"""The flags that ``run`` and ``plan`` share: what they are called, and what they teach."""

from pathlib import Path
from typing import Annotated

import typer

from .config import EARTH_SEARCH

__all__ = ["flags"]

_WHAT, _HOW, _WHERE = "What", "How", "Where it runs"

Config = Annotated[
    Path | None,
    typer.Option(
        help="TOML file whose keys are these flags (`max_cloud = 20`).", show_default=False
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        help="Folder for the cube and all that belongs to it. The same command on it again continues "
        "a run that was stopped.",
        show_default=False,
    ),
]
Catalog = Annotated[
    str | None,
    typer.Option(
        help="STAC API, or a static catalogue (path or URL).",
        show_default=EARTH_SEARCH,
        rich_help_panel=_WHAT,
    ),
]
Collection = Annotated[
    str | None,
    typer.Option(help="STAC collection.", show_default="sentinel-2-c1-l2a", rich_help_panel=_WHAT),
]
Bbox = Annotated[
    tuple[float, float, float, float] | None,
    typer.Option(
        metavar="W S E N", help="Area in degrees.", show_default=False, rich_help_panel=_WHAT
    ),
]
Area = Annotated[
    Path | None,
    typer.Option(
        help="GeoJSON file, in place of --bbox.", show_default=False, rich_help_panel=_WHAT
    ),
]
Datetime = Annotated[
    str | None,
    typer.Option(
        metavar="A/B",
        help="Day, month, year or interval: `2024-06-01/2024-06-30`, `2024-06`, `2024-06-01/..`.",
        show_default=False,
        rich_help_panel=_WHAT,
    ),
]
MaxCloud = Annotated[
    float | None,
    typer.Option(
        help="Leave out acquisitions whose cloud cover, in per cent, is higher. It is judged per "
        "acquisition, so no tile of a picture is dropped alone.",
        show_default="100",
        rich_help_panel=_WHAT,
    ),
]
BandList = Annotated[
    str | None,
    typer.Option(
        help="Bands to deliver: `B02,B03,B05`.", show_default="all twelve", rich_help_panel=_WHAT
    ),
]
MethodName = Annotated[
    str | None,
    typer.Option(
        help="How to sharpen; `s2sharp methods` lists them.",
        show_default="dsen2",
        rich_help_panel=_HOW,
    ),
]
Weights = Annotated[
    Path | None,
    typer.Option(
        help="Folder with weights in place of the shipped ones: trained, imported, or fitted by an "
        "earlier run (OUT/fits/DATATAKE).",
        show_default=False,
        rich_help_panel=_HOW,
    ),
]
Fit = Annotated[
    str | None,
    typer.Option(
        metavar="datatake|window",
        help="Of methods that learn on the scene: learn once per datatake, on windows spread over all of "
        "it, whatever the area; or anew on every window, which takes long and shows seams.",
        show_default="datatake",
        rich_help_panel=_HOW,
    ),
]
FitWindows = Annotated[
    int | None,
    typer.Option(
        help="Windows of 64 cells to learn from.", show_default="16", rich_help_panel=_HOW
    ),
]
FitSteps = Annotated[
    int | None,
    typer.Option(help="Steps of a fit.", show_default="the method's", rich_help_panel=_HOW),
]
FitThreads = Annotated[
    int | None,
    typer.Option(
        help="Threads of a fit. Fixed, since another number gives other weights.",
        show_default="2",
        rich_help_panel=_HOW,
    ),
]
WarmStart = Annotated[
    Path | None,
    typer.Option(
        help="Begin fits from the weights in this folder, not at random; `s2sharp train --method NAME` "
        "makes some, and so does every fit (OUT/fits/DATATAKE).",
        show_default=False,
        rich_help_panel=_HOW,
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(
        help="Seed of everything random in a fit.", show_default="0", rich_help_panel=_HOW
    ),
]
Window = Annotated[
    int | None,
    typer.Option(
        help="Side, in cells of 60 m, of what the net sees at once.",
        show_default="64",
        rich_help_panel=_HOW,
    ),
]
Shard = Annotated[
    int | None,
    typer.Option(
        help="Side, in cells of 60 m, of a unit of work and of a file of the cube.",
        show_default="512, less for small areas",
        rich_help_panel=_HOW,
    ),
]
Chunk = Annotated[
    int | None,
    typer.Option(
        help="Side, in pixels of 10 m, of what a reader fetches at once; it divides 6 × shard.",
        show_default="512, less for small shards",
        rich_help_panel=_HOW,
    ),
]
Staging = Annotated[
    str | None,
    typer.Option(
        metavar="auto|always|never",
        help="Copy native bands to OUT/stage first, each pixel once. auto: for remote archives.",
        show_default="auto",
        rich_help_panel=_WHERE,
    ),
]
StageBudget = Annotated[
    float | None,
    typer.Option(
        help="Disk for the stage in GB; beyond it, what is not needed at the moment is evicted.",
        show_default="20",
        rich_help_panel=_WHERE,
    ),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        help="Address of a Dask scheduler whose workers see OUT at the same path.",
        show_default="a cluster on this machine",
        rich_help_panel=_WHERE,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        help="Processes on this machine.",
        show_default="1",
        rich_help_panel=_WHERE,
    ),
]
Memory = Annotated[
    float | None,
    typer.Option(
        help="Refuse to begin if a worker would need more, in GB.",
        show_default="the machine's, shared by the workers",
        rich_help_panel=_WHERE,
    ),
]
Device = Annotated[
    str | None,
    typer.Option(metavar="auto|cpu|cuda", show_default="auto", rich_help_panel=_WHERE),
]
Publish = Annotated[
    bool | None,
    typer.Option(
        "--publish/--no-publish",
        help="Write COGs, a STAC catalogue and pictures beside the cube.",
        show_default="publish",
        rich_help_panel=_HOW,
    ),
]


def flags(
    config: Config = None,
    out: Out = None,
    catalog: Catalog = None,
    collection: Collection = None,
    bbox: Bbox = None,
    area: Area = None,
    datetime: Datetime = None,
    max_cloud: MaxCloud = None,
    bands: BandList = None,
    method: MethodName = None,
    weights: Weights = None,
    fit: Fit = None,
    fit_windows: FitWindows = None,
    fit_steps: FitSteps = None,
    fit_threads: FitThreads = None,
    warm_start: WarmStart = None,
    seed: Seed = None,
    window: Window = None,
    shard: Shard = None,
    chunk: Chunk = None,
    publish: Publish = None,
    stage: Staging = None,
    stage_budget: StageBudget = None,
    scheduler: Scheduler = None,
    workers: Workers = None,
    memory: Memory = None,
    device: Device = None,
) -> None:
    """The flags that ``run`` and ``plan`` share, for their signature alone."""
