"""Python functions ``s2sharp.search``, ``plan`` and ``run``, which do what the command line does."""

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import pystac
import xarray as xr

from s2sharp_core import S2SharpError

from ..catalog.extent import Degrees
from ..catalog.metadata import sensed
from ..catalog.search import search as found_in
from ..engine.cost import check_size
from ..execution.phases import RunOutcome
from ..execution.whole_run import make_ready, plan_run, run_watched
from ..planning.area import Area
from ..planning.client_plan import ClientPlan
from ..planning.config import RunConfig, read_config
from ..planning.cost import Estimate, check_memory, estimate
from ..planning.facts import plan_facts
from ..planning.plan import Plan
from ..planning.query_log import when
from ..planning.resume import as_it_is_now
from ..report.make import load_ahead, write_page
from ..scenes.acquisition import group
from .cubes import open_cube


def search(
    *,
    bbox: Degrees | None = None,
    datetime: str | None = None,
    area: Path | str | None = None,
    max_cloud: float | None = None,
    config: Path | str | None = None,
    **settings: Any,
) -> pystac.ItemCollection:
    """Search a catalog for the items that a run with the same settings would find, sorted by time.

    Parameters
    ----------
    bbox, datetime, area, max_cloud, config, settings
        As for :func:`plan`. Clouds are judged per acquisition, so no single tile of an acquisition is dropped.

    Returns
    -------
    pystac.ItemCollection
        Items that other tools accept, too, such as ``odc.stac.load``; :func:`open_scene` takes each of them.

    Raises
    ------
    S2SharpError
        ``bad-config``, ``catalog-unreachable``, ``collection-missing``, ``too-many-items``.
    """
    given = {"bbox": bbox, "datetime": datetime, "area": area, "max_cloud": max_cloud}
    # A search writes nothing, so it needs no folder.
    known = _settings(config, {"out": Path(), **given, **settings})
    around, span = Area.of(known.bbox, known.area).reach, when(known.datetime, known.since)
    items = found_in(known.catalog, known.collection, around, span, private=known.allow_private)
    every = sorted(items, key=lambda item: (sensed(item), item.id))
    if known.max_cloud < 100:
        acquisitions, refused, _ = group(every, known.bands, known.catalog, known.access)
        for refusal in refused:
            warnings.warn(f"left out: {refusal.message}", UserWarning, stacklevel=2)
        clear = {
            scene.id
            for acquisition in acquisitions
            if acquisition.cloud is None or acquisition.cloud <= known.max_cloud
            for scene in acquisition.scenes
        }
        every = [item for item in every if item.id in clear]
    for item in every:
        # Other tools may run in another folder.
        if item.get_self_href():
            item.make_asset_hrefs_absolute()
    return pystac.ItemCollection(every)


def plan(
    *,
    bbox: Degrees | None = None,
    datetime: str | None = None,
    out: Path | str | None = None,
    area: Path | str | None = None,
    max_cloud: float | None = None,
    bands: Iterable[str] | None = None,
    method: str | None = None,
    config: Path | str | None = None,
    **settings: Any,
) -> "PlannedRun":
    """Plan a run: the data that it would read and write, the memory and the time. No pixel is read, and nothing is written.

    Parameters
    ----------
    bbox
        West, south, east, north in degrees; west > east crosses the antimeridian.
    datetime
        Day, month, year or interval: ``"2024-06"``, ``"2024-06-01/2024-06-30"``, ``"2024-06-01/.."``.
    out
        Folder or URL for the cube and the other results. If it holds a run, that run is continued.
    area
        A GeoJSON file in place of ``bbox``.
    max_cloud
        Largest cloud cover in per cent; cloudier acquisitions are left out.
    bands
        ESA names. Default: all twelve.
    method
        Default: ``"s2net-m"``.
    config
        A TOML file with settings.
    settings
        Any other flag of ``s2sharp run``, which is a field of :class:`RunConfig`: ``catalog``, ``collection``,
        ``workers``, ``error90`` and so on. They override environment variables, which override the file.

    Returns
    -------
    PlannedRun
        A notebook displays it; ``.run()`` carries it out.

    Raises
    ------
    S2SharpError
        ``bad-config``; ``nothing-found``; ``memory-exceeded`` if a worker would need more than allowed; the errors of
        the catalog.
    """
    given = {"bbox": bbox, "datetime": datetime, "out": out, "area": area, "max_cloud": max_cloud}
    return _planned(_settings(config, {**given, "bands": bands, "method": method, **settings}))


def run(
    *,
    bbox: Degrees | None = None,
    datetime: str | None = None,
    out: Path | str | None = None,
    area: Path | str | None = None,
    max_cloud: float | None = None,
    bands: Iterable[str] | None = None,
    method: str | None = None,
    config: Path | str | None = None,
    epsg: int | None = None,
    **settings: Any,
) -> xr.Dataset:
    """Sharpen the items of a query into a cube, show the progress, and open the cube.

    The same call again continues a run that was stopped, repeats failed units, and opens a finished cube.

    Parameters
    ----------
    bbox, datetime, out, area, max_cloud, bands, method, config, settings
        As for :func:`plan`.
    epsg
        The EPSG code to open, if the area has several. All are made.

    Returns
    -------
    xarray.Dataset
        As from :func:`open_cube`.

    Raises
    ------
    S2SharpError
        As :func:`plan`; ``epsg-missing`` before anything is read; ``very-large`` unless ``yes=True``; ``busy``; the
        first failure, if nothing could be sharpened.

    Warns
    -----
    UserWarning
        If some units failed or items were refused: their pixels are absent.
    """
    given = {"bbox": bbox, "datetime": datetime, "out": out, "area": area, "max_cloud": max_cloud}
    known = _settings(config, {**given, "bands": bands, "method": method, **settings})
    return _carried_out(known, lambda: _planned(known), epsg)


