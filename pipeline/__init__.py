"""Sentinel-2 at 10 m over large areas: from a STAC query to a datacube."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config import RunConfig, read_config
    from .cost import estimate
    from .cube import open_cube
    from .mosaic.store import open_mosaic
    from .planning import make_plan
    from .run import execute

__all__ = [
    "RunConfig",
    "estimate",
    "execute",
    "make_plan",
    "open_cube",
    "open_mosaic",
    "read_config",
]

_WHERE = {
    "RunConfig": "config",
    "estimate": "cost",
    "execute": "run",
    "make_plan": "planning",
    "open_cube": "cube",
    "open_mosaic": "mosaic.store",
    "read_config": "config",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_WHERE[name]}", __name__), name)
    globals()[name] = value
    return value
