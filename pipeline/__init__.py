"""All Sentinel-2 bands at 10 m over large areas: from a STAC query to a datacube.

``s2sharp.run(bbox=…, datetime=…, out=…)`` makes a cube and opens it. ``s2sharp.sharpen(scene)`` sharpens a scene of
any kind. ``dir(s2sharp)`` lists the names that an analyst needs. Programs reach further names in the same way.
"""

from typing import TYPE_CHECKING

from s2sharp_core.lazy import face

if TYPE_CHECKING:
    from s2sharp_core import (
        BANDS,
        METHODS,
        S2SharpError,
        fit_sharpener,
        load_sharpener,
        measure_scene,
    )

    from .api.cubes import open_cube
    from .api.runs import PlannedRun as PlannedRun
    from .api.runs import plan, run, search
    from .api.scenes import open_scene
    from .api.sharpening import sharpen
    from .api.version import __version__
    from .execution.execute import execute as execute
    from .mosaic.store import open_mosaic
    from .planning.config import RunConfig as RunConfig
    from .planning.config import read_config as read_config
    from .planning.cost import estimate as estimate
    from .planning.make import make_plan as make_plan

__all__ = [
    "BANDS",
    "METHODS",
    "S2SharpError",
    "__version__",
    "fit_sharpener",
    "load_sharpener",
    "measure_scene",
    "open_cube",
    "open_mosaic",
    "open_scene",
    "plan",
    "run",
    "search",
    "sharpen",
]

__getattr__, __dir__, _ = face(
    __name__,
    {
        ":s2sharp_core": [
            "BANDS",
            "METHODS",
            "S2SharpError",
            "fit_sharpener",
            "load_sharpener",
            "measure_scene",
        ],
        "api.version": ["__version__"],
        "api.cubes": ["open_cube"],
        "api.runs": ["PlannedRun", "plan", "run", "search"],
        "api.scenes": ["open_scene"],
        "api.sharpening": ["sharpen"],
        "execution.execute": ["execute"],
        "mosaic.store": ["open_mosaic"],
        "planning.config": ["RunConfig", "read_config"],
        "planning.cost": ["estimate"],
        "planning.make": ["make_plan"],
    },
)
