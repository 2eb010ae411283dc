"""Cases for a scene without 10 m bands: 180→60 m."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..bands import BY_GSD
from ..sensor.measurement import believed, measure_band
from ..sensor.observation import degrade
from ..sensor.response import Response
from ..sensor.upsampling import upsample
from .cases import BenchScene, Case, Protocol, native, one_kernel


def from_20_alone(protocol: Protocol, scene: BenchScene) -> Case:
    """Make the case of a scene that has only 20 m and 60 m bands.

    All bands are degraded by three, to pixels of 60 and 180 m. The four red-edge and NIR bands, degraded by 1.5, play
    the 10 m bands: they have pixels of 30 m and show the same ground. A result lies on that grid of 30 m. The truth,
    the 60 m bands as delivered, lies on one of 60 m. So the result is degraded with the kernel between the two before
    it is compared. All kernels are the one from 20 to 60 m, measured on the scene and weighed against the known one,
    in pixels of each grid. So relations between grids are those of the satellite.

    This assumes that the playing bands say as much about the 60 m bands as 10 m bands would. They lack blue, so B01
    is harder here than on the ground.
    """
    y20, y60 = _whole_cells(native(scene))
    kernel = _kernel(y20, y60)
    still = replace(kernel, dy=0.0, dx=0.0)
    # Shifts are in pixels of the band, so they are half as large in pixels of 60 m as in those of 30 m.
    off = {10: replace(kernel, dy=2 * kernel.dy, dx=2 * kernel.dx), 20: kernel, 60: still}
    # The way from 20 to 30 m leads through a grid of 10 m, which adds nothing.
    finer = upsample(y20[:, :4], 2)
    pictures = {10: finer, 20: y20, 60: y60}
    inputs = {
        g: degrade(y, BY_GSD[g], 3, one_kernel(off[g]))[0].numpy() for g, y in pictures.items()
    }
    return Case(
        scene.name,
        protocol,
        inputs,
        {60: y60[0].numpy()},
        (60,),
        3,
        part="60 m",
        seen_with=one_kernel(still),
        lens=one_kernel(_between(still)),
    )


def _whole_cells(given: Mapping[int, np.ndarray]) -> tuple[Tensor, Tensor]:
    """Return the 20 m and 60 m bands, (1, bands, y, x), cut to whole pixels of 180 m."""
    rows, cols = (side // 3 for side in given[60].shape[1:])
    y20, y60 = (
        torch.from_numpy(np.ascontiguousarray(given[g][:, : rows * n, : cols * n]))[None]
        for g, n in ((20, 9), (60, 3))
    )
    return y20, y60


def _kernel(y20: Tensor, y60: Tensor) -> Response:
    """Return the mean kernel from 20 to 60 m of both bands, with its shift, weighed against the known one."""
    each = {
        b: measure_band(y20, BY_GSD[20], y60[:, i : i + 1], b) for i, b in enumerate(BY_GSD[60])
    }
    found = {band: one for band, one in each.items() if one}
    return believed(found, {}).mean(BY_GSD[60])


def _between(kernel: Response) -> Response:
    """Return the kernel between images seen with ``kernel`` at a pixel size and at twice that size.

    It is in pixels of the coarser image: the quotient of the two responses, which belongs to the same family.
    """
    return replace(kernel, blur=kernel.blur * 0.75**0.5, edge=kernel.edge * (64 / 63) ** (1 / 6))
