"""Messages for a query that finds nothing, or cannot find anything new."""

import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import islice

from s2sharp_core import S2SharpError

from ..catalog.addresses import public
from ..catalog.extent import Degrees, interval
from ..catalog.metadata import sensing_span
from ..scenes.acquisition import Acquisition
from ..scenes.scene import Refusal
from .config import EVER, RunConfig
from .query_log import items_in, when

# Most seconds of a second search without a time, whose result only improves the message.
_LOOK_SECONDS = 20.0
_LOOK_ITEMS = 500


def ended_warning(asked: str, since: str | None) -> str:
    """Return what to tell whoever searches again and again in a time that has ended; "" where it has not."""
    begin, end = interval(asked)
    if not since or not end or end >= datetime.now(UTC):
        return ""
    first = f"{begin:%Y-%m-%d}" if begin else ".."
    return (
        f"--datetime {asked} ended on {end:%Y-%m-%d}: --since {since} finds late tiles and newer baselines "
        f"of that time, and nothing that is sensed later. For that, leave its end open: --datetime {first}/.."
    )


def nothing_found(
    config: RunConfig,
    around: Degrees,
    every: Sequence[Acquisition],
    cloudy: Sequence[str],
    refused: Sequence[Refusal],
) -> S2SharpError:
    """Make the error that nothing is left to sharpen, with the reasons and remedies.

    ``around``: degrees that were searched; ``every``, ``cloudy``, ``refused``: acquisitions that were found, names of
    those that are too cloudy, and refused items.
    """
    if not (every or refused):
        return S2SharpError(
            "nothing-found",
            f"{public(config.catalog)} has no item of {config.collection} in {_asked(config)} at "
            f"{when(config.datetime, config.since)}{_at_other_times(config, around)}.",
            "Widen --bbox or --datetime, or choose another --collection. A box is W S E N: longitude first.",
        )
    why = [f"{sum(len(a.scenes) for a in every) + len(refused)} items were found"]
    why += [f"{len(cloudy)} acquisitions are cloudier than {config.max_cloud:g} %"]
    refusals = "".join(f"; {refusal.message.rstrip(chr(46))}" for refusal in refused[:3])
    why += [f"{len(refused)} items were refused{refusals}"]
    remedies = ["Raise --max-cloud"] if cloudy else []
    if refused:
        other = "or take" if remedies else "Take"
        remedies.append(
            f"{other} the items from another --catalog, since these were refused as they are"
        )
    if len(every) > len(cloudy) or not remedies:
        other = "or widen" if remedies else "Widen"
        remedies.append(f"{other} --bbox or --datetime")
    return S2SharpError(
        "nothing-found", f"Nothing is left to sharpen: {', '.join(why)}.", f"{', '.join(remedies)}."
    )


def _asked(config: RunConfig) -> str:
    """Return the area as in the flags."""
    return " ".join(f"{edge:g}" for edge in config.bbox) if config.bbox else str(config.area)


def _at_other_times(config: RunConfig, around: Degrees) -> str:
    """Return what the catalog has there when no time is asked for, as the end of a sentence; "" where that takes long to know."""
    there = items_in(config, around, EVER, seconds=_LOOK_SECONDS)
    try:
        with warnings.catch_warnings():  # the first search has warned already
            warnings.simplefilter("ignore")
            times = sorted(sensing_span(item)[0] for item in islice(there, _LOOK_ITEMS))
    except S2SharpError:
        return ""
    if not times:
        return ", nor at any other time"
    more = "at least " if len(times) == _LOOK_ITEMS else ""
    return f"; there it has {more}{len(times)}, of {times[0]:%Y-%m-%d} to {times[-1]:%Y-%m-%d}"
