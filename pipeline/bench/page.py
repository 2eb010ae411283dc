"""The page of the bench: tables, definitions, and pictures of every case by method."""

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.ndimage import uniform_filter

from s2sharp_core.bands import BY_GSD, ratio
from s2sharp_core.evaluation.evaluate import Result
from s2sharp_core.evaluation.metrics import rmse
from s2sharp_core.sensor.observation import degrade

from ..storage.files import write_text
from ..ui.html import document
from .compare import BenchOutcome
from .tables import SEEN, Grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Side of the shown place and length of a profile, in pixels of the result's grid; width of the profile, which is the
# mean of as many rows or columns.
_SIDE, _LENGTH, _ACROSS = 72, 26, 3
_SHOWN = {20: ("B11", "B12", "B8A"), 60: ("B01", "B09")}
_COLOURS = ("#1b6ca8", "#c8553d", "#3f7d20", "#8e5ea2", "#b8860b", "#4b4b4b", "#008b8b", "#ad1457")
_INK, _QUIET = "#1a1a1a", "#6b6b6b"


def write_page(
    file: Path, outcome: BenchOutcome, tables: Sequence[Grid], command: str, *, real: bool
) -> None:
    """Write one HTML file that contains all its pictures.

    ``tables``: those that are also printed. ``command``: that of the bench. ``real``: whether the page shows satellite
    data, which require an attribution.
    """
    cases: dict[int, list[Result]] = {}
    for result in outcome.results:
        cases.setdefault(id(result.case), []).append(result)
    protocols = {r.case.protocol.name: r.case.protocol for r in outcome.results}
    page = document(
        "s2sharp.bench/bench.html.j2",
        title="s2sharp evaluate",
        command=command,
        protocols=list(protocols.values()),
        tables=[(table.title.partition(":")[0], table) for table in tables],
        seen={table.title.partition(":")[0] for table in tables if table.seen},
        note=SEEN,
        figures=[figure for results in cases.values() for figure in _figures(results)],
        left_out=outcome.left_out,
        real=real,
    )
    write_text(file, page)


def _figures(results: Sequence[Result]) -> Iterator[tuple[str, str, bytes]]:
    """Yield protocol, title and PNG of each picture."""
    case = results[0].case
    if case.trial or case.lens:
        return
    for gsd in case.gsds:
        having = [r for r in results if any(b in r.pictures for b in BY_GSD[gsd])]
        if having:
            alt = f"{case.scene}, {case.part} {case.step(gsd)}"
            yield case.protocol.name, alt, draw_case(having, gsd)


