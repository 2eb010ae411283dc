"""The report as HTML: from what a run's folder tells to one page."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from html import escape

from ..cube.layout import Layout
from ..publish.panels import Panel
from ..ui.html import asset, data_uri, document
from ..ui.terminal import size_text
from .consistency import Consistency
from .drawings import legend, shard_map
from .facts import Facts, Timing, timing
from .places import Shown, png
from .sections import (
    MAPS,
    acquisitions_section,
    consistency_section,
    failures_section,
    figure_text,
    left_out_section,
    mean_of,
    plural,
    provenance_section,
    sensors_section,
    timing_section,
    without_names,
)

__all__ = ["render"]

_CREDIT = "Contains modified Copernicus Sentinel data."


def render(
    facts: Facts,
    shown: Sequence[Shown],
    missing: Mapping[str, str],
    found: Consistency | None,
    behind: Mapping[int, bytes],
) -> str:
    """One page that holds all it shows.

    Parameters
    ----------
    shown
        Places, before and after.
    missing
        Item and band → why a native band could not be read.
    found
        The consistency figure, if there is one.
    behind
        EPSG code → PNG of its area, to lie behind its map.
    """
    plan = facts.plan
    times = timing(facts.records)
    body = [
        *_head(facts, times, found),
        *_shown(shown, missing),
        *_maps(facts, behind),
        *failures_section(facts),
        *consistency_section(found, missing),
        *timing_section(facts, times),
        *acquisitions_section(facts),
        *sensors_section(facts),
        *left_out_section(facts),
        *provenance_section(facts),
    ]
    if "sentinel" in plan.config.collection:
        body.append(f'<p class="quiet">{_CREDIT}</p>')
    return document(
        f"s2sharp: {plan.config.collection}, {plan.config.datetime}",
        body,
        asset("s2sharp.report", "report.css"),
        asset("s2sharp.report", "report.js"),
    )


def _head(facts: Facts, times: Timing | None, found: Consistency | None) -> Iterator[str]:
    plan, units = facts.plan, facts.units
    state, said = _state(facts)
    yield f'<header><p class="badge {state}">{said}</p>'
    count = len(plan.config.bands)
    yield f"<h1>{plural(count, 'band')} of Sentinel-2 at 10 m</h1>"
    codes = ", ".join(f"EPSG:{layout.epsg}" for layout in plan.layouts)
    about = f"{plan.config.collection}, {plan.config.datetime}, {codes}; sharpened by {plan.config.method}"
    yield f"<p>{escape(about)}. As of {datetime.now(UTC):%Y-%m-%d %H:%M} UTC.</p></header>"
    total = units.total()
    cards = [(f"{total - units['left'] - units['failed']:,} / {total:,}", "units done")]
    cards.append((f"{units['failed']:,}", "units failed"))
    cards.append((f"{len(plan.acquisitions):,}", "acquisitions"))
    if times:
        every = facts.recorded / max(1, len(facts.records))
        cards.append(
            (figure_text(times.pixels * every * 1e-4), "km² sharpened, all dates together")
        )
    if found:
        mean, smooth = mean_of(found.cube), mean_of(found.bicubic)
        cards.append(
            (f"{mean:.1f} DN", f"off what the satellite saw, seen again (bicubic {smooth:.1f})")
        )
    if times and times.peak:
        cards.append((size_text(times.peak), "memory of the largest worker"))
    yield '<dl class="cards">'
    yield from (f"<div><dt>{what}</dt><dd>{figure}</dd></div>" for figure, what in cards)
    yield "</dl>"
    if facts.left and not facts.running:
        yield (
            f"<p>{plural(facts.left, 'unit')} of work left, overviews and pictures included: the same "
            "<code>s2sharp run</code> command does them, and nothing twice.</p>"
        )


def _state(facts: Facts) -> tuple[str, str]:
    """A class and a word for how far the run is."""
    failed = facts.phases and sum(count["failed"] for count in facts.phases.values())
    if facts.running:
        return "running", "a run is at work"
    if facts.cube == "missing":
        return "stopped", "not begun"
    if facts.cube == "writing":
        return "stopped", "stopped before its end"
    if failed:
        return "partial", f"{plural(failed, 'unit')} failed"
    return ("partial", "units left") if facts.left else ("complete", "complete")


def _shown(shown: Sequence[Shown], missing: Mapping[str, str]) -> Iterator[str]:
    yield "<h2>Before and after</h2>"
    if not shown:
        yield "<p>There is nothing to show yet: no unit with pixels is done.</p>"
        return
    yield (
        '<p class="quiet">The places that show most, of the clearest acquisitions. Move the slider: on its '
        "left the bands as the satellite delivered them, on its right as sharpened. Pixels are shown as they are, with one "
        "stretch for both.</p>"
    )
    if missing:
        yield _why(missing)
    for place in shown:
        height, width = place.metres
        where = f"{abs(place.lat):.4f}° {'NS'[place.lat < 0]}, {abs(place.lon):.4f}° {'EW'[place.lon < 0]}"
        size = f"{width / 1000:.1f} × {height / 1000:.1f} km"
        title = (
            f"{place.acquisition.datetime[:10]} · {where} · {size} · EPSG:{place.acquisition.epsg}"
        )
        figures = [_compare(*both) for both in place.pairs]
        if place.orientation:
            figures.append(_picture(place.orientation))
        rows = [figures, [_picture(panel) for panel in place.trust]]
        drawn = "".join(f"<div>{''.join(row)}</div>" for row in rows if row)
        yield f'<section class="place"><h3>{escape(title)}</h3>{drawn}</section>'


def _why(missing: Mapping[str, str]) -> str:
    """Why native bands are not shown."""
    items = "".join(
        f"<li>{escape(name)}: {escape(without_names(text))}</li>" for name, text in missing.items()
    )
    return (
        "<p>Native bands could not be read, so that they are not set beside what was sharpened:</p>"
        f'<ul class="quiet">{items}</ul>'
    )


def _picture(panel: Panel) -> str:
    alt = escape(f"{panel.caption}: {panel.bands}")
    return (
        f'<figure><img alt="{alt}" src="{data_uri(png(panel.image))}">'
        f"<figcaption>{escape(panel.caption)} · {escape(panel.bands)}</figcaption></figure>"
    )


def _compare(before: Panel, after: Panel) -> str:
    title, _, left = before.caption.partition(", ")
    right = after.caption.partition(", ")[2]
    return (
        '<figure><div class="compare">'
        f'<img class="after" alt="{escape(after.caption)}" src="{data_uri(png(after.image))}">'
        f'<img class="before" alt="{escape(before.caption)}" src="{data_uri(png(before.image))}">'
        f'<span class="chip">{escape(left)}</span><span class="chip right">{escape(right)}</span>'
        '<input type="range" min="0" max="100" step="0.5" value="50" '
        f'aria-label="{escape(title)}: how much is shown as delivered, in per cent"></div>'
        f"<figcaption>{escape(title)} · {escape(before.bands)}</figcaption></figure>"
    )


def _maps(facts: Facts, behind: Mapping[int, bytes]) -> Iterator[str]:
    yield f"<h2>Where it stands</h2>{legend(facts.units)}"
    for layout in facts.plan.layouts:
        own = [(u, s) for some in facts.shards.values() for u, s in some if u.epsg == layout.epsg]
        several = len({unit.time for unit, _ in own}) > 1
        title = f"EPSG:{layout.epsg}" + (
            ": of each shard the worst of all dates" if several else ""
        )
        drawn = shard_map(layout, own, title, behind.get(layout.epsg))
        yield f"<figure>{drawn}<figcaption>{escape(title)}. {_extent(layout)}</figcaption></figure>"
    if len(facts.shards) > 1:
        yield from _small_maps(facts)


def _small_maps(facts: Facts) -> Iterator[str]:
    """A map of each acquisition, those with something wrong first."""

    def trouble(name: str) -> tuple[int, int, str]:
        count = Counter(state for _, state in facts.shards[name])
        return -count["failed"], -count["left"], name

    known = {a.id: a for a in facts.plan.acquisitions}
    names = sorted(facts.shards, key=trouble)
    if len(names) > MAPS:
        yield f'<p class="quiet">{MAPS} of {len(names)} acquisitions, those with something wrong first.</p>'
    yield '<div class="maps">'
    for name in names[:MAPS]:
        acquisition = known[name]
        title = f"{acquisition.datetime[:10]} · EPSG:{acquisition.epsg}"
        drawn = shard_map(facts.plan.layout(acquisition.epsg), facts.shards[name], title)
        yield f"<figure>{drawn}<figcaption>{escape(title)}</figcaption></figure>"
    yield "</div>"


def _extent(layout: Layout) -> str:
    left, bottom, right, top = layout.asked
    rows, cols = layout.shards()
    return (
        f"{(right - left) / 1000:.4g} × {(top - bottom) / 1000:.4g} km, in {plural(rows * cols, 'shard')} of "
        f"{layout.side / 100:.3g} km; north is up."
    )
