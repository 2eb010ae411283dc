"""A network that was fitted to a scene, with replacements for the bands in which it is no better than these."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from ..bands import BANDS, BY_GSD, COARSE, in_order, ratio
from ..sensor.response import SENTINEL2, Sensor
from ..sensor.upsampling import reach, upsample
from .kinds import built, described, known_as
from .kriging import KrigingNet

Instead = Literal["bicubic", "atprk"]


@known_as("guarded")
class GuardedNet(nn.Module):
    """The coarse bands of a network, some of them replaced by interpolation or by the closed form.

    Its support does not depend on the replaced bands, because a run needs its halo before the fit.

    Parameters
    ----------
    net
        The network, or its kind and the arguments that it is built from.
    sensor
        The sensor for the residual of the closed form, or its fields.
    instead
        Band → its replacement.
    """

    def __init__(
        self,
        net: nn.Module | Mapping[str, Any],
        sensor: Sensor | Mapping[str, Any] = SENTINEL2,
        instead: Mapping[str, Instead] | None = None,
    ) -> None:
        super().__init__()
        self.net: Any = cast(Any, net) if isinstance(net, nn.Module) else built(net)
        self.sensor = Sensor.of(sensor)
        self.instead: dict[str, Instead] = dict(instead or {})
        self.bands = tuple(band for band in self.net.bands if band in COARSE)
        gsds = sorted({BANDS[band].gsd for band in self.bands})
        self._closed = nn.ModuleDict({str(g): KrigingNet(g, sensor=self.sensor) for g in gsds})
        self.reads = in_order((*self.net.reads, *self.bands, *BY_GSD[10]))

    @property
    def closed(self) -> dict[int, KrigingNet]:
        """The closed form by GSD; it exists even if no band uses it."""
        return {int(gsd): cast(KrigingNet, net) for gsd, net in self._closed.items()}

    @property
    def config(self) -> dict[str, Any]:
        """The arguments it is built from."""
        facts = {"sensor": asdict(self.sensor), "instead": self.instead}
        return {"net": described(self.net), **facts}

    @property
    def support(self) -> dict[int, tuple[int, int]]:
        """Pixels read before and after a cell along each axis, by GSD of their grid."""
        closed = [closed.support for closed in self.closed.values()]
        between = [{gsd: reach(0, ratio(gsd), "cubic")} for gsd in self.closed]
        found: dict[int, tuple[int, int]] = {}
        for gsd, at in (
            item for one in (self.net.support, *closed, *between) for item in one.items()
        ):
            found[gsd] = tuple(map(max, found.get(gsd, at), at))
        return found

    @property
    def tolerance(self) -> float:
        """Tolerance of the network, DN."""
        return float(getattr(self.net, "tolerance", 0.0))

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of the network per 10 m pixel."""
        return int(self.net.multiply_adds)

    def forward(self, y10: Tensor, y20: Tensor, y60: Tensor) -> Tensor:
        """Reflectance (n, 4, 6h, 6w), (n, 6, 3h, 3w), (n, 2, h, w) → (n, bands, 6h, 6w)."""
        given: dict[str, Tensor] = {}
        if set(self.bands) - set(self.instead):
            given |= zip(self.net.bands, self.net(y10, y20, y60).unbind(1), strict=True)
        for gsd, closed in self.closed.items():
            coarse = y20 if gsd == 20 else y60
            of_gsd = [band for band in self.bands if BANDS[band].gsd == gsd]
            if any(self.instead.get(band) == "atprk" for band in of_gsd):
                kriged = dict(zip(closed.bands, closed(y10, y20, y60).unbind(1), strict=True))
            for band in of_gsd:
                if self.instead.get(band) == "bicubic":
                    i = BY_GSD[gsd].index(band)
                    given[band] = upsample(coarse[:, i : i + 1], ratio(gsd))[:, 0]
                elif band in self.instead:
                    given[band] = kriged[band]
        return torch.stack([given[band] for band in self.bands], dim=1)
