"""The satellite: how it sees, how that is measured, and simulated scenes.

May import scene, lattice, scenery, bands and errors. Bands of a product → kernels, shifts and noise → :class:`Sensor`.
"""

from typing import TYPE_CHECKING

from ..faces import face

if TYPE_CHECKING:
    from .consistency import residual
    from .measurement import believed, measure, measure_band, measured_noise
    from .observation import (
        FARTHEST_BLUR,
        FARTHEST_EDGE,
        LARGEST_SHIFT,
        MTF_TABLE,
        SENTINEL2,
        Response,
        Sensor,
        adjoint,
        degrade,
        pseudo_inverse,
        psf,
        reach,
        upsample,
        upsample_phases,
    )
    from .registration import warn_of_shifts
    from .sample import Sample
    from .sampling import SIDE, windows_of
    from .sensing import (
        NAMED,
        SIDES,
        Sensed,
        SensorChoice,
        measure_scene,
        named,
        sense,
        sense_arrays,
    )
    from .simulate import landscape, observe

__all__ = [
    "FARTHEST_BLUR",
    "FARTHEST_EDGE",
    "LARGEST_SHIFT",
    "MTF_TABLE",
    "NAMED",
    "SENTINEL2",
    "SIDE",
    "SIDES",
    "Response",
    "Sample",
    "Sensed",
    "Sensor",
    "SensorChoice",
    "adjoint",
    "believed",
    "degrade",
    "landscape",
    "measure",
    "measure_band",
    "measure_scene",
    "measured_noise",
    "named",
    "observe",
    "pseudo_inverse",
    "psf",
    "reach",
    "residual",
    "sense",
    "sense_arrays",
    "upsample",
    "upsample_phases",
    "warn_of_shifts",
    "windows_of",
]

__getattr__, __dir__ = face(
    __name__,
    {
        "consistency": ["residual"],
        "measurement": ["believed", "measure", "measure_band", "measured_noise"],
        "observation": [
            "FARTHEST_BLUR",
            "FARTHEST_EDGE",
            "LARGEST_SHIFT",
            "MTF_TABLE",
            "Response",
            "SENTINEL2",
            "Sensor",
            "adjoint",
            "degrade",
            "pseudo_inverse",
            "psf",
            "reach",
            "upsample",
            "upsample_phases",
        ],
        "registration": ["warn_of_shifts"],
        "sample": ["Sample"],
        "sampling": ["SIDE", "windows_of"],
        "sensing": [
            "NAMED",
            "SIDES",
            "Sensed",
            "SensorChoice",
            "measure_scene",
            "named",
            "sense",
            "sense_arrays",
        ],
        "simulate": ["landscape", "observe"],
    },
)
