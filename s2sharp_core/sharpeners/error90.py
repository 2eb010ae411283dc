"""``B05_error90`` and other half-widths of 90 % intervals beside a method's bands, for scenes like those of
calibration.

``error90.json``, beside the weights that it was calibrated for, holds the rule for half-widths by method (``python -m
tests.benchmarks.error90 --write``). Methods and weights without a calibration have no half-widths.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..bands import BANDS, ERROR90, error_of
from ..errors import S2SharpError
from ..learning.uncertainty import WidthModel, error_clues, half_width, reach
from ..weights.store import SHIPPED
from .added_layers import WithLayers
from .base import Sharpener, digest_of

FILE = "error90.json"
"""File in a folder of weights with the rule for half-widths."""

# Raise it when half-widths change.
_VERSION = 1


class WithError90(WithLayers):
    """A sharpener that adds the half-width of a 90 % interval to each of its bands, reflectance.

    Its halo is larger by the area that these need, so that they do not depend on where windows are cut.

    Parameters
    ----------
    width
        Rule for half-widths. Default: the calibrated one of the method.

    Raises
    ------
    S2SharpError
        ``not-calibrated``.
    """

    def __init__(self, inner: Sharpener, width: WidthModel | None = None) -> None:
        coarse = tuple(band for band in inner.bands if band in BANDS)
        super().__init__(inner, tuple(map(error_of, coarse)), max(map(reach, coarse)))
        self.coarse, self.width = coarse, width or width_of(inner)

    @property
    def digest(self) -> str:
        width, sensor = asdict(self.width), asdict(self.sensor)
        return digest_of([self.inner.digest, ERROR90, width, sensor, _VERSION])

    def sharpen(
        self, y10: Tensor, y20: Tensor, y60: Tensor, known: Tensor | None = None
    ) -> dict[str, Tensor]:
        out = self.inner.sharpen(y10, y20, y60, known)
        for _, bands, x, y in list(self.compared(out, y20, y60)):
            widths = half_width(error_clues(x, y, bands, self.sensor), bands, self.width)
            out.update(zip(map(error_of, bands), torch.unbind(widths, dim=1), strict=True))
        return out

    def __reduce__(self) -> tuple[Callable[..., Sharpener], tuple[Any, ...]]:
        return WithError90, (self.inner, self.width)


def width_of(sharpener: Sharpener) -> WidthModel:
    """Return the calibrated rule for a method with its weights, from their folder or from the package.

    Raises
    ------
    S2SharpError
        ``not-calibrated``.
    """
    folder = getattr(getattr(sharpener, "inner", sharpener), "folder", None)
    known: Mapping[str, Any] = {}
    for place in (folder, SHIPPED):
        if place is not None and (Path(place) / FILE).is_file():
            known = known or _read(Path(place) / FILE).get(sharpener.name, {})
    # Weights of a fit belong to the scene, so the file states none for such a method.
    stated = known.get("weights") or sharpener.weights
    others = any(stated.get(file) != x for file, x in sharpener.weights.items())
    if not known or others or known.get("results", 1) != sharpener.results:
        methods = ", ".join(_read(SHIPPED / FILE))
        raise S2SharpError(
            "not-calibrated",
            f"The size of the errors of {sharpener.name} with these weights is unknown: {FILE} is calibrated for "
            f"the shipped weights of {methods} in their present versions.",
            "Leave --error90 out, or use one of these methods.",
        )
    weights = {int(gsd): tuple(shares) for gsd, shares in known["clues"].items()}
    return WidthModel(weights, known["scale"])


@lru_cache
def _read(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text()))
