"""What adapting to each date costs a time series: `python -m tests.benchmarks.flicker`.

The same synthetic landscape on several dates, with other noise and another gain of each band (an atmosphere), sharpened by
s2net-m as it ships and adapted to each date. The gains are taken out again; what then differs between dates does not
lie on the ground. RMS over bands and pixels in DN, beside the error against the truth.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from s2sharp_core import load_sharpener
from s2sharp_core.bands import BANDS, BY_GSD, GSDS
from s2sharp_core.learning.options import FitOptions
from s2sharp_core.sensor.response import SENTINEL2
from s2sharp_core.sensor.sample import Sample
from s2sharp_core.sensor.simulate import landscape, observe
from s2sharp_core.sharpeners.methods import METHODS

COARSE = BY_GSD[20] + BY_GSD[60]


def dates(
    count: int, cells: int
) -> tuple[np.ndarray, list[tuple[np.ndarray, dict[int, np.ndarray]]]]:
    """The truth (8, 6·cells, 6·cells), and of each date the gains of the bands and what was seen."""
    truth = landscape((6 * cells, 6 * cells), 4242)
    random = np.random.default_rng(1)
    series = []
    for date in range(count):
        gain = random.normal(1, 0.05, len(BANDS)).astype(np.float32)
        series.append((gain, observe(truth * gain[:, None, None], seed=100 + date)))
    names = list(BANDS)
    return truth[[names.index(band) for band in COARSE]], series


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dates", type=int, default=4)
    parser.add_argument("--cells", type=int, default=60)
    given = parser.parse_args()
    truth, series = dates(given.dates, given.cells)
    names = list(BANDS)
    table = Table(title=f"{given.dates} dates of one landscape, RMS in DN")
    for column in ("", "between dates", "against the truth", "adapted nets kept"):
        table.add_column(column, justify="right" if column else "left")
    for name in ("s2net-m", "s2net-m-adapted"):
        pictures, kept = [], 0
        for gain, seen in series:
            inputs = [torch.from_numpy(seen[g])[None] for g in GSDS]
            with TemporaryDirectory() as folder:
                if name.endswith("adapted"):
                    fit = METHODS[name].fit
                    assert fit is not None
                    place = Path(folder)
                    fit(
                        Sample(*inputs),
                        SENTINEL2,
                        COARSE,
                        FitOptions(),
                        place,
                        "cpu",
                        lambda *_: None,
                    )
                    sharpener = load_sharpener(name, weights=place)
                    kept += sharpener.weights != load_sharpener("s2net-m").weights
                else:
                    sharpener = load_sharpener(name)
                with torch.inference_mode():
                    found = sharpener.sharpen(*inputs)
            picture = np.stack([found[b][0].numpy() / gain[names.index(b)] for b in COARSE])
            pictures.append(picture)
        stack = np.stack(pictures)
        between = np.sqrt(stack.var(axis=0).mean())
        error = np.sqrt(np.square(stack - truth).mean())
        table.add_row(
            name,
            f"{1e4 * between:.2f}",
            f"{1e4 * error:.2f}",
            f"{kept} of {given.dates}" if kept else "",
        )
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
