"""Tables of a report: failures, timing, acquisitions, sensors, sources of pixels."""

from collections import Counter, defaultdict
from pathlib import PurePath

from upath import UPath

from s2sharp_core import BANDS, METHODS

from ..catalog.addresses import public
from ..engine.ledger import Record
from ..planning.client_plan import ClientPlan
from ..ui.terminal import duration_text
from .drawings import STATES
from .facts import Facts, Timing

LINES = 2_000
"""Largest number of rows in the tables of acquisitions and failures, to limit the page."""

_STEPS = {"read": "reading", "prepare": "preparing", "net": "sharpening", "write": "writing"}
# Settings with lines of their own, and those about the place and manner of a run, which do not describe the result and
# may be private.
_TOLD = {"catalog", "collection", "datetime", "method", "bands"}
_PRIVATE = {"out", "scheduler", "events", "metrics"}


def without_folders(text: str) -> str:
    """Return a message without local folders."""
    return " ".join(
        word if "://" in word or not word.startswith("/") else f"…/{PurePath(word).name}"
        for word in text.split(" ")
    )


def failures(facts: Facts) -> list[list[Record]]:
    """Return records grouped by equal message, the largest group first."""
    alike: defaultdict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in facts.failed:
        alike[record.kind, record.message].append(record)
    return sorted(alike.values(), key=len, reverse=True)[:LINES]


def steps(facts: Facts, times: Timing) -> list[list[str]]:
    """Return the time of each step."""
    every = facts.recorded / max(1, len(facts.records))
    return [
        [
            _STEPS.get(step, step),
            duration_text(spent * every),
            _speed(times.pixels / spent / 1e6) if spent else "",
        ]
        for step, spent in times.seconds.items()
    ]


def _speed(megapixels: float) -> str:
    """Format a speed: two digits if slow, whole numbers if fast."""
    return f"{megapixels:,.0f} Mpx/s" if megapixels >= 10 else f"{megapixels:.2g} Mpx/s"


def acquisitions(facts: Facts) -> tuple[list[str], list[list[str]]]:
    """Return head and rows: the sources of each acquisition, and its units by state."""
    states = [state for state in STATES if facts.units.get(state)]
    rows = []
    every = sorted(facts.plan.present, key=lambda a: (a.datetime, a.epsg))
    for acquisition in every[:LINES]:
        count = Counter(state for _, state in facts.shards.get(acquisition.id, ()))
        rows.append(
            [
                acquisition.datetime.replace("T", " "),
                acquisition.take,
                f"{acquisition.epsg}",
                " ".join(dict.fromkeys(scene.tile for scene in acquisition.scenes)),
                "" if acquisition.cloud is None else f"{acquisition.cloud:.1f}",
                *(f"{count[state] or ''}" for state in states),
            ]
        )
    return ["UTC", "datatake", "EPSG", "tiles", "cloud, %", *(STATES[s] for s in states)], rows


def sensors(plan: ClientPlan) -> list[list[str]]:
    """Return the relation of coarse bands to the 10 m bands, by datatake: blur and shift."""
    if not (plan.coarse and METHODS[plan.config.method].senses):
        return []
    rows = []
    for take in sorted({a.take for a in plan.acquisitions})[:LINES]:
        sensor, cells = plan.sensor(take), []
        for band in plan.coarse:
            seen, gsd = sensor.response(band), BANDS[band].gsd
            own = any(r.band == band for r in sensor.responses)
            shift = f"{seen.dy * gsd:+.1f}, {seen.dx * gsd:+.1f}" if own else "default"
            cells.append(f"{seen.blur * gsd:.1f}; {shift}")
        rows.append([take, *cells])
    return rows


def provenance(plan: ClientPlan) -> list[tuple[str, str]]:
    """Return catalog, method, weights and settings: everything that determines the pixels."""
    config = plan.config
    catalog = f"{PurePath(config.catalog).name} (a local file)"
    if "://" in config.catalog:
        catalog = public(config.catalog)
    rows = [
        ("catalog", catalog),
        ("collection", config.collection),
        ("time", config.datetime),
        ("method", f"{config.method} → {' '.join(config.bands)}"),
        ("computed in", plan.precision or "(nothing to compute)"),
        ("software", f"s2sharp {plan.software}"),
    ]
    weights = {**plan.weights, **plan.start}
    rows += [(f"weights {name}", f"sha256 {digest}") for name, digest in weights.items()]
    if plan.learns:
        rows.append(("fits", f"one per datatake, {len(plan.datatakes)} of them, in "))
    settings = config.model_dump(exclude_defaults=True, exclude=_TOLD | _PRIVATE)
    for name, value in settings.items():
        if isinstance(value, PurePath | UPath):
            value = value.name
        elif isinstance(value, tuple):
            value = " ".join(map(str, value))
        elif name == "sensor":
            value = PurePath(value).name
        rows.append((f"--{name.replace('_', '-')}", str(value)))
    return rows
