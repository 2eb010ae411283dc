"""Functions that an analyst calls in Python: search, plan, run, open_scene, sharpen, and tools of a cube.

May import report, execution, planning, publish, scenes, ui, catalog, cube, storage.
Main path, query: :func:`plan` → :func:`run` → an ``xarray.Dataset``.
Main path, scene of any kind: :func:`open_scene` → :func:`sharpen`. All names are available as ``s2sharp.NAME``.
"""

from s2sharp_core.lazy import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "version": ["__version__"],
        "accessor": ["COMPOSITES", "CubeTools", "MASKS"],
        "cubes": ["open_cube"],
        "scenes": ["open_scene"],
        "sharpening": ["sharpen"],
        "runs": ["PlannedRun", "plan", "run", "search"],
    },
)
