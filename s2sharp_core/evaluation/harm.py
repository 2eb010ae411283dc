"""Protocol ``harm``: places where a method is worse than interpolation."""

from dataclasses import replace

from .cases import BenchScene, Case, Protocol, observed
from .full_resolution import sensor_of
from .reduced import measured

HARMED_BY = 20
"""DN by which the error of a harmed pixel exceeds that of interpolation."""


def _harm(protocol: Protocol, scene: BenchScene) -> tuple[Case, ...]:
    """Return a drawn scene as observed, or the reduced images of another scene and the scene itself."""
    if scene.drawn:
        (case,) = measured(protocol, scene)
        return (replace(case, edge=None, against="bicubic"),)
    if scene.native is not None and 10 not in scene.native:
        return ()
    reduced = [replace(case, edge=None, against="bicubic") for case in measured(protocol, scene)]
    inputs = observed(scene, protocol.sensor)
    sensor = sensor_of(scene, inputs, protocol.sensor)
    whole = Case(scene.name, protocol, inputs, {}, (20, 60), seen_with=sensor, against="range")
    return (*reduced, whole)


HARM = Protocol(
    "harm",
    "Drawn scenes on which sharpening has done harm, each with its truth: flat land with noise, swell, stripes, checkerboards, "
    "edges and texture in the 10 m bands alone, bright points and an edge in the coarse bands alone. And scenes of "
    "land: pixels with a larger error than interpolation at reduced resolution, as in `measured`, and values at full "
    "resolution that nothing around them explains.",
    _harm,
    quirks="Drawn land is observed with the default sensor and noise of 3 DN in every band. Methods get the sensor "
    "that can be measured on it, which is little.",
    tells=False,
    border=12,
    headline="× bicubic",
    metrics={
        "border": "12 pixels of the result's grid left out at each edge, because interpolation reads that far beyond the image",
        "× bicubic": "RMSE of the result over that of bicubic interpolation, per band; of several bands, the largest",
        "harmed": f"share of pixels whose error is larger than bicubic's by more than {HARMED_BY} DN",
        "beyond": "full resolution: share of pixels outside the range of the 3 × 3 coarse pixels around them, widened on both "
        "sides by 20 % of it and 20 DN",
        "beyond by": "largest distance outside, DN",
    },
)
"""The protocol of this module."""
