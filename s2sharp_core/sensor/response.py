"""The sensor as facts: the relation of each band to the 10 m bands, the known values of the instrument, and their
limits.

Nothing is computed here, so that a plan can be read without heavy packages.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..bands import BANDS, COARSE
from ..errors import S2SharpError

Shifts = tuple[tuple[float, float], ...]
"""Shift of each channel, down and right, in its own pixels."""

# Noise of a band without a measurement, reflectance.
_USUAL_NOISE = 5e-4


def sigma(mtf: float, ratio: int) -> float:
    """Return σ, in fine pixels, of the Gaussian whose frequency response is ``mtf`` at the coarse Nyquist."""
    return ratio * math.sqrt(-2 * math.log(mtf)) / math.pi


LARGEST_SHIFT = 1.0
"""Largest shift, in pixels of the band, with which a band is still sharpened."""

FARTHEST_BLUR, FARTHEST_EDGE = 0.1, 0.05
"""Largest believed difference of a product's response from the known one, in pixels and cycles per pixel of the band."""


@dataclass(frozen=True)
class Response:
    """Relation of one coarse band of a product to the 10 m bands of the same product.

    Attributes
    ----------
    band
        ESA's name.
    blur, edge
        Frequency response exp(-2π²·blur²·f² - (f/edge)⁶), f in cycles per pixel of the band.
    dy, dx
        Shift of the image in the band, down and right, in pixels of the band.
    """

    band: str
    blur: float
    edge: float
    dy: float = 0.0
    dx: float = 0.0

    @classmethod
    def default(cls, band: str) -> "Response":
        """Return the response of :data:`~s2sharp_core.bands.BANDS`, without a shift."""
        return cls(band, BANDS[band].blur, BANDS[band].edge)


