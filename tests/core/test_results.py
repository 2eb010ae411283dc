"""Other results need another number: cubes that were begun are continued by it."""

from copy import copy

import numpy as np
import pytest
import torch

from s2sharp_core import METHODS, load_sharpener
from s2sharp_core.bands import BY_GSD, GSDS
from s2sharp_core.sharpeners import unfitted_sharpener

# Method → its number, and of the bands that it gives of a scene their means, then their standard deviations, DN.
KNOWN: dict[str, tuple[int, list[float]]] = {
    "bicubic": (
        1,
        [
            2977.14,
            2943.22,
            2898.64,
            2868.64,
            2859.79,
            2936.56,
            2873.2,
            2904.32,
            269.96,
            272.59,
            302.22,
            325.78,
            343.94,
            315.25,
            355.46,
            356.81,
        ],
    ),
    "s2net-s": (
        5,
        [
            2983.11,
            2943.64,
            2898.35,
            2868.36,
            2859.48,
            2938.67,
            2871.22,
            2902.84,
            314.13,
            275.27,
            304.38,
            327.87,
            345.61,
            363.92,
            364.88,
            366.94,
        ],
    ),
    "s2net-m": (
        5,
        [
            2982.94,
            2943.02,
            2898.66,
            2868.24,
            2859.66,
            2938.47,
            2871.33,
            2902.23,
            314.1,
            274.44,
            304.48,
            328.07,
            345.73,
            363.88,
            365.3,
            367.97,
        ],
    ),
    "s2net-l": (
        5,
        [
            2983.22,
            2943.1,
            2898.06,
            2868.21,
            2859.56,
            2938.73,
            2871.27,
            2902.31,
            314.38,
            274.55,
            304.26,
            327.95,
            345.24,
            364.22,
            366.18,
            369.35,
        ],
    ),
    "dsen2": (
        1,
        [
            2954.6,
            2945.36,
            2898.25,
            2870.74,
            2853.8,
            2924.34,
            2871.35,
            2906.19,
            292.1,
            277.51,
            306.9,
            330.26,
            349.33,
            356.51,
            363.24,
            364.18,
        ],
    ),
}


def scene() -> list[torch.Tensor]:
    """Smooth land with a step, a ridge and a bright point: no library's random numbers."""
    given = []
    for gsd in GSDS:
        n = 34 * 60 // gsd
        y, x = np.mgrid[:n, :n] * (gsd / 60)
        bands = [
            0.2
            + 0.05 * np.sin(0.9 * x + 0.3 * b) * np.cos(0.7 * y - 0.2 * b)
            + 0.08 * (x + 0.4 * y > 20 + b / 8)
            + 0.1 * np.exp(-((x - 17.3) ** 2 + (y - 14.6) ** 2))
            for b in range(len(BY_GSD[gsd]))
        ]
        given.append(torch.from_numpy(np.stack(bands))[None].float())
    return given


def figures(method: str) -> list[float]:
    sharpener = load_sharpener(method, precision="float32")
    with torch.inference_mode():
        given = sharpener.sharpen(*scene())
    inner = slice(6 * 15, -6 * 15)
    values = [1e4 * given[band][0, inner, inner].double().numpy() for band in sharpener.bands]
    spread = [float(x.std()) for x in values]
    return [round(float(x.mean()), 2) for x in values] + [round(s, 2) for s in spread]


@pytest.mark.parametrize("method", sorted(KNOWN))
def test_who_gives_other_values_has_another_number(method: str) -> None:
    """Where this fails and the change is meant: raise ``results``, and put its number and figures here."""
    number, known = KNOWN[method]
    assert load_sharpener(method).results == number
    assert figures(method) == pytest.approx(known, abs=0.05)


def test_every_method_that_ships_ready_is_watched() -> None:
    """A method that is added without a fit enters ``KNOWN`` with its number and what :func:`figures` returns."""
    ready = {m for m in METHODS if METHODS[m].fit is None and m not in ("vdsen2",)}
    assert set(KNOWN) == ready


def test_the_number_is_in_the_digest() -> None:
    sharpener = copy(unfitted_sharpener("bicubic"))
    before = sharpener.digest
    sharpener.results += 1
    assert sharpener.digest != before
