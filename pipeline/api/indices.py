"""Spectral indices by the formulas of Awesome Spectral Indices (Montero et al. 2023), from the package spyndex."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import numpy as np
import xarray as xr

from s2sharp_core import BANDS, S2SharpError

from ..ui.terminal import check_extras

_NEAR = 60
"""Largest distance in nanometres at which one band may replace another: B8A for B08, but not B11 for B12."""


def spectral_index(cube: xr.Dataset, name: str, given: Mapping[str, Any]) -> xr.DataArray:
    """Compute an index of a cube; ``given``: letter of the formula → name of a band, or a number.

    Errors: ``bad-config``, ``band-missing``.
    """
    remedy = "Install it (`pip install 's2sharp[indices]'`), or write the formula: (cube.B8A - cube.B11) / (cube.B8A + cube.B11)."
    check_extras(("spyndex",), "An index", remedy)
    import spyndex

    if name not in spyndex.indices:
        near = get_close_matches(name.upper(), list(spyndex.indices), n=3, cutoff=0.6)
        raise S2SharpError(
            "bad-config",
            f"There is no index {name!r}.",
            f"Perhaps {', '.join(near)}?" if near else "`spyndex.indices` lists them.",
        )
    about = spyndex.indices[name]
    if unknown := set(given) - set(about.bands):
        raise S2SharpError(
            "bad-config",
            f"{name} is {about.formula}, which has no {', '.join(sorted(unknown))}.",
            f"It has {', '.join(about.bands)}.",
        )
    values = {letter: _value(cube, name, letter, given.get(letter)) for letter in about.bands}
    made = spyndex.computeIndex(name, values)
    made = made.where(np.isfinite(made)).astype(np.float32).rename(name)
    made.attrs = {
        "long_name": about.long_name,
        "formula": about.formula,
        "reference": about.reference,
    }
    return made


def _value(cube: xr.Dataset, name: str, letter: str, given: Any) -> Any:
    """Return a band of the cube, or a number, for a letter of a formula."""
    import spyndex

    if given is not None and not isinstance(given, str):
        return given
    band = given or _sentinel2(letter)
    if band is None and letter in spyndex.constants:
        default = spyndex.constants[letter].default
        if default is not None:
            return float(default)
    if band is None:
        raise S2SharpError(
            "bad-config",
            f"{name} needs {letter}, which is neither a band of Sentinel-2 nor a constant.",
            f"Give it: index({name!r}, {letter}=…).",
        )
    if band not in cube:
        near = _nearest(cube, band)
        other = f", or use the nearest band: index({name!r}, {letter}={near!r})" if near else ""
        raise S2SharpError(
            "band-missing",
            f"{name} needs {band} ({letter}), which the cube does not have.",
            f"Add it with bands=…{other}.",
        )
    return cube[band]


def _nearest(cube: xr.Dataset, band: str) -> str | None:
    """Return the cube's band with nearly the same wavelength as ``band``, or None."""
    if band not in BANDS:
        return None
    apart = {
        other: abs(facts.wavelength - BANDS[band].wavelength)
        for other, facts in BANDS.items()
        if other in cube
    }
    near = min(apart, key=apart.__getitem__, default=None)
    return near if near is not None and apart[near] <= _NEAR else None


def _sentinel2(letter: str) -> str | None:
    """Return ESA's name of the band that a letter stands for; "B8" is B08."""
    import spyndex

    platform = getattr(spyndex.bands.get(letter), "sentinel2a", None)
    return None if platform is None else re.sub(r"^B(\d)$", r"B0\1", str(platform.band))
