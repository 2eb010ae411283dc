"""All bands of Sentinel-2 at 10 m: arrays in, arrays out.

``sharpen(scene, "s2net-m")`` is the one call to learn. Importing this package is quick: what needs torch
or xarray is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .bands import BANDS
from .errors import S2SharpError

if TYPE_CHECKING:
    from .observation import Sensor
    from .scene import make_scene
    from .sensing import measure_scene
    from .sharpeners import METHODS, Sharpener, load_sharpener
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

_WHERE = {
    "METHODS": "sharpeners",
    "Sensor": "observation",
    "Sharpener": "sharpeners",
    "fit_sharpener": "sharpening",
    "load_sharpener": "sharpeners",
    "make_scene": "scene",
    "measure_scene": "sensing",
    "sharpen": "sharpening",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_WHERE[name]}", __name__), name)
    globals()[name] = value
    return value
