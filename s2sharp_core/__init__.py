"""All bands of Sentinel-2 at 10 m: arrays in, arrays out.

``sharpen(scene, "s2net-m")`` is the one call to learn. Importing this package is quick, because torch and xarray are
loaded when they are first used.
"""

from typing import TYPE_CHECKING

from .bands import BANDS
from .errors import S2SharpError
from .lazy import face

if TYPE_CHECKING:
    from .scene import make_scene
    from .sensor.response import Sensor
    from .sensor.scene_sensor import measure_scene
    from .sharpeners.base import Sharpener
    from .sharpeners.loading import load_sharpener
    from .sharpeners.methods import METHODS
    from .sharpening import fit_sharpener, sharpen

__all__ = [
    "BANDS",
    "METHODS",
    "S2SharpError",
    "Sensor",
    "Sharpener",
    "fit_sharpener",
    "load_sharpener",
    "make_scene",
    "measure_scene",
    "sharpen",
]

__getattr__, __dir__, _ = face(
    __name__,
    {
        "scene": ["make_scene"],
        "sensor.response": ["Sensor"],
        "sensor.scene_sensor": ["measure_scene"],
        "sharpeners.base": ["Sharpener"],
        "sharpeners.methods": ["METHODS"],
        "sharpeners.loading": ["load_sharpener"],
        "sharpening": ["fit_sharpener", "sharpen"],
    },
)
