"""Execution of a plan: sensors, fits, units, overviews, pictures, and the progress of a run.

May import planning, mosaic, publish, scenes, cube, engine, storage.
Main path: a :class:`Plan` → :func:`execute` → :class:`Outcome`.
"""

from s2sharp_core.lazy import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "catalog": ["picture_path"],
        "clean": ["REMOVED", "leftovers"],
        "datatake_jobs": ["draw_sample", "measure_datatake"],
        "phases": ["RunOutcome"],
        "retention": ["dates", "removing", "take_out"],
        "status": ["Status", "status_of"],
        "verify": ["verify_run"],
        "whole_run": ["plan_run", "make_ready", "run_watched"],
    },
)
