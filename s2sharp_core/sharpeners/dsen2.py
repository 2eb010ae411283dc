"""DSen2 and VDSen2 (Lanaras et al. 2018): a residual net for 20 m and one for 60 m; VDSen2 is deeper."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from ..bands import BANDS
from ..errors import S2SharpError
from ..weights.store import SHIPPED, weights_file
from .base import Sharpener
from .methods import known
from .net import NetSharpener


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


METHODS = tuple(replace(known(name), load=partial(_load, name)) for name in ("dsen2", "vdsen2"))
