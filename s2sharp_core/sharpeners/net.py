"""A sharpener made from networks with weights in a folder: pretrained, trained or fitted."""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from ..bands import in_order
from ..networks.precision import Arithmetic, fastest
from ..sensor.response import Sensor
from ..weights.store import load_net
from .base import Sharpener


def exact(device: str) -> None:
    """Set a GPU to exact float32 arithmetic with reproducible results."""
    if device != "cpu":
        # TF32, the default for convolutions on GPUs, keeps only ten bits.
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.deterministic = True


class NetSharpener(Sharpener):
    """Networks that each return some of the bands.

    Parameters
    ----------
    name
        Name of the method.
    bands
        Coarse bands to return.
    nets
        One or more networks that together return ``bands``, by file name.
    weights
        File name → sha256 of the weights; empty for unfitted networks.
    folder
        Folder of the files, safetensors with a card each.
    """

    def __init__(
        self,
        name: str,
        bands: tuple[str, ...],
        nets: Mapping[str, Any],
        weights: dict[str, str],
        folder: Path,
        device: str = "cpu",
    ) -> None:
        exact(device)
        self.name = name
        self.bands = bands
        self.files = tuple(nets)
        self.weights = weights
        self.folder = folder
        self.device = device
        for net in nets.values():
            if hasattr(net, "restrict"):
                net.restrict(bands)
        self.nets = [
            net.eval().to(device).to(memory_format=torch.channels_last) for net in nets.values()
        ]
        self.reads = in_order(band for net in self.nets for band in net.reads)
        self.halo = max(
            -(-max(reach) // (60 // gsd)) for net in self.nets for gsd, reach in net.support.items()
        )
        self.results = max(getattr(net, "results", 1) for net in self.nets)
        self.tolerance = max(getattr(net, "tolerance", 0.0) for net in self.nets)

    def joins(self, window: int) -> bool:
        joins = (getattr(net, "joins", None) for net in self.nets)
        return self.device == "cpu" and all(each and each(window) for each in joins)

    @property
    def multiply_adds(self) -> float:
        return float(sum(net.multiply_adds for net in self.nets))

    @classmethod
    def load(
        cls,
        name: str,
        bands: tuple[str, ...],
        folder: Path,
        files: Iterable[str],
        device: str = "cpu",
        expected: Mapping[str, str] | None = None,
    ) -> "NetSharpener":
        """Load with the weights of ``files``; ``expected``: file → sha256, if it is known already.

        Raises
        ------
        S2SharpError
            ``weights-missing``, ``weights-corrupt``.
        """
        loaded = {file: load_net(folder / file, (expected or {}).get(file)) for file in files}
        nets = {file: net for file, (net, _) in loaded.items()}
        weights = {file: sha256 for file, (_, sha256) in loaded.items()}
        return cls(name, bands, nets, weights, folder, device)

    def compute_in(self, precision: str) -> None:
        able: list[Arithmetic] = ["float32"]
        if all(getattr(net, "narrow", False) for net in self.nets):
            able.append("bfloat16")
        if all(getattr(net, "ranged", False) for net in self.nets):
            able.append("int8")
        if precision == "auto":
            precision = fastest(self.device, able)
        elif precision not in able or (
            precision == "int8" and fastest(self.device, able) != "int8"
        ):
            super().compute_in(precision)
        self.arithmetic = cast(Arithmetic, precision)
        for net in self.nets:
            net.arithmetic = self.arithmetic
        each = (getattr(net, "any_shape", False) for net in self.nets)
        self.any_shape = self.device == "cpu" and all(each)

    def see_with(self, sensor: Sensor) -> None:
        super().see_with(sensor)
        for net in self.nets:
            if hasattr(net, "see_with"):
                net.see_with(sensor)

    def sharpen(
        self, y10: Tensor, y20: Tensor, y60: Tensor, known: Tensor | None = None
    ) -> dict[str, Tensor]:
        return self._sharpened((y10, y20, y60), halo=0, known=known)

    def sharpen_inner(
        self, y10: Tensor, y20: Tensor, y60: Tensor, known: Tensor | None = None
    ) -> dict[str, Tensor]:
        return self._sharpened((y10, y20, y60), halo=self.halo, known=known)

    def _sharpened(self, y: tuple[Tensor, Tensor, Tensor], **told: Any) -> dict[str, Tensor]:
        y10, y20, y60 = y
        out: dict[str, Tensor] = {}
        for net in self.nets:
            more = told if getattr(net, "is_told", False) else {}
            bands = net(y10.contiguous(memory_format=torch.channels_last), y20, y60, **more)
            out.update(zip(net.bands, torch.unbind(bands, dim=1), strict=True))
        return {band: out[band] for band in self.bands}

    def __reduce__(self) -> tuple[Callable[..., Sharpener], tuple[Any, ...]]:
        weights = tuple(self.weights.items())
        return _restore, (
            self.name,
            self.bands,
            self.folder,
            weights,
            self.device,
            self.arithmetic,
            self.sensor,
        )


@lru_cache(maxsize=4)
def _restore(
    name: str,
    bands: tuple[str, ...],
    folder: Path,
    weights: tuple[tuple[str, str], ...],
    device: str,
    arithmetic: str,
    sensor: Sensor,
) -> NetSharpener:
    """Unpickle: read from disk once a process, and only the intended weights."""
    restored = NetSharpener.load(name, bands, folder, dict(weights), device, dict(weights))
    restored.compute_in(arithmetic)
    restored.see_with(sensor)
    return restored