@dataclass(frozen=True)
class PlannedRun:
    """A planned run: ``plan`` holds what it will do, ``cost`` its time, memory and data."""

    plan: ClientPlan
    cost: Estimate

    @property
    def facts(self) -> dict[str, str]:
        """Return the lines that ``s2sharp plan`` prints."""
        return dict(plan_facts(self.plan, self.cost))

    def run(self, *, epsg: int | None = None) -> xr.Dataset:
        """Carry out the plan, write its report page to ``out``, and open the cube; as :func:`run`."""
        return _carried_out(self.plan.config, self._now, epsg)

    def _now(self) -> "PlannedRun":
        plan = as_it_is_now(self.plan)
        return self if plan is self.plan else _affordable(plan, estimate(plan))

    def __repr__(self) -> str:
        facts = self.facts
        wide = max(map(len, facts))
        lines = [f"{name:{wide}}  {text}" for name, text in facts.items()]
        return "\n".join(["A run into " + str(self.plan.out), *lines, *self._left_out()])

    def _repr_html_(self) -> str:
        cells = "text-align:left;vertical-align:top"
        rows = "".join(
            f'<tr><th style="{cells}">{escape(name)}</th><td style="{cells}">{escape(text)}</td></tr>'
            for name, text in self.facts.items()
        )
        left = "".join(f"<div>{escape(line)}</div>" for line in self._left_out())
        out = escape(str(self.plan.out))
        return f"<div>A run into <code>{out}</code></div><table>{rows}</table>{left}"

    def _left_out(self) -> list[str]:
        """Return the refused items: the first of them, and the number of the others."""
        refused = self.plan.refused
        more = [f"and {len(refused) - 3} more"] if len(refused) > 3 else []
        return [f"left out: {refusal.message}" for refusal in refused[:3]] + more


def _settings(config: Path | str | None, given: Mapping[str, Any]) -> RunConfig:
    flags = {name: value for name, value in given.items() if value is not None}
    if isinstance(flags.get("bands"), Iterable) and not isinstance(flags["bands"], str):
        flags["bands"] = tuple(flags["bands"])
    return read_config(Path(config) if config is not None else None, flags)


def _planned(config: RunConfig) -> PlannedRun:
    return _affordable(*plan_run(config))


def _affordable(plan: ClientPlan, cost: Estimate) -> PlannedRun:
    check_memory(plan, cost)
    return PlannedRun(plan, cost)


def _carried_out(
    config: RunConfig, planned: Callable[[], PlannedRun], epsg: int | None
) -> xr.Dataset:
    """Plan and carry out under the lease of the folder, write the report page, and open the cube."""

    def confirmed() -> tuple[ClientPlan, Estimate]:
        found = planned()
        _check_code(found.plan, epsg)
        check_size("run", found.cost, "choose a smaller bbox or less time", yes=config.yes)
        return found.plan, found.cost

    make_ready(config)
    plan, _, outcome = run_watched(config, confirmed, load_ahead if config.publish else None)
    _tell(plan, outcome)
    if config.publish:
        write_page(plan.out, anew=outcome.worked)
    return open_cube(plan.out, epsg=epsg)


def _check_code(plan: Plan, epsg: int | None) -> None:
    """Refuse, before a run, an EPSG code that could not be opened after it."""
    codes = [layout.epsg for layout in plan.layouts]
    if (epsg is None and len(codes) > 1) or (epsg is not None and epsg not in codes):
        raise S2SharpError(
            "epsg-missing",
            f"The area lies in EPSG {', '.join(map(str, codes))}"
            + (f", not {epsg}." if epsg else ", and a Dataset has one."),
            f"Choose the one to open: epsg={codes[0]}. The run makes all of them.",
        )


def _tell(plan: Plan, outcome: RunOutcome) -> None:
    """Turn the warnings of a run into Python warnings; raise if the run gave nothing."""
    for text, count in outcome.warnings.items():
        warnings.warn(text + (f" ({count} units)" if count > 1 else ""), UserWarning, stacklevel=4)
    if outcome.failed and not any(n for state, n in outcome.counts.items() if state != "failed"):
        first = outcome.failed[0]
        raise S2SharpError(
            first.kind or "run-stopped",
            f"All {len(outcome.failed)} units failed; the first: {first.message}",
            "The same call repeats the failed units.",
        )
    if outcome.failed or plan.refused:
        warnings.warn(
            f"{len(outcome.failed)} units failed and {len(plan.refused)} items were refused: their pixels are "
            "absent. The same call repeats the failed units; `s2sharp status OUT` gives the reasons.",
            UserWarning,
            stacklevel=4,
        )
