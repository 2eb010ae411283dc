"""Combined values of several cases of a scene: means over all 20 m bands, and losses under trial."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..bands import BANDS


@dataclass(frozen=True)
class Row:
    """One value of the table.

    ``band``: a band, an index, or a group such as "20 m": the mean over its bands, or a value of all of them
    together. ``seen``: the weights were trained on this scene, or fitted to other data of it than the judged inputs.
    """

    method: str
    scene: str
    protocol: str
    band: str
    metric: str
    value: float
    seen: bool


# Measures whose value for a group is the mean or the largest of its bands.
_MEAN, _LARGEST = ("SRE", "RMSE", "UIQI", "SSIM", "harmed"), ("× bicubic",)
_TRIED = "SRE, "


def combined(rows: Iterable[Row]) -> tuple[Row, ...]:
    """Add the group "20 m" if a scene's 20 m bands were judged in several cases, and losses under trial.

    The worst loss, in dB, is the largest over the trials, of the mean SRE of the 20 m bands.
    """
    rows = list(rows)
    every: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        every.setdefault((row.method, row.scene, row.protocol), []).append(row)
    for own in every.values():
        added = _together(own)
        rows += added + _losses([*own, *added])
    return tuple(rows)


def _together(rows: Sequence[Row]) -> list[Row]:
    there = {(row.band, row.metric) for row in rows}
    by_band: dict[str, list[Row]] = {}
    for row in rows:
        if row.band in BANDS and BANDS[row.band].gsd == 20:
            by_band.setdefault(row.metric, []).append(row)
    found = []
    for metric, some in by_band.items():
        values = [row.value for row in some]
        if ("20 m", metric) in there:
            continue
        if metric in _MEAN or metric.startswith(_TRIED):
            found.append(replace(some[0], band="20 m", value=float(np.mean(values))))
        elif metric in _LARGEST:
            found.append(replace(some[0], band="20 m", value=max(values)))
    return found


def _losses(rows: Sequence[Row]) -> list[Row]:
    value = {row.metric: row for row in rows if row.band == "20 m"}
    tried = [row for metric, row in value.items() if metric.startswith(_TRIED)]
    if not tried or "SRE" not in value:
        return []
    losses = {row.metric.removeprefix(_TRIED): value["SRE"].value - row.value for row in tried}
    named = {
        **{f"loss, {trial}": x for trial, x in losses.items()},
        "worst loss": max(losses.values()),
    }
    return [replace(tried[0], metric=metric, value=value) for metric, value in named.items()]
