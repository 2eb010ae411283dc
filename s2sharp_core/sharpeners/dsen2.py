"""DSen2 and VDSen2 (Lanaras et al. 2018): a residual net for 20 m and one for 60 m; VDSen2 is deeper."""

from functools import partial
from pathlib import Path

from ..bands import BANDS, COARSE
from ..errors import S2SharpError
from ..weights import SHIPPED
from ..weights.files import weights_file
from .base import Method, Sharpener
from .net import NetSharpener

__all__ = ["METHODS"]


def _load(name: str, bands: tuple[str, ...], weights: Path | None, device: str) -> Sharpener:
    files = tuple(weights_file(name, gsd) for gsd in sorted({BANDS[b].gsd for b in bands}))
    if weights is None and name != "dsen2":
        raise S2SharpError(
            "weights-missing",
            f"No weights of {name} come with the package.",
            f"Train some (`s2sharp train --method {name} --out FOLDER`) or import the published ones "
            "(`s2sharp weights import FILE.hdf5 --out FOLDER`), then give --weights FOLDER.",
        )
    return NetSharpener.load(name, bands, weights or SHIPPED, files, device)


_SOURCE = "Lanaras et al. 2018, doi:10.1016/j.isprsjprs.2018.09.018"
METHODS = (
    Method(
        name="dsen2",
        summary="residual nets; those shipped are slim",
        needs="10, 20, 60 m bands",
        cost="2 × 0.26 M",
        source=_SOURCE,
        bands=COARSE,
        load=partial(_load, "dsen2"),
        senses=False,
    ),
    Method(
        name="vdsen2",
        summary="DSen2 with 32 blocks of 256 features",
        needs="10, 20, 60 m bands; your weights",
        cost="2 × 38 M",
        source=_SOURCE,
        bands=COARSE,
        load=partial(_load, "vdsen2"),
        senses=False,
    ),
)
