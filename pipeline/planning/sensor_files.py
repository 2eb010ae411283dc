"""Files of sensors: those of a run's measurements, and those that ``s2sharp sensor`` writes for a run."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from s2sharp_core import S2SharpError, Sensor
from s2sharp_core.sensor.response import checked

from ..storage.files import read_text
from ..storage.location import place, store_errors
from .config import NAMED
from .plan import Plan
from .units import Datatake

if TYPE_CHECKING:
    from s2sharp_core.sensor.estimation import SensorEstimate


def file_content(seen: "SensorEstimate", windows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a sensor for its file, with its measured figures and the windows that were read."""
    return {
        "sensor": asdict(seen.sensor),
        "measured": {band: asdict(one) for band, one in seen.found.items()},
        "noise": dict(seen.noise),
        "told": list(seen.told),
        "windows": list(windows),
    }


def cube_attributes(sensor: Sensor) -> dict[str, list[float]]:
    """Return a sensor for a cube's attributes: band → blur, edge, shift down and right, for bands with their own response."""
    return {r.band: [r.blur, r.edge, r.dy, r.dx] for r in sensor.responses}


def given_sensors(sensor: str, takes: Collection[str]) -> dict[str, dict[str, Any]]:
    """Return the sensors that the file ``sensor`` gives for datatakes; under "" the one for all of them. Names give none.

    The file is from ``s2sharp sensor`` or ``OUT/sensors``, or has the fields of a :class:`~s2sharp_core.Sensor`.

    Error: ``bad-config`` for a file without a sensor, or without one for a datatake.
    """
    if sensor in ("measured", *NAMED):
        return {}
    try:
        content = json.loads(read_text(place(sensor)))
        if "datatakes" not in content:
            return {"": _sensor(content.get("sensor", content))}
        given = content["datatakes"]
        found = {take: _sensor(given[take]["sensor"]) for take in takes if take in given}
    except store_errors(ValueError, KeyError, TypeError, AttributeError) as error:
        raise S2SharpError(
            "bad-config",
            f"{sensor} holds no sensor: {error}.",
            f"Write one with `s2sharp sensor … --out FILE`, or choose measured, {' or '.join(NAMED)}.",
        ) from error
    missing = sorted(take for take in takes if take not in found)
    if missing:
        raise S2SharpError(
            "bad-config",
            f"{sensor} holds no sensor of {', '.join(missing[:3])}{' …' if missing[3:] else ''}.",
            "Measure them, too (`s2sharp sensor … --out FILE`), or leave --sensor out.",
        )
    return {take: found[take] for take in sorted(takes)}


def is_measured(plan: Plan, datatake: Datatake) -> bool:
    """Return whether the datatake has been measured under this plan's key."""
    try:
        kept = json.loads(read_text(plan.sensor_file(datatake.take)))
        return bool(kept["key"] == plan.sensor_key(datatake) and kept["sensor"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return False


def _sensor(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a valid sensor; ``ValueError`` if there are none, or they are not valid."""
    if not fields:
        raise ValueError("it is empty")
    try:
        return asdict(checked(Sensor.of(fields)))
    except S2SharpError as error:
        raise ValueError(error.message.rstrip(".")) from error
