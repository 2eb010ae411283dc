"""Text about the plan of a mosaic and its cost, a line for each fact."""

from ..ui.terminal import duration_text, size_text
from .cost import Estimate
from .plan import MosaicPlan


def plan_facts(plan: MosaicPlan, cost: Estimate) -> list[tuple[str, str]]:
    """Return the facts of a mosaic (grid, reads, work, needs, writes) as (name, text)."""
    config = plan.config
    height, width = plan.area.shape
    unit = "m" if plan.grid.metres == plan.grid.resolution else "units"
    shared = [group.epsg for group in plan.cube.groups.values() if group.grid == plan.grid]
    pixels = [f"copied from EPSG:{epsg}" for epsg in shared]
    if len(plan.cube.groups) > len(shared):
        pixels.append(f"{'others ' if shared else ''}resampled ({config.resampling})")
    names = [period.name for period in plan.periods]
    shown = ", ".join(names if len(names) <= 4 else [*names[:2], "…", names[-1]])
    codes = ", ".join(str(code) for code in plan.cube.groups)
    done = cost.units - cost.todo
    workers = f"{cost.workers} worker" + "s" * (cost.workers > 1)
    return [
        (
            "Grid",
            f"{plan.grid.crs[:40]}, {height} × {width} px of {plan.grid.resolution:g} {unit}, in tiles of "
            f"{plan.side} px",
        ),
        ("Pixels", ", ".join(pixels)),
        ("Periods", f"{len(names)}: {shown}"),
        (
            "From",
            f"{len(plan.sources)} acquisitions in EPSG {codes}; at most {cost.most} datatakes in a tile",
        ),
        ("How", f"{config.by} of pixels {config.dilate:g} m away from cloud and shadow"),
        ("Tiles", f"{cost.units}" + (f", {done} of them done already or empty" if done else "")),
        ("Reads", f"about {size_text(cost.read)} of pixels"),
        ("Writes", f"about {size_text(cost.delivered)}, the store {size_text(cost.output)} of it"),
        ("Memory", f"{size_text(cost.memory)} for each worker beyond its idle size"),
        ("Time", f"about {duration_text(cost.seconds)} on {workers}"),
    ]
