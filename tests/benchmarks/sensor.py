"""The sensor as real products show it: `python -m tests.benchmarks.sensor`. A few minutes of one core.

Prints, for the four Level-1C scenes, the six Level-2A chips and the large scene of 20 and 60 m: blur, edge and shift of each
coarse band with their uncertainties, the share of variance that stays unexplained, noise, and the frequency response at
0.05 to 0.25 cycles per half pixel of the band (10 m for 20 m bands); then the pooled table that the defaults of `s2sharp_core/bands.py` are from; and how
kernels that are known come back: a 10 m band plays a coarse one and is predicted from the other three.
"""

import argparse
import math
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from rich.table import Table

from s2sharp_core.bands import BANDS, BY_GSD, COARSE
from s2sharp_core.sensor.measurement import Measured, measure, measure_band, measured_noise
from s2sharp_core.sensor.observation import degrade
from s2sharp_core.sensor.response import Response, Sensor
from s2sharp_core.sensor.sample import Sample

from ..data import L2A_CHIPS, SCENES, by_gsd, l2a_chip, real_scene, scene_of_20_m
from .showing import console

FREQUENCIES = (0.05, 0.10, 0.15, 0.20, 0.25)
# Blur, edge, dy, dx that are given to a 10 m band, in pixels of 20 m.
KNOWN = (
    Response("B05", 0.30, 0.545),
    Response("B05", 0.36, 0.545, 0.15, -0.30),
    Response("B05", 0.50, 0.545, -0.40, 0.20),
)

Found = Mapping[str, Measured]


def response(one: Response) -> list[float]:
    """What passes at :data:`FREQUENCIES`."""
    scaled = [2 * f for f in FREQUENCIES]
    return [math.exp(-2 * (math.pi * one.blur * f) ** 2 - (f / one.edge) ** 6) for f in scaled]


def scenes() -> Iterator[tuple[str, Mapping[int, np.ndarray]]]:
    for name in SCENES:
        yield name, by_gsd(real_scene(name))
    for name in L2A_CHIPS:
        yield name, by_gsd(l2a_chip(name))


def table(title: str, first: str) -> Table:
    shown = Table(title=title, title_justify="left")
    shown.add_column(first)
    for name in (
        "blur",
        "edge",
        "down",
        "right",
        "unexplained",
        "noise, DN",
        *map(str, FREQUENCIES),
    ):
        shown.add_column(name, justify="right")
    return shown


def add(shown: Table, name: str, one: Measured, noise: str) -> None:
    r = one.response
    shown.add_row(
        name,
        f"{r.blur:.3f} ± {one.blur_error:.3f}",
        f"{r.edge:.3f} ± {one.edge_error:.3f}",
        f"{r.dy:+.3f} ± {one.shift_error:.3f}",
        f"{r.dx:+.3f} ± {one.shift_error:.3f}",
        f"{one.unexplained:.3f}",
        noise,
        *(f"{x:.2f}" for x in response(r)),
    )


def show_scene(name: str, found: Found, noise: Mapping[str, float]) -> None:
    """Print what one product shows."""
    shown = table(f"{name}: blur, edge and shift in pixels of the band", "band")
    for band, one in found.items():
        add(shown, band, one, f"{1e4 * noise[band]:.1f}")
    console.print(shown)
    fine = ", ".join(f"{band} {1e4 * noise[band]:.1f}" for band in BY_GSD[10])
    console.print(f"noise of the 10 m bands, DN: {fine}\n")


def show_60_of_20() -> None:
    """Print how the 60 m bands of the large scene follow its 20 m bands."""
    pictures = scene_of_20_m()
    cells = [min(pictures[60].shape[i], pictures[20].shape[i] // 3) for i in (1, 2)]
    y60 = torch.from_numpy(pictures[60][None, :, : cells[0], : cells[1]])
    y20 = torch.from_numpy(pictures[20][None, :, : 3 * cells[0], : 3 * cells[1]])
    shown = table("l1c_20_60m: 60 m bands against the 20 m bands", "band")
    for i, band in enumerate(BY_GSD[60]):
        one = measure_band(y20, BY_GSD[20], y60[:, i : i + 1], band)
        if one:
            add(shown, band, one, "")
    mean = [math.sin(2 * math.pi * f) / (3 * math.sin(2 * math.pi * f / 3)) for f in FREQUENCIES]
    shown.add_row("mean of 3 × 3 pixels", *[""] * 6, *(f"{x:.2f}" for x in mean))
    console.print(shown)


def show_pooled(every: Mapping[str, Found]) -> None:
    """Print each band's mean over all products by the inverse of its variances, and the default."""
    shown = Table(
        title="all products: means by certainty, medians, and the defaults", title_justify="left"
    )
    for name in (
        "band",
        "blur",
        "median",
        "spread",
        "default",
        "edge",
        "median",
        "default",
        "least unexplained, its blur",
    ):
        shown.add_column(name, justify="left" if name == "band" else "right")
    for band in COARSE:
        found = [one[band] for one in every.values() if band in one]
        blurs, edges = (
            np.array([getattr(one.response, field) for one in found]) for field in ("blur", "edge")
        )
        blur, edge = (
            np.average(values, weights=[getattr(one, f"{field}_error") ** -2.0 for one in found])
            for field, values in (("blur", blurs), ("edge", edges))
        )
        best = min(found, key=lambda one: one.unexplained)
        shown.add_row(
            band,
            *(f"{x:.3f}" for x in (blur, np.median(blurs), blurs.std(), BANDS[band].blur)),
            *(f"{x:.3f}" for x in (edge, np.median(edges), BANDS[band].edge)),
            f"{best.unexplained:.3f}, {best.response.blur:.3f}",
        )
    console.print(shown)


def show_known(every: Mapping[str, Mapping[int, np.ndarray]]) -> None:
    """Print how far off a known kernel comes back, and how far off the measurement says that it may be."""
    shown = Table(
        title="known kernels on 10 m bands: error (told: one standard deviation), pixels of 10 m",
        title_justify="left",
    )
    for name in ("scene", "band", "unexplained", "blur", "of σ", "down", "right"):
        shown.add_column(name, justify="right" if name not in ("scene", "band") else "left")
    for name, pictures in every.items():
        x = torch.from_numpy(pictures[10])[None].double()
        for hidden, band in enumerate(BY_GSD[10]):
            others = [i for i in range(4) if i != hidden]
            for known in KNOWN:
                seen = degrade(x[:, [hidden]], ["B05"], 2, Sensor(responses=(known,)))
                one = measure_band(x[:, others], [BY_GSD[10][i] for i in others], seen, "B05")
                if not one:
                    continue
                r = one.response
                shown.add_row(
                    name,
                    band,
                    f"{one.unexplained:.3f}",
                    f"{2 * (r.blur - known.blur):+.3f} ({2 * one.blur_error:.3f})",
                    f"{2 * known.blur:.2f}",
                    f"{2 * (r.dy - known.dy):+.3f} ({2 * one.shift_error:.3f})",
                    f"{2 * (r.dx - known.dx):+.3f} ({2 * one.shift_error:.3f})",
                )
    console.print(shown)


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    found = {}
    for name, pictures in scenes():
        sample = Sample.of(pictures)
        found[name] = measure(sample)
        show_scene(name, found[name], measured_noise(sample))
    show_60_of_20()
    show_pooled(found)
    show_known({name: by_gsd(real_scene(name)) for name in SCENES})


if __name__ == "__main__":
    main()
