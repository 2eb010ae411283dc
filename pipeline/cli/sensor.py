"""``s2sharp sensor``: measure blur, shift and noise of the bands of each datatake."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from s2sharp_core import S2SharpError
from s2sharp_core.bands import BANDS, COARSE

from ..planning.config import EVER, WORLD, RunConfig, read_config
from ..storage.files import write_text
from ..storage.location import place, writing
from ..ui.terminal import Screen, console, problems, told
from .flags import flags_of, option, takes

if TYPE_CHECKING:
    from s2sharp_core.sensor.estimation import SensorEstimate

    from ..planning.units import Datatake

_FLAGS = "catalog collection bbox area datetime max_cloud bands sign s3_bucket requester_pays allow_private seed"
_DEFAULTS = {
    "bbox": "all of a static catalog or product",
    "datetime": "all of a static catalog or product",
}
_OUT = typer.Option(
    None, help="JSON file to write, for `s2sharp run --sensor FILE`.", metavar="FILE"
)
_WIDE = 200
# The whole of a static catalog, since only a few windows are read.
_ALL: dict[str, Any] = {"bbox": WORLD, "datetime": EVER}


def sensor(*, out: str | None, **given: Any) -> None:
    """Measure the sensor of each datatake that a query finds: blur, shift and noise of its bands, with uncertainties.

    It reads a few windows of each datatake, whatever the area. `run` measures the same itself; this command shows it, and
    keeps it for `run --sensor FILE`. Shifts are (down, right), of the band against the 10 m bands.

    Example: `s2sharp sensor --catalog S2A_MSIL2A_….SAFE --out sensor.json`
    """
    from ..planning.sensor_files import file_content

    with told("Stopped. Nothing was written."):
        settings = {k: v for k, v in given.items() if v is not None}
        kept: dict[str, Any] = {}
        for take, seen, windows in _each(queried(settings)):
            _show(take.take, seen, len(windows))
            kept[take.take] = file_content(seen, windows)
        if out:
            _write(out, {"datatakes": kept})


takes(sensor, [*flags_of(_FLAGS, _DEFAULTS), option("out", _OUT, str | None)])


def queried(settings: dict[str, Any]) -> RunConfig:
    """Return the configuration of a command that searches a catalog without making a cube; for files it takes all items."""
    from ..catalog.local_products import are_products

    catalog = str(settings.get("catalog", RunConfig.model_fields["catalog"].default))
    if catalog.endswith(".json") or are_products(catalog):
        area = {"bbox", "area"} & settings.keys()
        settings = {**{k: v for k, v in _ALL.items() if k != "bbox" or not area}, **settings}
    # A configuration needs a folder, but nothing is written there.
    return read_config(None, {**settings, "out": Path()})


def _each(
    config: RunConfig,
) -> "Iterator[tuple[Datatake, SensorEstimate, list[dict[str, object]]]]":
    """Yield the datatakes that a configuration's query finds, with their measured sensors."""
    from ..execution.datatake_jobs import measure_datatake
    from ..planning.area import Area
    from ..planning.make import datatakes_of
    from ..planning.query_log import items_in, when
    from ..scenes.acquisition import group
    from ..scenes.file_versions import Versions

    reads = config.bands
    with console.status(f"Searching {config.collection} …"):
        around = Area.of(config.bbox, config.area).reach
        items = items_in(config, around, when(config.datetime, config.since))
        found, refused, _ = group(items, reads, config.catalog, config.access)
        clear = [a for a in found if a.cloud is None or a.cloud <= config.max_cloud]
        datatakes = datatakes_of(config, clear, reads)[0] if clear else ()
    for refusal in refused:
        problems.print(f"left out: {refusal.message}", style="yellow", markup=False)
    if not datatakes:
        raise S2SharpError(
            "nothing-found",
            f"The query found nothing to measure: {len(found)} acquisitions, {len(refused)} items refused.",
            "Widen --bbox or --datetime, raise --max-cloud, or choose another --collection.",
        )
    files = Versions()
    for datatake in datatakes:
        with console.status(f"Measuring {datatake.take} …"):
            seen, windows = measure_datatake(datatake, reads, config.seed, files)
        yield datatake, seen, [window.about for window in windows]


def _show(take: str, seen: "SensorEstimate", windows: int) -> None:
    title = f"{take}, {windows} windows"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1))
    table.add_column("band", no_wrap=True)
    for column in (
        "unexplained",
        "blur, px",
        "of 10 m",
        "edge, /px",
        "shift, px",
        "± px",
        "shift, m",
        "noise, DN",
        "believed: blur, shift",
    ):
        table.add_column(column, justify="right", no_wrap=True)
    for band in BANDS:
        if band in seen.found or band in seen.noise:
            table.add_row(*_row(band, seen))
    # A narrow terminal may wrap lines; cut figures would be useless.
    Screen(width=_WIDE, soft_wrap=True).print(table)
    for text in seen.told:
        problems.print(f"warning: {text}", style="yellow", markup=False)


def _row(band: str, seen: "SensorEstimate") -> list[str]:
    noise = f"{1e4 * seen.noise[band]:.1f}" if band in seen.noise else ""
    if band not in COARSE:
        return [band, *[""] * 7, noise, ""]
    trusted = seen.sensor.response(band)
    last = f"{trusted.blur:.3f}, ({trusted.dy:+.3f}, {trusted.dx:+.3f})"
    if band not in seen.found:
        return [band, *[""] * 7, noise, f"{last}, the default"]
    one, gsd = seen.found[band], BANDS[band].gsd
    r = one.response
    return [
        band,
        f"{one.unexplained:.1%}",
        f"{r.blur:.3f} ± {one.blur_error:.3f}",
        f"{r.blur * gsd / 10:.2f}",
        f"{r.edge:.3f} ± {one.edge_error:.3f}",
        f"({r.dy:+.3f}, {r.dx:+.3f})",
        f"{one.shift_error:.3f}",
        f"({r.dy * gsd:+.1f}, {r.dx * gsd:+.1f})",
        noise,
        last,
    ]


def _write(out: str, content: dict[str, Any]) -> None:
    file = place(out)
    with writing(f"Cannot write {file}", "Choose another --out."):
        write_text(file, json.dumps(content, indent=1) + "\n")
    console.print(f"{file}\n\nTry:\n  s2sharp run --sensor {file} …")
