"""Planning of a run: configuration, area, acquisitions, units, keys, cost.

May import scenes, catalog, cube, engine, storage.
Main path: a :class:`RunConfig` → :func:`make_plan`, or :func:`plan_of` for a run that may have been begun → :class:`Plan`.
"""

from s2sharp_core.lazy import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "area": ["Area"],
        "empty_query": ["closed"],
        "client": ["ClientPlan"],
        "config": ["EVER", "WORLD", "RunConfig", "read_config"],
        "cost": ["Estimate", "check_memory", "estimate", "room"],
        "facts": ["plan_facts"],
        "items": ["with_acquisitions"],
        "make": ["datatakes_of", "make_plan"],
        "method": ["side_of"],
        "availability": ["Offering", "Outlook", "survey"],
        "plan": ["Plan", "freeze_acquisition"],
        "query_log": ["Query", "begun", "done", "items_in", "owed", "when"],
        "reads": ["files_of", "reader_of", "stage_of"],
        "sharpener": ["outline", "sharpener_of"],
        "resume": ["as_it_is_now", "plan_of"],
        "sensor_files": ["about", "brief", "there"],
        "standings": ["Standing", "Standings", "phase_of"],
        "units": ["Datatake", "Unit", "strips"],
    },
)
