"""The report as HTML: from what a run's folder tells to one page."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import PurePath

from upath import UPath

from s2sharp_core import BANDS, METHODS

from ..catalog.addresses import public
from ..cube.layout import Layout
from ..engine.ledger import Record
from ..publish.panels import Panel
from ..scenes.acquisition import Acquisition
from ..ui.html import asset, data_uri, document, table
from ..ui.terminal import duration_text, size_text
from .consistency import Consistency
from .drawings import STATES, legend, progress_curve, shard_map
from .facts import Facts, Timing, timing
from .places import Shown, png

__all__ = [
    "render",
]

# Maps of single acquisitions, lines of the tables of acquisitions and failures: a page, not an archive.
_MAPS, _LINES = 12, 2_000
_STEPS = {"read": "reading", "net": "sharpening", "write": "writing"}
# Where and how a run was carried out, which says nothing about the result, and may be nobody else's business.
_PRIVATE = {
    "out",
    "catalog",
    "collection",
    "scheduler",
    "events",
    "metrics",
    "datetime",
    "method",
    "bands",
}
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
        *_failures(facts),
        *_consistency(found, missing),
        *_timing(facts, times),
        *_acquisitions(facts),
        *_sensors(facts),
        *_left_out(facts),
        *_provenance(facts),
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
    yield f"<h1>{_many(count, 'band')} of Sentinel-2 at 10 m</h1>"
    codes = ", ".join(f"EPSG:{layout.epsg}" for layout in plan.layouts)
    about = f"{plan.config.collection}, {plan.config.datetime}, {codes}; sharpened by {plan.config.method}"
    yield f"<p>{escape(about)}. As of {datetime.now(UTC):%Y-%m-%d %H:%M} UTC.</p></header>"
    total = units.total()
    cards = [(f"{total - units['left'] - units['failed']:,} / {total:,}", "units done")]
    cards.append((f"{units['failed']:,}", "units failed"))
    cards.append((f"{len(plan.acquisitions):,}", "acquisitions"))
    if times:
        every = facts.recorded / max(1, len(facts.records))
        cards.append((_figure(times.pixels * every * 1e-4), "km² sharpened, all dates together"))
    if found:
        mean, smooth = _mean(found.cube), _mean(found.bicubic)
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
            f"<p>{_many(facts.left, 'unit')} of work left, overviews and pictures included: the same "
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
        return "partial", f"{_many(failed, 'unit')} failed"
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
        f"<li>{escape(name)}: {escape(_nameless(text))}</li>" for name, text in missing.items()
    )
    return (
        "<p>Native bands could not be read, so that they are not set beside what was sharpened:</p>"
        f'<ul class="quiet">{items}</ul>'
    )


def _nameless(text: str) -> str:
    """A message without the folders of the machine that it was written on."""
    return " ".join(
        word if "://" in word or not word.startswith("/") else f"…/{PurePath(word).name}"
        for word in text.split(" ")
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
    if len(names) > _MAPS:
        yield f'<p class="quiet">{_MAPS} of {len(names)} acquisitions, those with something wrong first.</p>'
    yield '<div class="maps">'
    for name in names[:_MAPS]:
        acquisition = known[name]
        title = f"{acquisition.datetime[:10]} · EPSG:{acquisition.epsg}"
        drawn = shard_map(facts.plan.layout(acquisition.epsg), facts.shards[name], title)
        yield f"<figure>{drawn}<figcaption>{escape(title)}</figcaption></figure>"
    yield "</div>"


def _extent(layout: Layout) -> str:
    left, bottom, right, top = layout.asked
    rows, cols = layout.shards()
    return (
        f"{(right - left) / 1000:.4g} × {(top - bottom) / 1000:.4g} km, in {_many(rows * cols, 'shard')} of "
        f"{layout.side / 100:.3g} km; north is up."
    )


def _failures(facts: Facts) -> Iterator[str]:
    if not facts.failed:
        return
    yield "<h2>What failed, and what to do</h2>"
    alike: defaultdict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in facts.failed:
        alike[record.kind, record.message].append(record)
    rows = []
    for (kind, message), some in sorted(alike.items(), key=lambda entry: -len(entry[1]))[:_LINES]:
        names = ", ".join(record.unit for record in some[:3]) + (" …" if len(some) > 3 else "")
        tries = max(record.attempt for record in some)
        blamed = " ".join(filter(None, (some[0].item, some[0].band)))
        rows.append(
            [
                f"{len(some)}",
                escape(kind),
                escape(blamed),
                f"{escape(_nameless(message))}<br><code>{escape(names)}</code>",
                f"{tries}",
            ]
        )
    yield table(["units", "kind", "item, band", "what, and what to do", "tries"], rows, kind="text")


def _consistency(found: Consistency | None, missing: Mapping[str, str]) -> Iterator[str]:
    yield "<h2>How far to trust it</h2>"
    if found is None:
        yield "<p>No window could be compared with its native bands" + (
            ", for the reasons above.</p>" if missing else " yet.</p>"
        )
        return
    yield (
        "<p>The sharpened bands, seen again by the satellite (blurred by each band's point spread function and decimated), "
        "against what it delivered: RMSE in DN, 1/10 000 of reflectance. It tells how much was changed that was measured; "
        "it does not tell whether detail finer than the native pixel is right.</p>"
    )
    most = max(*found.cube.values(), *found.bicubic.values(), 1e-9)
    rows = [
        [band, f"{x:.1f}", _bar(x / most, "ok"), f"{y:.1f}", _bar(y / most, "cloudy")]
        for (band, x), y in zip(found.cube.items(), found.bicubic.values(), strict=True)
    ]
    rows.append(
        ["<b>mean</b>", f"<b>{_mean(found.cube):.1f}</b>", "", f"{_mean(found.bicubic):.1f}", ""]
    )
    pixels = max(found.pixels.values())
    caption = f"{_many(found.windows, 'window')} spread over the run, up to {pixels:,} native pixels a band"
    yield table(["band", "this cube", "", "bicubic", ""], rows, caption)


def _bar(part: float, state: str) -> str:
    return (
        f'<svg class="bar map" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        f'<path class="{state}" d="M0 0h{100 * part:.1f}v10H0z"/></svg>'
    )


def _timing(facts: Facts, times: Timing | None) -> Iterator[str]:
    if times is None:
        return
    yield "<h2>What it took</h2>"
    if len(facts.records) < facts.recorded:
        yield (
            f'<p class="quiet">From {len(facts.records):,} of {facts.recorded:,} records, evenly chosen.</p>'
        )
    every = facts.recorded / max(1, len(facts.records))
    rows = [
        [
            escape(_STEPS.get(step, step)),
            duration_text(spent * every),
            f"{times.pixels / spent / 1e6:.2g} Mpx/s" if spent else "",
        ]
        for step, spent in times.seconds.items()
    ]
    yield table(
        ["step", "all workers", "speed of one"], rows, "Reading and writing run beside the net"
    )
    facts_of = [f"{_many(times.workers, 'worker process')}."]
    if times.peak:
        beyond = size_text(times.peak - times.idle)
        facts_of.append(
            f"The largest took {size_text(times.peak)} of memory, {beyond} beyond its idle size."
        )
    if times.begun:
        facts_of.append(f"Records from {_moment(times.begun)} to {_moment(times.ended)} UTC.")
    yield f"<p>{' '.join(facts_of)}</p>"
    if len(times.curve) > 2 and (curve := progress_curve(times.curve)):
        yield f"<figure>{curve}<figcaption>Pixels sharpened over time, pauses left out</figcaption></figure>"


def _moment(text: str) -> str:
    return text[:19].replace("T", " ")


def _acquisitions(facts: Facts) -> Iterator[str]:
    yield "<h2>Acquisitions</h2>"
    states = [state for state in STATES if facts.units.get(state)]
    rows = []
    every = sorted(facts.plan.acquisitions, key=lambda a: (a.datetime, a.epsg))
    for acquisition in every[:_LINES]:
        count = Counter(state for _, state in facts.shards.get(acquisition.id, ()))
        tiles = " ".join(dict.fromkeys(scene.tile for scene in acquisition.scenes))
        cloud = "" if acquisition.cloud is None else f"{acquisition.cloud:.1f}"
        rows.append(
            [
                escape(acquisition.datetime.replace("T", " ")),
                escape(acquisition.take),
                f"{acquisition.epsg}",
                escape(tiles),
                cloud,
                *(f"{count[state] or ''}" for state in states),
            ]
        )
    head = ["UTC", "datatake", "EPSG", "tiles", "cloud, %", *(STATES[s] for s in states)]
    yield table(head, rows, kind="long")
    if len(every) > _LINES:
        yield f'<p class="quiet">The first {_LINES:,} of {len(every):,}.</p>'


def _sensors(facts: Facts) -> Iterator[str]:
    """How coarse bands relate to the 10 m bands, by datatake: where they lie, and how wide they see."""
    plan = facts.plan
    if not (plan.coarse and METHODS[plan.config.method].senses):
        return
    takes = sorted({a.take for a in plan.acquisitions})
    sensors = {take: plan.sensor(take) for take in takes[:_LINES]}
    yield "<h2>The sensor</h2>"
    yield f"<p>{_SENSOR}</p>"
    rows = []
    for take, sensor in sensors.items():
        cells = []
        for band in plan.coarse:
            seen, gsd = sensor.response(band), BANDS[band].gsd
            own = any(r.band == band for r in sensor.responses)
            shift = f"{seen.dy * gsd:+.1f}, {seen.dx * gsd:+.1f}" if own else "default"
            cells.append(f"{seen.blur * gsd:.1f}; {shift}")
        rows.append([escape(take), *cells])
    yield table(["datatake", *plan.coarse], rows, kind="long")


_SENSOR = (
    "Of each coarse band against the 10 m bands of the same product: the blur, and the shift (down, right), in metres. "
    "Where a datatake told too little of a band, the instrument's default kernel is used, in place."
)


def _left_out(facts: Facts) -> Iterator[str]:
    plan = facts.plan
    again = [record for record in facts.records if record.attempt > 1]
    told = Counter(text for record in facts.records for text in record.warnings)
    parts = []
    if plan.refused:
        rows = [
            [escape(r.item), escape(r.kind), escape(_nameless(r.message))]
            for r in plan.refused[:_LINES]
        ]
        parts.append(table(["item", "kind", "why"], rows, "Items refused", kind="text long"))
    if plan.cloudy:
        names = ", ".join(map(escape, plan.cloudy[:200])) + (" …" if len(plan.cloudy) > 200 else "")
        limit = f"{plan.config.max_cloud:g} %"
        parts.append(
            f"<p>{_many(len(plan.cloudy), 'acquisition')} left out as cloudier than {limit}: {names}.</p>"
        )
    if plan.choices:
        rows = [[escape(c.item), escape(c.what), escape(c.why)] for c in plan.choices[:_LINES]]
        parts.append(
            table(["item", "was", "because"], rows, "Where several would do", kind="text long")
        )
    if again:
        parts.append(f"<p>{_many(len(again), 'unit')} done in a second try or later.</p>")
    if told:
        items = "".join(
            f"<li>{escape(_nameless(text))}{f' ({n} units)' if n > 1 else ''}</li>"
            for text, n in told.most_common(50)
        )
        parts.append(f"<h3>Warnings</h3><ul>{items}</ul>")
    if parts:
        yield "<h2>What was chosen, left out and tried again</h2>"
        yield from parts


def _provenance(facts: Facts) -> Iterator[str]:
    plan, config = facts.plan, facts.plan.config
    yield "<h2>Where it is from</h2>"
    rows = [
        ["catalogue", escape(_public(config.catalog))],
        ["collection", escape(config.collection)],
        ["time", escape(config.datetime)],
        ["method", f"{escape(config.method)} → {' '.join(config.bands)}"],
        ["computed in", escape(plan.precision or "(nothing to compute)")],
        ["software", escape(f"s2sharp {plan.software}")],
    ]
    rows += [
        [f"weights {escape(name)}", f"<code>sha256 {escape(digest)}</code>"]
        for name, digest in {**plan.weights, **plan.start}.items()
    ]
    if plan.learns:
        rows.append(
            ["fits", f"one per datatake, {len(plan.datatakes)} of them, in <code>fits/</code>"]
        )
    settings = config.model_dump(exclude_defaults=True, exclude=_PRIVATE)
    for name, value in settings.items():
        if isinstance(value, PurePath | UPath):
            value = value.name
        elif isinstance(value, tuple):
            value = " ".join(map(str, value))
        elif name == "sensor":
            value = PurePath(value).name
        rows.append([f"--{escape(name.replace('_', '-'))}", escape(str(value))])
    yield table(["", ""], rows, kind="text plain")
    yield "<details><summary>Items, by acquisition</summary>"
    yield from (_items(acquisition) for acquisition in plan.acquisitions[:_LINES])
    yield "</details>"


def _items(acquisition: Acquisition) -> str:
    names = []
    for scene in acquisition.scenes:
        href = public(scene.href or "")
        web = href.startswith(("https://", "http://"))
        name = escape(scene.id)
        names.append(f'<a href="{escape(href)}" rel="noreferrer">{name}</a>' if web else name)
    return f'<p class="quiet">{escape(acquisition.id)}: {", ".join(names)}</p>'


def _public(catalog: str) -> str:
    return public(catalog) if "://" in catalog else f"{PurePath(catalog).name} (a local file)"


def _many(count: int, what: str) -> str:
    if count == 1:
        return f"1 {what}"
    return f"{count:,} {what}{'es' if what.endswith('s') else 's'}"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _mean(values: Mapping[str, float]) -> float:
    return sum(values.values()) / len(values)
