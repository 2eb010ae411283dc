"""The bench's values as tables: one value a row for machines, a few columns side by side for people."""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from s2sharp_core.bands import BANDS
from s2sharp_core.evaluation.combining import Row
from s2sharp_core.evaluation.metrics import INDICES
from s2sharp_core.evaluation.protocols import PROTOCOLS
from s2sharp_core.evaluation.scoring import METRICS
from s2sharp_core.evaluation.spectrum import departure

from ..storage.files import write_text

SEEN = (
    "† The weights were trained on this scene, so this is the best that the method can do. Figures "
    "with each scene left out of training: python -m tests.benchmarks.honest"
)
_COSTS = ("multiply-adds", "seconds", "fit seconds")


def write_csv(rows: Iterable[Row], folder: Path) -> Path:
    """Write ``table.csv`` with one value a row, atomically."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(field.name for field in fields(Row))
    writer.writerows(astuple(row) for row in rows)
    file = folder / "table.csv"
    write_text(file, out.getvalue())
    return file


def write_tables(rows: Iterable[Row], folder: Path) -> list[Path]:
    """Write ``table.csv``, and ``table.parquet`` if pyarrow is installed."""
    rows = list(rows)
    file = write_csv(rows, folder)
    if find_spec("pyarrow") is None:
        return [file]
    import pyarrow as pa
    from pyarrow import parquet

    columnar = folder / "table.parquet"
    parquet.write_table(pa.Table.from_pylist([asdict(row) for row in rows]), columnar)
    return [file, columnar]


@dataclass(frozen=True)
class Cell:
    """A value for display; ``best`` of its column, ``seen`` by the weights in training."""

    text: str = ""
    best: bool = False
    seen: bool = False


@dataclass(frozen=True)
class Grid:
    """A table for display: row name → a cell per column. ``corner``: meaning of the rows."""

    title: str
    corner: str
    columns: tuple[str, ...]
    rows: dict[str, tuple[Cell, ...]]

    @property
    def seen(self) -> bool:
        return any(cell.seen for row in self.rows.values() for cell in row)

    @property
    def turned(self) -> "Grid":
        """Return the table with rows as columns."""
        cells = zip(*self.rows.values(), strict=True)
        rows = dict(zip(self.columns, cells, strict=True))
        return Grid(self.title, "scene", tuple(self.rows), rows)


def grids(rows: Sequence[Row]) -> list[Grid]:
    """Return tables per protocol: its first metric by scene, all metrics averaged over scenes, and the cost."""
    out = []
    for protocol in dict.fromkeys(row.protocol for row in rows):
        mine = [row for row in rows if row.protocol == protocol]
        first = PROTOCOLS[protocol].headline
        out.append(_by_scene(protocol, first, mine))
        groups = dict.fromkeys(r.band for r in mine if r.metric == first and r.band not in BANDS)
        out += [grid for group in groups if (grid := _by_metric(protocol, group, mine))]
        out += _series(protocol, mine)
        out.append(_costs(protocol, mine))
    return out


def _series(protocol: str, rows: Sequence[Row]) -> list[Grid]:
    """Return tables of metrics with a value per frequency or trial: the mean over the scenes, by band if there is no
    value for all bands, and the worst value at the end.
    """
    out = []
    for name, (measure, metric) in _SERIES.items():
        start = f"{name}, "
        every = [row for row in rows if row.metric.startswith(start)]
        methods = dict.fromkeys(row.method for row in every)
        keys = dict.fromkeys(row.metric.removeprefix(start) for row in every)
        table: _Table = {}
        for method in methods:
            own = [row for row in every if row.method == method]
            line = {
                key: float(np.mean([row.value for row in own if row.metric == start + key]))
                for key in keys
            }
            worst, heading = measure(list(line.values())), f"worst {name}"
            seen = any(row.seen for row in own)
            table[method] = {heading: (worst, seen)} | {k: (v, seen) for k, v in line.items()}
        if table:
            columns = {heading: (heading, metric)} | {key: (key, metric) for key in keys}
            title = f"{protocol}: {name}, mean of the scenes, then the worst"
            out.append(_grid(title, table, columns, unranked=frozenset(keys)))
    return out


_SERIES: Mapping[str, tuple[Callable[[list[float]], float], str]] = {
    "gain": (departure, "departure"),
    "coherence": (min, "coherence"),
    "loss": (max, "worst loss"),
}
"""Series → the function for its worst value (of the gain, its departure from 1), and the metric whose format it uses."""

_Table = dict[str, dict[Any, tuple[float, bool]]]
"""Method → column → (value, seen)."""


def _grid(
    title: str,
    table: _Table,
    columns: Mapping[Any, tuple[str, str]],
    unranked: frozenset[Any] = frozenset(),
) -> Grid:
    """Make a table. ``columns``: key → (heading, metric); ``unranked`` columns mark no best value."""
    cells: dict[str, list[Cell]] = {method: [] for method in table}
    for key, (_, metric) in columns.items():
        measure = METRICS[metric]
        worth = [measure.better * row[key][0] for row in table.values() if key in row]
        top = max((w for w in worth if not np.isnan(w)), default=np.nan)
        for method, row in table.items():
            value, seen = row.get(key, (np.nan, False))
            best = len(worth) > 1 and key not in unranked and measure.better * value == top
            text = "–" if np.isnan(value) else f"{value:,.{measure.decimals}f}"
            cells[method].append(Cell(text, best, seen))
    headings = tuple(heading for heading, _ in columns.values())
    return Grid(title, "method", headings, {method: tuple(row) for method, row in cells.items()})


def _heading(metric: str) -> str:
    unit = METRICS[metric].unit
    return f"{metric} {unit}".strip()


def _by_scene(protocol: str, metric: str, rows: Sequence[Row]) -> Grid:
    wanted = [r for r in rows if r.metric == metric and r.band.endswith(" m") and "+" not in r.band]
    table: _Table = {r.method: {} for r in rows}
    for row in wanted:
        table[row.method][row.scene, row.band] = (row.value, row.seen)
    keys = dict.fromkeys((row.scene, row.band) for row in wanted)
    columns = {(scene, band): (f"{scene} {band}", metric) for scene, band in keys}
    return _grid(f"{protocol}: mean {_heading(metric)} by scene", table, columns).turned


def _by_metric(protocol: str, group: str, rows: Sequence[Row]) -> Grid | None:
    """Return the mean over the scenes on which every method was run, because other means would not be comparable."""
    mine = [
        row
        for row in rows
        if (row.band == group or (group == "20 m" and row.band in INDICES))
        and row.metric not in _COSTS
    ]
    methods = list(dict.fromkeys(row.method for row in mine))
    runs: dict[str, set[str]] = {}
    for row in mine:
        runs.setdefault(row.scene, set()).add(row.method)
    common = [scene for scene, who in runs.items() if len(who) == len(methods)]
    if not common:
        return None
    table: _Table = {method: {} for method in methods}
    metrics = [metric for metric in METRICS if any(row.metric == metric for row in mine)]
    for method in methods:
        for metric in metrics:
            some = [
                row
                for row in mine
                if row.method == method and row.metric == metric and row.scene in common
            ]
            if some:
                value = float(np.mean([row.value for row in some]))
                table[method][metric] = (value, any(row.seen for row in some))
    columns = {metric: (_heading(metric), metric) for metric in metrics}
    return _grid(f"{protocol}: {group} bands, mean over {', '.join(common)}", table, columns)


def _costs(protocol: str, rows: Sequence[Row]) -> Grid:
    """Return multiply-adds of the case with most of them, which has the most bands, and seconds of all cases."""
    table: _Table = {row.method: {} for row in rows}
    for method in table:
        for metric in _COSTS:
            values = [row.value for row in rows if row.method == method and row.metric == metric]
            if values:
                total = max(values) if metric == "multiply-adds" else sum(values)
                table[method][metric] = (total, False)
    columns = {metric: (_heading(metric), metric) for metric in _COSTS}
    return _grid(f"{protocol}: cost, seconds of all cases together", table, columns)
