"""The page of a mosaic's folder: periods in true colour, progress, failures, acquisitions."""

from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np

from ..engine.progress import Progress
from ..mosaic.execute import mosaic_status
from ..mosaic.plan import MosaicPlan
from ..mosaic.store import open_mosaic
from ..publish.panels import Panel, orientation
from ..storage.location import Location, store_errors
from ..ui.html import asset, document
from .places import png

# Number of shown periods, the newest first; pixels along one; number of listed acquisitions.
_SHOWN, _SIDE, _LISTED = 12, 900, 200


def mosaic_page(to: Location) -> str:
    """Return the page of the mosaic in ``to``: self-contained HTML.

    Errors: ``not-a-run``; ``other-run`` if another version wrote it.
    """
    status = mosaic_status(to)
    plan = status.plan
    return document(
        "s2sharp.report/mosaic.html.j2",
        asset("s2sharp.report", "report.css"),
        title=f"s2sharp: mosaic, {plan.periods[0].name} to {plan.periods[-1].name}",
        plan=plan,
        status=status,
        state=_state(status),
        cards=list(_cards(status)),
        periods=[(plan.periods[i].name, panel) for i, panel in _pictures(status)],
        failed=status.failed,
        sources=plan.sources[:_LISTED],
        now=datetime.now(UTC),
        png=png,
    )


def _state(status: Progress[MosaicPlan]) -> tuple[str, str]:
    """Return a class and a word for its progress."""
    if status.holder:
        return "running", "a run is at work"
    if status.store == "missing":
        return "stopped", "not begun"
    if status.failed:
        return "partial", "some tiles failed"
    return ("partial", "tiles left") if status.left else ("complete", "complete")


def _cards(status: Progress[MosaicPlan]) -> Iterator[tuple[str, str]]:
    """Yield figures with their captions."""
    total = sum(count.total() for count in status.units.values())
    lacking = sum(count["left"] + count["failed"] for count in status.units.values())
    yield f"{total - lacking:,} / {total:,}", "units done, overviews and pictures included"
    yield f"{len(status.failed):,}", "units failed"
    yield f"{len(status.plan.periods):,}", f"periods ({status.plan.config.period})"
    yield f"{len(status.plan.sources):,}", "acquisitions"


def _pictures(status: Progress[MosaicPlan]) -> Iterator[tuple[int, Panel]]:
    """Yield periods, the newest first, from the overview that is small enough for a page."""
    canvas = status.plan.canvas
    level = canvas.level_of(_SIDE)
    if status.store == "missing" or max(canvas.shape(level)) > 2 * _SIDE:
        return
    for index in range(len(canvas.times) - 1, -1, -1)[:_SHOWN]:
        try:
            seen = open_mosaic(status.plan.folder, level=level)
            at = np.flatnonzero(seen.time.values == np.datetime64(canvas.times[index], "ns"))
            crop = seen.isel(time=int(at[0])).drop_vars("time").load()
        except store_errors(IndexError):  # not written yet
            continue
        panels = orientation(crop.where(crop["valid"] == 1))
        if panels and panels[0].image[..., 3].any():
            yield index, panels[0]
