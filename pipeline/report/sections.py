"""Sections of a report: consistency, timing, failures, what was left out, where pixels are from."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import PurePath

from upath import UPath

from s2sharp_core import BANDS, METHODS

from ..catalog.addresses import public
from ..engine.ledger import Record
from ..scenes.acquisition import Acquisition
from ..ui.html import table
from ..ui.terminal import duration_text, size_text
from .consistency import Consistency
from .drawings import STATES, progress_curve
from .facts import Facts, Timing

__all__ = [
    "MAPS",
    "acquisitions_section",
    "consistency_section",
    "failures_section",
    "figure_text",
    "left_out_section",
    "mean_of",
    "plural",
    "provenance_section",
    "sensors_section",
    "timing_section",
    "without_names",
]

# Maps of single acquisitions, lines of the tables of acquisitions and failures: a page, not an archive.
MAPS, LINES = 12, 2_000
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


def without_names(text: str) -> str:
    """A message without the folders of the machine that it was written on."""
    return " ".join(
        word if "://" in word or not word.startswith("/") else f"…/{PurePath(word).name}"
        for word in text.split(" ")
    )


def failures_section(facts: Facts) -> Iterator[str]:
    if not facts.failed:
        return
    yield "<h2>What failed, and what to do</h2>"
    alike: defaultdict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in facts.failed:
        alike[record.kind, record.message].append(record)
    rows = []
    for (kind, message), some in sorted(alike.items(), key=lambda entry: -len(entry[1]))[:LINES]:
        names = ", ".join(record.unit for record in some[:3]) + (" …" if len(some) > 3 else "")
        tries = max(record.attempt for record in some)
        blamed = " ".join(filter(None, (some[0].item, some[0].band)))
        rows.append(
            [
                f"{len(some)}",
                escape(kind),
                escape(blamed),
                f"{escape(without_names(message))}<br><code>{escape(names)}</code>",
                f"{tries}",
            ]
        )
    yield table(["units", "kind", "item, band", "what, and what to do", "tries"], rows, kind="text")


def consistency_section(found: Consistency | None, missing: Mapping[str, str]) -> Iterator[str]:
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
        [
            "<b>mean</b>",
            f"<b>{mean_of(found.cube):.1f}</b>",
            "",
            f"{mean_of(found.bicubic):.1f}",
            "",
        ]
    )
    pixels = max(found.pixels.values())
    caption = f"{plural(found.windows, 'window')} spread over the run, up to {pixels:,} native pixels a band"
    yield table(["band", "this cube", "", "bicubic", ""], rows, caption)


def _bar(part: float, state: str) -> str:
    return (
        f'<svg class="bar map" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        f'<path class="{state}" d="M0 0h{100 * part:.1f}v10H0z"/></svg>'
    )


def timing_section(facts: Facts, times: Timing | None) -> Iterator[str]:
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
    facts_of = [f"{plural(times.workers, 'worker process')}."]
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


def acquisitions_section(facts: Facts) -> Iterator[str]:
    yield "<h2>Acquisitions</h2>"
    states = [state for state in STATES if facts.units.get(state)]
    rows = []
    every = sorted(facts.plan.acquisitions, key=lambda a: (a.datetime, a.epsg))
    for acquisition in every[:LINES]:
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
    if len(every) > LINES:
        yield f'<p class="quiet">The first {LINES:,} of {len(every):,}.</p>'


def sensors_section(facts: Facts) -> Iterator[str]:
    """How coarse bands relate to the 10 m bands, by datatake: where they lie, and how wide they see."""
    plan = facts.plan
    if not (plan.coarse and METHODS[plan.config.method].senses):
        return
    takes = sorted({a.take for a in plan.acquisitions})
    sensors = {take: plan.sensor(take) for take in takes[:LINES]}
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


def left_out_section(facts: Facts) -> Iterator[str]:
    plan = facts.plan
    again = [record for record in facts.records if record.attempt > 1]
    told = Counter(text for record in facts.records for text in record.warnings)
    parts = []
    if plan.refused:
        rows = [
            [escape(r.item), escape(r.kind), escape(without_names(r.message))]
            for r in plan.refused[:LINES]
        ]
        parts.append(table(["item", "kind", "why"], rows, "Items refused", kind="text long"))
    if plan.cloudy:
        names = ", ".join(map(escape, plan.cloudy[:200])) + (" …" if len(plan.cloudy) > 200 else "")
        limit = f"{plan.config.max_cloud:g} %"
        parts.append(
            f"<p>{plural(len(plan.cloudy), 'acquisition')} left out as cloudier than {limit}: {names}.</p>"
        )
    if plan.choices:
        rows = [[escape(c.item), escape(c.what), escape(c.why)] for c in plan.choices[:LINES]]
        parts.append(
            table(["item", "was", "because"], rows, "Where several would do", kind="text long")
        )
    if again:
        parts.append(f"<p>{plural(len(again), 'unit')} done in a second try or later.</p>")
    if told:
        items = "".join(
            f"<li>{escape(without_names(text))}{f' ({n} units)' if n > 1 else ''}</li>"
            for text, n in told.most_common(50)
        )
        parts.append(f"<h3>Warnings</h3><ul>{items}</ul>")
    if parts:
        yield "<h2>What was chosen, left out and tried again</h2>"
        yield from parts


def provenance_section(facts: Facts) -> Iterator[str]:
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
    yield from (_items(acquisition) for acquisition in plan.acquisitions[:LINES])
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


def plural(count: int, what: str) -> str:
    if count == 1:
        return f"1 {what}"
    return f"{count:,} {what}{'es' if what.endswith('s') else 's'}"


def figure_text(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def mean_of(values: Mapping[str, float]) -> float:
    return sum(values.values()) / len(values)
