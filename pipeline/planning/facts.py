"""Text about a plan and its cost, a line for each fact."""

import math
from collections import Counter

from ..engine.resources import gpus_of
from ..ui.terminal import duration_text, size_text
from .client_plan import ClientPlan
from .cost import Estimate
from .plan import Plan


def plan_facts(plan: ClientPlan, cost: Estimate) -> list[tuple[str, str]]:
    """Return the facts of a run (reads, work, needs, writes) as (name, text)."""
    found = f"{cost.acquisitions} of {cost.scenes} scenes" + _left_out(plan)
    facts = [("Acquisitions", found)]
    for layout in plan.layouts:
        height, width = layout.area.pixels(10)
        times = len(set(layout.ids).difference(plan.removed))
        cube = f"{times} × {height} × {width} px of 10 m, shards of {layout.shard * 6} px"
        facts.append((f"EPSG:{layout.epsg}", cube))
    how = f"{plan.config.method} → {' '.join(plan.config.bands)}"
    facts.append(("Method", how + (f", in {plan.precision}" if plan.precision else "")))
    facts.append(("Sensor", _sensor(plan, cost)))
    if plan.learns:
        fits = (
            f"{cost.fits} of {len(plan.datatakes)} datatakes still to be learned from, each on "
            f"{plan.config.fit_windows} windows"
        )
        steps = plan.options.steps or 1
        facts.append(("Fits", fits + (f" in {steps} steps" if steps > 1 else "")))
    done = f", {cost.units - cost.todo} of them done already" if cost.todo < cost.units else ""
    about = "" if cost.exact else "about "
    windows = f"{cost.windows} window{'' if cost.windows == 1 else 's'}"
    units = f"{about}{cost.units}{done}; {about}{windows} to sharpen"
    through = ", through the stage" if plan.staged else ", from the files"
    size = f"about {size_text(cost.delivered)} in all, the cube {size_text(cost.output)} of it"
    workers = f"{cost.workers} worker" + "s" * (cost.workers > 1)
    if cost.feeding:
        there = max(1, cost.workers // max(1, len(gpus_of(plan.config))))
        facts.append(("GPU", _fed(cost.feeding, there)))
    return [
        *facts,
        ("Units", units),
        ("Reads", f"{size_text(cost.read)} of pixels{through}"),
        ("Writes", size),
        ("Memory", f"{size_text(cost.memory)} for each worker beyond its idle size")
        if cost.memory
        else ("Memory", "none: nothing is left to do"),
        ("Time", f"about {duration_text(cost.seconds)} on {workers}"),
    ]


def _fed(needed: float, workers: int) -> str:
    """Describe whether the workers that share a GPU read and write as fast as it sharpens."""
    text = f"as fast as one sharpens, about {math.ceil(needed)} workers read and write"
    if needed <= workers:
        return text
    return f"{text}; it will wait for the {workers} that there {'is' if workers == 1 else 'are'}: more --workers share it"


def _sensor(plan: ClientPlan, cost: Estimate) -> str:
    """Describe the source of the sensor's values."""
    if plan.measures:
        return (
            f"measured on some windows of each datatake, {cost.sensors} of {len(plan.datatakes)} still to be; "
            "the default where that tells too little"
        )
    return {"measured": "of no account to this method"}.get(plan.config.sensor, plan.config.sensor)


_CHOSEN = {
    "replaced": "replaced by newer ones",
    "joined": "joined in one tile",
    "left out": "left out as Level-1C beside Level-2A",
}


def _left_out(plan: Plan) -> str:
    out = []
    if plan.removed:
        out.append(f"{len(plan.removed)} stay out, since `clean --keep` removed them")
    if plan.cloudy:
        out.append(f"{len(plan.cloudy)} left out as cloudier than {plan.config.max_cloud:g} %")
    if plan.refused:
        out.append(f"{len(plan.refused)} items refused")
    for what, count in Counter(choice.what for choice in plan.choices).items():
        out.append(f"{count} {_CHOSEN[what]}")
    return f" ({', '.join(out)})" if out else ""
