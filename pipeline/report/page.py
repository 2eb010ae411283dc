"""The report as HTML, rendered from the facts of a run."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ..catalog.addresses import public
from ..cube.layout import Layout
from ..ui.html import asset, document, plural
from ..ui.terminal import size_text
from .drawings import STATES, ShardMap, progress_curve, shard_map
from .facts import Facts, Timing, timing
from .places import Shown, png
from .sections import LINES, acquisitions, failures, provenance, sensors, steps, without_folders

if TYPE_CHECKING:
    from .consistency import Consistency

# Largest number of maps of single acquisitions, to limit the page.
_MAPS = 12


def render(
    facts: Facts,
    shown: Sequence[Shown],
    missing: Mapping[str, str],
    found: "Consistency | None",
    behind: Mapping[int, bytes],
    *,
    brief: bool = False,
) -> str:
    """Render one self-contained page.

    ``shown``: places, before and after. ``missing``: item and band → reason why a native band could not be read.
    ``found``: the consistency figure, if there is one; ``brief``: whether it was not requested. ``behind``: EPSG code →
    PNG of its area, for the background of its map.
    """
    plan, times = facts.plan, timing(facts.records)
    state, said = _state(facts)
    return document(
        "s2sharp.report/report.html.j2",
        asset("s2sharp.report", "report.css"),
        asset("s2sharp.report", "report.js"),
        title=f"s2sharp: {plan.config.collection}, {plan.config.datetime}",
        plan=plan,
        facts=facts,
        state=state,
        said=said,
        now=datetime.now(UTC),
        cards=list(_cards(facts, times, found)),
        shown=shown,
        missing=missing,
        states=STATES,
        maps=list(_maps(facts, behind)),
        small_maps=list(_small_maps(facts)),
        failures=failures(facts),
        found=found,
        brief=brief,
        times=times,
        steps=steps(facts, times) if times else [],
        progress=progress_curve(times.curve) if times else None,
        acquisitions=acquisitions(facts),
        lines=LINES,
        sensors=sensors(plan),
        again=sum(record.attempt > 1 for record in facts.records),
        warnings=Counter(text for r in facts.records for text in r.warnings).most_common(50),
        provenance=provenance(plan),
        mean=_mean,
        nameless=without_folders,
        png=png,
        public=public,
        where=_where,
    )


def _cards(
    facts: Facts, times: Timing | None, found: "Consistency | None"
) -> Iterator[tuple[str, str]]:
    """Yield figures with their captions."""
    units, total = facts.units, facts.units.total()
    yield f"{total - units['left'] - units['failed']:,} / {total:,}", "units done"
    yield f"{units['failed']:,}", "units failed"
    yield f"{len(facts.plan.present):,}", "acquisitions"
    if times:
        area = 1e-4 * times.pixels * facts.recorded / max(1, len(facts.records))
        figure = f"{area:,.0f}" if area >= 100 else f"{area:.3g}"
        yield figure, "km² sharpened, all dates together"
    if found:
        smooth = f"(bicubic {_mean(found.bicubic):.1f})"
        yield f"{_mean(found.cube):.1f} DN", f"from the measurement, after degradation {smooth}"
    if times and times.peak:
        yield size_text(times.peak), "memory of the largest worker"


def _state(facts: Facts) -> tuple[str, str]:
    """Return a class and a word for the progress of the run."""
    failed = sum(count["failed"] for count in facts.phases.values())
    if facts.running:
        return "running", "a run is at work"
    if facts.cube == "missing":
        return "stopped", "not begun"
    if facts.cube == "writing":
        return "stopped", "stopped before its end"
    if failed:
        return "partial", f"{plural(failed, 'unit')} failed"
    return ("partial", "units left") if facts.left else ("complete", "complete")


def _where(place: Shown) -> str:
    height, width = place.metres
    where = (
        f"{abs(place.lat):.4f}° {'NS'[place.lat < 0]}, {abs(place.lon):.4f}° {'EW'[place.lon < 0]}"
    )
    size = f"{width / 1000:.1f} × {height / 1000:.1f} km"
    return f"{place.acquisition.datetime[:10]} · {where} · {size} · EPSG:{place.acquisition.epsg}"


def _maps(facts: Facts, behind: Mapping[int, bytes]) -> Iterator[tuple[ShardMap, str]]:
    """Yield a map of each code, and its size."""
    for layout in facts.plan.layouts:
        own = [(u, s) for some in facts.shards.values() for u, s in some if u.epsg == layout.epsg]
        several = len({unit.time for unit, _ in own}) > 1
        title = f"EPSG:{layout.epsg}" + (
            ": the worst state of each shard over all dates" if several else ""
        )
        yield shard_map(layout, own, title, behind.get(layout.epsg)), _extent(layout)


def _small_maps(facts: Facts) -> Iterator[ShardMap]:
    """Yield a map of each acquisition, those with failures first."""

    def trouble(name: str) -> tuple[int, int, str]:
        count = Counter(state for _, state in facts.shards[name])
        return -count["failed"], -count["left"], name

    known = {a.id: a for a in facts.plan.present}
    for name in sorted(facts.shards, key=trouble)[:_MAPS]:
        acquisition = known[name]
        title = f"{acquisition.datetime[:10]} · EPSG:{acquisition.epsg}"
        yield shard_map(facts.plan.layout(acquisition.epsg), facts.shards[name], title)


def _extent(layout: Layout) -> str:
    left, bottom, right, top = layout.asked
    rows, cols = layout.shards()
    return (
        f"{(right - left) / 1000:.4g} × {(top - bottom) / 1000:.4g} km, in {plural(rows * cols, 'shard')} of "
        f"{layout.side / 100:.3g} km; north is up."
    )


def _mean(values: Mapping[str, float]) -> float:
    return sum(values.values()) / len(values)
