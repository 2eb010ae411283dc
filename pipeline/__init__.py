"""Sentinel-2 at 10 m over large areas: from a STAC query to a datacube."""

from typing import TYPE_CHECKING

from s2sharp_core.faces import face

if TYPE_CHECKING:
    from .cube.open import open_cube
    from .execution.execute import execute
    from .mosaic.store import open_mosaic
    from .planning.config import RunConfig, read_config
    from .planning.cost import estimate
    from .planning.make import make_plan

__all__ = [
    "RunConfig",
    "estimate",
    "execute",
    "make_plan",
    "open_cube",
    "open_mosaic",
    "read_config",
]

__getattr__, __dir__, _ = face(
    __name__,
    {
        "cube.open": ["open_cube"],
        "execution.execute": ["execute"],
        "mosaic.store": ["open_mosaic"],
        "planning.config": ["RunConfig", "read_config"],
        "planning.cost": ["estimate"],
        "planning.make": ["make_plan"],
    },
)
