"""A net of DSen2's kind (Lanaras et al. 2018): one residual net for 20 m, one for 60 m."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..bands import BANDS, BY_GSD, COARSE, in_order
from ..networks import ResidualNet
from ..weights import SHIPPED, load_net
from .base import Method, Sharpener

__all__ = ["METHOD", "Dsen2"]


class Dsen2(Sharpener):
    """Residual nets with pretrained weights, one file for each GSD that is asked for.

    Parameters
    ----------
    bands
        Coarse bands to return.
    folder
        Holds ``dsen2-20m.safetensors`` and ``dsen2-60m.safetensors`` with their cards.
    expected
        File name → sha256 that the weights must have, where they are known already.
    """

    name = "dsen2"

    def __init__(
        self,
        bands: tuple[str, ...],
        folder: Path = SHIPPED,
        device: str = "cpu",
        expected: dict[str, str] | None = None,
    ) -> None:
        self.bands = bands
        self.folder = folder
        self.device = device
        self.weights = {}
        self.nets: dict[int, ResidualNet] = {}
        if device != "cpu":
            # TF32, the default of convolutions there, keeps ten bits: that is not float32.
            torch.backends.cudnn.allow_tf32 = False
        for gsd in sorted({BANDS[b].gsd for b in bands}):
            file = folder / f"dsen2-{gsd}m.safetensors"
            net, sha256 = load_net(file, (expected or {}).get(file.name))
            self.weights[file.name] = sha256
            self.nets[gsd] = net.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.reads = in_order(band for net in self.nets.values() for band in net.reads)
        self.halo = max(
            -(-max(reach) // (60 // gsd))
            for net in self.nets.values()
            for gsd, reach in net.support.items()
        )

    def sharpen(self, y10: Tensor, y20: Tensor, y60: Tensor) -> dict[str, Tensor]:
        out: dict[str, Tensor] = {}
        for gsd, net in self.nets.items():
            bands = net(y10.contiguous(memory_format=torch.channels_last), y20, y60)
            out.update(zip(BY_GSD[gsd], torch.unbind(bands, dim=1), strict=True))
        return {band: out[band] for band in self.bands}

    def __reduce__(self) -> tuple[Callable[..., Sharpener], tuple[Any, ...]]:
        return _restore, (self.bands, self.folder, self.device, tuple(self.weights.items()))


@lru_cache(maxsize=4)
def _restore(
    bands: tuple[str, ...], folder: Path, device: str, weights: tuple[tuple[str, str], ...]
) -> Dsen2:
    """Unpickle: read from disk once a process, and only the weights that were meant."""
    return Dsen2(bands, folder, device, dict(weights))


def _load(bands: tuple[str, ...], weights: Path | None, device: str) -> Sharpener:
    return Dsen2(bands, weights or SHIPPED, device)


METHOD = Method(
    name="dsen2",
    summary="residual nets at 10 m, pretrained on real and synthetic scenes",
    needs="all bands of 10 and 20 m; for B01 and B09 all twelve",
    cost="256 k multiply-adds per 10 m pixel for the 20 m bands, the same for the 60 m bands",
    source="Lanaras et al. 2018, doi:10.1016/j.isprsjprs.2018.09.018 (here 48 features, not 128)",
    bands=COARSE,
    load=_load,
)
