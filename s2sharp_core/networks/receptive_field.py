"""Pixels that networks read around a cell: of filters, and of steps from the last back to the first."""

from collections.abc import Sequence
from dataclasses import replace

from ..bands import BANDS, COARSE, GSDS, ratio
from ..sensor.observation import psf
from ..sensor.response import FARTHEST_BLUR, FARTHEST_EDGE, LARGEST_SHIFT, Response, Sensor
from ..sensor.upsampling import reach

Interval = tuple[int, int]


def wider(at: Interval, by: int) -> Interval:
    return at[0] - by, at[1] + by


def union(a: Interval, b: Interval) -> Interval:
    return min(a[0], b[0]), max(a[1], b[1])


def seen_from(coarse: Interval, ratio: int, margin: int) -> Interval:
    """Return the fine pixels that coarse ones are blurred from."""
    return coarse[0] * ratio - margin, (coarse[1] + 1) * ratio - 1 + margin


def halved(at: Interval) -> Interval:
    """Return the 20 m pixels that contain 10 m pixels."""
    return at[0] // 2, at[1] // 2


def interpolated_from(fine: Interval, ratio: int, kind: str) -> Interval:
    """Return the coarse pixels that fine ones are interpolated from."""
    support = {"linear": 1, "cubic": 2}[kind]
    # Positions times twice the ratio are whole numbers. A pixel at the end of the support has no weight.
    first, last = (2 * at + 1 - ratio for at in fine)
    return first // (2 * ratio) - support + 1, -(-last // (2 * ratio)) + support - 1


def support_of(radius: int, kind: str, coarsest: int = 60) -> dict[int, tuple[int, int]]:
    """Return by GSD the pixels before and after a cell that bands up to ``coarsest`` are read from, if they are
    interpolated to 10 m and the 10 m pixels within ``radius`` are read.
    """
    return {
        gsd: (radius, radius) if gsd == 10 else reach(radius, ratio(gsd), kind)
        for gsd in GSDS
        if gsd <= coarsest
    }


def pixels_before(band: str, r: int, sensor: Sensor, axis: int | None = None) -> int:
    """Return the 10 m pixels that a coarse one sees before its own first; negative if it sees fewer."""
    taps = psf(band, r, sensor, axis).numel()
    return (taps - r) // 2 if sensor.centre == "cell" else (taps - 1) // 2


def blurring(bands: Sequence[str], sensor: Sensor) -> float:
    """Return the multiply-adds per 10 m pixel that the blur of ``bands`` of one GSD takes."""
    r = ratio(BANDS[bands[0]].gsd)
    return sum(psf(band, r, sensor).numel() for band in bands) * (1 / r + 1 / r**2)


def farthest(sensor: Sensor) -> Sensor:
    """Return the sensor with the widest filters of all that a product may be measured to have, because halos are
    declared before the measurement.

    The inverse of a narrow blur is a filter that decays slowly, and a shift moves the pixels that are read. A sensor from
    a paper is not measured, so it is returned unchanged.
    """
    if sensor.blur != "measured":
        return sensor
    responses = tuple(
        Response(
            band,
            BANDS[band].blur - FARTHEST_BLUR,
            BANDS[band].edge - FARTHEST_EDGE,
            LARGEST_SHIFT,
            LARGEST_SHIFT,
        )
        for band in COARSE
    )
    return replace(sensor, responses=responses)
