"""The sensor of the satellite: its model, its measurement, and simulated scenes.

May import scene, lattice, landscapes, bands and errors.
Main path: bands of a product → kernels, shifts and noise → :class:`Sensor`.
"""

from ..lazy import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "response": [
            "FARTHEST_BLUR",
            "FARTHEST_EDGE",
            "LARGEST_SHIFT",
            "MTF_TABLE",
            "NAMED",
            "Response",
            "SENTINEL2",
            "Sensor",
            "Shifts",
            "checked",
        ],
        "constants": ["constant"],
        "measurement": ["believed", "measure", "measure_band", "measured_noise"],
        "observation": [
            "adjoint",
            "autocorrelation",
            "degrade",
            "kernels",
            "pseudo_inverse",
            "psf",
            "residual",
        ],
        "scene_sensor": ["measure_scene", "sense_arrays"],
        "registration": ["warn_of_shifts"],
        "sample": ["SIDE", "Sample", "windows_of"],
        "estimation": ["SIDES", "SensorEstimate", "SensorChoice", "named", "estimate_sensor"],
        "simulate": ["landscape", "noisy", "observe", "seen"],
        "upsampling": ["reach", "upsample", "weights_of_phases"],
    },
)
