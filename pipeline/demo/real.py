"""The demo on real pixels: sharpen chips, judge them by the satellite's own bands, and draw them."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
import xarray as xr

from s2sharp_core.bands import BY_GSD
from s2sharp_core.evaluation.cases import BenchScene, Case
from s2sharp_core.evaluation.combining import Row
from s2sharp_core.evaluation.evaluate import Result
from s2sharp_core.evaluation.protocols import PROTOCOLS

from ..bench.compare import BenchOutcome, Tell, compare
from ..publish.panels import Panel, pair
from ..publish.quicklook import draw_sheet

METHODS_COMPARED = _BICUBIC, _METHOD = "bicubic", "s2net-m"
# Prefix of the chips' names in model cards, by which weights that have seen them are marked.
_PREFIX = "ben1_"
_CREDIT = "Contains modified Copernicus Sentinel data. BigEarthNet v1, CDLA-Permissive-1.0."
_ABREAST = 2

Chips = Mapping[str, Mapping[int, np.ndarray]]
"""Name → GSD → float32 reflectance (bands, y, x)."""


def chip_cases(chips: Chips) -> list[Case]:
    """Return two cases for each chip: degraded to twice the pixel size, with the chip as truth, and as delivered."""
    scenes = [BenchScene(f"{_PREFIX}{name}", native=native) for name, native in chips.items()]
    protocols = [PROTOCOLS[name] for name in ("measured", "spectrum")]
    return [case for protocol in protocols for scene in scenes for case in protocol.cases(scene)]


def judge_chips(cases: Sequence[Case], tell: Tell = lambda *_: None) -> BenchOutcome:
    """Sharpen the cases of chips by interpolation and by the default method, and judge both.

    ``cases``: cases from :func:`chip_cases`. ``tell``: listener, as in :func:`~s2sharp.bench.compare.compare`.
    """
    return compare(METHODS_COMPARED, cases, device="cpu", tell=tell)


def seen_in_training(rows: tuple[Row, ...]) -> int:
    """Count the chips that the method's weights have seen."""
    return len({row.scene for row in rows if row.method == _METHOD and row.seen})


def errors(rows: tuple[Row, ...]) -> Iterator[tuple[str, ...]]:
    """Yield rows as :func:`~s2sharp.demo.score.score` does: the error of each 20 m band from 40 m, mean of the chips."""
    mine = [row for row in rows if row.protocol == "measured"]
    for band in BY_GSD[20]:
        figures = [
            _mean(
                row.value
                for row in mine
                if (row.method, row.band, row.metric) == (method, band, metric)
            )
            for metric in ("RMSE", "SRE")
            for method in (_BICUBIC, _METHOD)
        ]
        yield (
            band,
            "20 m",
            *(f"{x:.{digits}f}" for x, digits in zip(figures, (1, 1, 2, 2), strict=True)),
        )


@dataclass(frozen=True)
class Detail:
    """Contrast of a pattern: its length in metres, and the share by interpolation and sharpened."""

    metres: float
    interpolated: float
    sharpened: float


def spectrum(rows: tuple[Row, ...]) -> list[Detail]:
    """Return the contrast of ever finer patterns, relative to B08's, as the mean of the chips and judged bands."""
    start = "gain, "
    values: dict[tuple[float, str], list[float]] = {}
    for row in rows:
        if row.protocol == "spectrum" and row.metric.startswith(start):
            key = (float(row.metric.removeprefix(start)), row.method)
            values.setdefault(key, []).append(row.value)
    # Frequencies are in cycles per pixel of 10 m.
    return [
        Detail(10 / f, _mean(values[f, _BICUBIC]), _mean(values[f, _METHOD]))
        for f in sorted({f for f, _ in values})
    ]


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def draw_chips(path: Path, results: tuple[Result, ...]) -> None:
    """Draw each chip as delivered and as sharpened by the default method, two chips a row."""
    whole = [r for r in results if r.method == _METHOD and r.case.protocol.name == "spectrum"]
    pairs = [_pair(result) for result in whole]
    rows = [list(chain(*pairs[i : i + _ABREAST])) for i in range(0, len(pairs), _ABREAST)]
    first = next(iter(whole[0].pictures.values()))
    height, width = first.shape
    draw_sheet(path, rows, (height, width), f"Real scenes, before and after  ·  {_METHOD}", _CREDIT)


def _pair(result: Result) -> list[Panel]:
    native = {b: y for g in (20, 60) for b, y in zip(BY_GSD[g], result.case.inputs[g], strict=True)}
    cube = xr.Dataset({band: (("y", "x"), y) for band, y in result.pictures.items()})
    before, after = pair(cube, native, 20)
    day = re.search(r"_(\d{4})(\d\d)(\d\d)T", result.case.scene)
    when = "-".join(day.groups()) if day else result.case.scene
    return [
        replace(before, caption=f"{when}, as delivered, 20 m"),
        replace(after, caption="sharpened, 10 m"),
    ]
