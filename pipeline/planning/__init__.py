"""Planning of a run: configuration, area, acquisitions, units, keys, cost.

May import scenes, catalog, cube, engine, storage.
Main path: a :class:`RunConfig` → :func:`make_plan`, or :func:`plan_of` for a run that may have been begun → :class:`Plan`.
"""

from s2sharp_core.lazy import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "acquisition_files": ["freeze_acquisition"],
        "area": ["Area"],
        "empty_query": ["ended_warning"],
        "client_plan": ["ClientPlan", "as_frozen"],
        "config": ["EVER", "WORLD", "RunConfig", "read_config"],
        "cost": ["Estimate", "check_memory", "estimate", "pixel_memory"],
        "facts": ["plan_facts"],
        "make": ["datatakes_of", "make_plan"],
        "method": ["side_of"],
        "availability": ["Offering", "Availability", "survey"],
        "plan": ["Plan"],
        "query_log": ["Query", "begun", "done", "items_in", "unfinished_queries", "when"],
        "readers": ["files_of", "reader_of", "stage_of"],
        "sharpener": ["outline", "sharpener_of"],
        "resume": ["as_it_is_now", "plan_of"],
        "sensor_files": ["file_content", "cube_attributes", "is_measured"],
        "unit_states": ["UnitState", "UnitStates", "phase_of"],
        "units": ["Datatake", "Unit", "strips"],
    },
)