def draw_case(results: Sequence[Result], gsd: int) -> bytes:
    """Draw one band of ``gsd`` by each method at the place with most detail: a PNG.

    The band is the one that most methods return; methods without it are left out. The top row has the truth and the
    band as delivered. Without a known truth, the 10 m band nearest in wavelength replaces it. Below are, by method,
    the result, its error, and a profile across the strongest edge.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    case = results[0].case
    choice = (*_SHOWN[gsd], *BY_GSD[gsd])
    band = max(choice, key=lambda b: sum(b in r.pictures for r in results))
    results = [r for r in results if band in r.pictures]
    at = BY_GSD[gsd].index(band)
    known = gsd in case.truth
    fine = case.truth[gsd][at] if known else case.inputs[10][3 if gsd == 20 else 0]
    coarse = case.inputs[gsd][at].repeat(ratio(gsd), 0).repeat(ratio(gsd), 1)
    spot = _spot(fine, case.protocol.border)
    line = _edge(fine[spot])
    errors = [_error(r, band, gsd)[spot] for r in results]
    level = [float(np.nanpercentile(np.abs(e), 99)) for e in errors]
    # One scale for all; a single very bad result must not determine it.
    limit = max(min(max(level), 4 * min(level)), 1.0)
    shown = [fine[spot]] if known else [r.pictures[band][spot] for r in results]
    stretch = tuple(np.nanpercentile(np.stack(shown), (1, 99)))

    rows = len(results) + 1
    figure = Figure(figsize=(12, 0.5 + 3.1 * rows), dpi=90, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, 3, width_ratios=(1, 1, 1.55))
    for profile_axes in axes[1:, 2]:
        profile_axes.sharey(axes[0, 2])
    what = f"{case.scene}: {band}, {case.step(gsd)}, protocol {case.protocol.name}"
    figure.suptitle(what, x=0.01, ha="left", weight="bold", color=_INK)
    guide = BY_GSD[10][3 if gsd == 20 else 0]
    above = f"truth, {band}" if known else f"{guide}, as delivered (for orientation)"
    own = None if known else tuple(np.nanpercentile(fine[spot], (1, 99)))
    _picture(axes[0, 0], fine[spot], above, own or stretch, line)
    _picture(axes[0, 1], coarse[spot], f"{band}, {gsd * case.scale} m, as given", stretch, line)
    profile = {"as given": coarse[spot]} | ({"truth": fine[spot]} if known else {})
    _profile(axes[0, 2], profile, {r.method: r.pictures[band][spot] for r in results}, line)
    axes[0, 2].set_title("profiles along the yellow line: all methods", loc="left", size=10)
    for row, (result, error) in enumerate(zip(results, errors, strict=True), 1):
        mark = "†" if result.seen else ""
        _picture(axes[row, 0], result.pictures[band][spot], result.method + mark, stretch, None)
        image = axes[row, 1].imshow(error, cmap="RdBu_r", vmin=-limit, vmax=limit)
        _bare(axes[row, 1])
        rms = float(rmse(error[None], np.zeros_like(error)[None])[0])
        kind = "error" if known else "degraded result - input"
        axes[row, 1].set_title(f"{kind}, DN: RMSE {rms:.0f} here", loc="left", size=10)
        figure.colorbar(image, ax=axes[row, 1], shrink=0.9, pad=0.02)
        _profile(axes[row, 2], profile, {result.method: result.pictures[band][spot]}, line, row - 1)
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()


def _error(result: Result, band: str, gsd: int) -> np.ndarray:
    """Return the error in DN: on the grid of the result against the truth, or after degradation against the input."""
    case, x = result.case, result.pictures[band]
    at = BY_GSD[gsd].index(band)
    if gsd in case.truth:
        return np.asarray(10_000 * (x - case.truth[gsd][at]))
    r = ratio(gsd)
    again = degrade(torch.from_numpy(x)[None, None], [band], r, case.sensor)[0, 0].numpy()
    return np.asarray(10_000 * (again - case.inputs[gsd][at])).repeat(r, 0).repeat(r, 1)


def _spot(fine: np.ndarray, border: int) -> tuple[slice, slice]:
    """Return the place with most detail, in whole cells, away from the border if possible."""
    gradient = np.hypot(*np.gradient(fine))
    # A few very strong edges must not outweigh a rich landscape.
    detail = np.minimum(gradient, np.nanpercentile(gradient, 95))
    side = [min(_SIDE, length) for length in fine.shape]
    density = uniform_filter(np.nan_to_num(detail), side)
    margin = -(-border // 6) * 6
    starts = [
        np.arange(margin, length - n - margin + 1, 6) if n + 2 * margin <= length else np.array([0])
        for length, n in zip(fine.shape, side, strict=True)
    ]
    middle = density[np.ix_(*(s + n // 2 for s, n in zip(starts, side, strict=True)))]
    best = np.unravel_index(middle.argmax(), middle.shape)
    row, col = (int(start[i]) for start, i in zip(starts, best, strict=True))
    return slice(row, row + side[0]), slice(col, col + side[1])


_Line = tuple[int, int, int]
"""Axis of a profile, its first pixel on that axis, its middle row or column on the other."""


def _edge(fine: np.ndarray) -> _Line:
    """Return the profile across the strongest straight edge, along a row or a column."""
    best: tuple[float, _Line] = (-1.0, (1, 0, 0))
    for axis in (0, 1):
        smooth = uniform_filter(np.nan_to_num(fine), [1, 7] if axis == 0 else [7, 1])
        slope = np.abs(np.gradient(smooth, axis=axis))
        along, across = fine.shape[axis], fine.shape[1 - axis]
        length = min(_LENGTH, along)
        inner = slope if axis == 0 else slope.T
        half = length // 2
        window = inner[half : along - half, _ACROSS : across - _ACROSS]
        if not window.size:
            continue
        i, j = np.unravel_index(window.argmax(), window.shape)
        best = max(best, (float(window.max()), (axis, int(i), int(j) + _ACROSS)))
    return best[1]


def _along(x: np.ndarray, line: _Line) -> np.ndarray:
    axis, first, middle = line
    y = x if axis == 0 else x.T
    half = _ACROSS // 2
    return np.asarray(y[first : first + _LENGTH, middle - half : middle + half + 1].mean(axis=1))


def _picture(
    axes: "Axes", x: np.ndarray, title: str, stretch: tuple[Any, ...], line: _Line | None
) -> None:
    axes.imshow(x, cmap="gray", vmin=stretch[0], vmax=max(stretch[1], stretch[0] + 1e-4))
    axes.set_title(title, loc="left", size=10)
    if line:
        axis, first, middle = line
        run, still = (first, first + _LENGTH - 1), (middle, middle)
        axes.plot(*((still, run) if axis == 0 else (run, still)), color="#ffd400", lw=2)
    _bare(axes)


def _bare(axes: "Axes") -> None:
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _profile(
    axes: "Axes",
    known: Mapping[str, np.ndarray],
    pictures: Mapping[str, np.ndarray],
    line: _Line,
    first: int = 0,
) -> None:
    styles: dict[str, dict[str, Any]] = {
        "truth": {"color": "black", "lw": 2.2},
        "as given": {"color": "#b0b0b0", "lw": 1.5, "drawstyle": "steps-mid"},
    }
    for name, x in known.items():
        axes.plot(10_000 * _along(x, line), label=name, **styles[name])
    for i, (name, x) in enumerate(pictures.items(), first):
        axes.plot(10_000 * _along(x, line), label=name, lw=1.6, color=_COLOURS[i % len(_COLOURS)])
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_ylabel("DN", color=_QUIET)
    axes.tick_params(colors=_QUIET, labelsize=8)
    axes.legend(frameon=False, fontsize=8)