@dataclass(frozen=True)
class Sensor:
    """A sensor: the way in which coarse pixels arise. The default is the satellite; the others are assumptions of papers.

    Attributes
    ----------
    blur
        ``"measured"``: as coarse bands relate to the 10 m bands of the same product. ``"mtf"``: a Gaussian with
        each band's MTF at Nyquist, as if the 10 m bands had no blur of their own (SupReME, S2Sharp and others).
        ``"dsen2"``: a Gaussian of σ = 1/d and the mean of the d × d pixels (Lanaras et al. 2018).
    centre
        Position of a coarse pixel: ``"cell"``, the centre of its d × d pixels, as on the ground; or ``"corner"``, the first
        of them, which ``x[::d]`` after an odd kernel gives: (d - 1)/2 pixels off.
    taps
        Number of taps to which kernels are cut, as in papers; None: wide enough to lose nothing.
    edge
        Continuation of an image beyond its edges: ``"replicate"`` or ``"circular"``.
    responses
        Responses measured on the product itself, in ESA's order; other bands have the default one.
        Only for ``"measured"``.
    noise
        Standard deviation of the noise of bands, (band, reflectance); empty if not measured.
    """

    blur: Literal["measured", "mtf", "dsen2"] = "measured"
    centre: Literal["cell", "corner"] = "cell"
    taps: int | None = None
    edge: Literal["replicate", "circular"] = "replicate"
    responses: tuple[Response, ...] = ()
    noise: tuple[tuple[str, float], ...] = ()

    @classmethod
    def of(cls, facts: "Sensor | Mapping[str, Any]") -> "Sensor":
        """Make a sensor from the fields that :func:`dataclasses.asdict` gives, also after a round trip through JSON."""
        if isinstance(facts, Sensor):
            return facts
        facts = dict(facts)
        responses = tuple(Response(**r) for r in facts.pop("responses", ()))
        noise = tuple((str(band), float(level)) for band, level in facts.pop("noise", ()))
        return cls(**facts, responses=responses, noise=noise)

    def response(self, band: str) -> Response:
        """Return the response of a band; for papers' sensors the nearest one (a Gaussian without an edge)."""
        if self.blur == "mtf":
            return Response(band, sigma(BANDS[band].mtf, 1), math.inf)
        if self.blur == "dsen2":
            # Variances add up: that of a Gaussian of σ 1/d, and that of the mean of d pixels.
            d = max(2, BANDS[band].gsd // 10)
            return Response(band, math.sqrt(1 / d**4 + (1 - 1 / d**2) / 12), math.inf)
        own = (r for r in self.responses if r.band == band)
        return next(own, None) or Response.default(band)

    def mean(self, bands: Sequence[str]) -> Response:
        """Return the mean response of ``bands``, under the name of the first."""
        each = [self.response(band) for band in bands]
        fields = ("blur", "edge", "dy", "dx")
        return Response(
            bands[0], *(sum(getattr(r, name) for r in each) / len(each) for name in fields)
        )

    def shifts(self, bands: Sequence[str]) -> "Shifts":
        """Return the shifts of ``bands``; none if the sensor is not a measured one."""
        return tuple((r.dy, r.dx) for r in map(self.response, bands))

    def noise_of(self, bands: Sequence[str]) -> tuple[float, ...]:
        """Return the standard deviations of the noise of ``bands``, reflectance; a usual value if not measured."""
        known = dict(self.noise)
        return tuple(known.get(band, _USUAL_NOISE) for band in bands)


SENTINEL2 = Sensor()
"""The known sensor of the instrument, as measured on products."""

MTF_TABLE = Sensor(blur="mtf")
"""The sensor that papers assume: the whole MTF of each band, applied to a product."""

NAMED: Mapping[str, Sensor] = {"default": SENTINEL2, "table": MTF_TABLE}
"""The sensors that need no product."""

# Values that a product of the satellite allows; arrays of papers with other values are not sharpened in this way.
_CHOICES: Mapping[str, tuple[Any, ...]] = {
    "blur": ("measured", "mtf", "dsen2"),
    "centre": ("cell",),
    "taps": (None,),
    "edge": ("replicate",),
}
# Largest distance from the known response, in pixels of the band and cycles per pixel; halos are made for it.
_BOUNDS = {
    "blur": FARTHEST_BLUR,
    "edge": FARTHEST_EDGE,
    "dy": LARGEST_SHIFT,
    "dx": LARGEST_SHIFT,
}
# Excess over a bound that rounding may cause; noise, in reflectance, above which values must be DN.
_ROUNDING, _LOUD = 1e-3, 0.1


def checked(sensor: Sensor) -> Sensor:
    """Return the sensor, if halos and kernels are made for its values.

    Raises
    ------
    S2SharpError
        ``bad-config`` with the first value out of bounds, which would make wrong pixels without an error.
    """
    wrong = next(_faults(sensor), None)
    if wrong:
        raise S2SharpError(
            "bad-config",
            f"The sensor cannot be used: {wrong}.",
            "Measure one (`s2sharp sensor`, or measure_scene), or choose default.",
        )
    return sensor


def _faults(sensor: Sensor) -> Iterator[str]:
    for name, allowed in _CHOICES.items():
        if getattr(sensor, name) not in allowed:
            yield f"{name} is {getattr(sensor, name)!r}, not {' or '.join(map(str, allowed))}"
    if sensor.responses and sensor.blur != "measured":
        yield f"it has responses, which a blur {sensor.blur!r} does not use"
    names = [r.band for r in sensor.responses]
    for r in sensor.responses:
        if r.band not in COARSE or names.count(r.band) > 1:
            yield f"it has {names.count(r.band)} responses of {r.band!r}, not one of a band of 20 or 60 m"
            continue
        known = Response.default(r.band)
        for name, bound in _BOUNDS.items():
            value, off = getattr(r, name), getattr(known, name)
            # NaN fails every bound.
            if not _number(value) or not abs(value - off) <= bound + _ROUNDING:
                yield f"{name} of {r.band} is {value!r}, not within {bound} of {off}"
    named_noise = [band for band, _ in sensor.noise]
    for band, level in sensor.noise:
        if band not in BANDS or named_noise.count(band) > 1:
            yield f"it has noise of {band!r} {named_noise.count(band)} times, not once of a band"
        elif not _number(level) or not 0 <= level <= _LOUD:
            yield f"noise of {band} is {level!r}, not a reflectance from 0 to {_LOUD}"


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
