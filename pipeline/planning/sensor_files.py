"""Files of sensors: what a measurement leaves of a datatake, and what ``s2sharp sensor`` writes and a run is given."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from s2sharp_core import S2SharpError, Sensor
from s2sharp_core.sensor.known import checked

from ..storage.files import read_text
from ..storage.location import place, store_errors
from .config import NAMED
from .plan import Plan
from .units import Datatake

if TYPE_CHECKING:
    from s2sharp_core.sensor.sensing import Sensed

__all__ = ["about", "brief", "given_sensors", "many", "there"]


def about(seen: "Sensed", windows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A sensor as it is kept: with the figures that it follows from, and the windows that were looked at."""
    return {
        "sensor": asdict(seen.sensor),
        "measured": {band: asdict(one) for band, one in seen.found.items()},
        "noise": dict(seen.noise),
        "told": list(seen.told),
        "windows": list(windows),
    }


def brief(sensor: Sensor) -> dict[str, list[float]]:
    """Return what a cube says of a sensor: band → blur, edge, shift down and right, of bands with a response of their own."""
    return {r.band: [r.blur, r.edge, r.dy, r.dx] for r in sensor.responses}


def many(sensors: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Sensors of several datatakes as one file has them."""
    return {"datatakes": dict(sensors)}


def given_sensors(sensor: str, takes: Collection[str]) -> dict[str, dict[str, Any]]:
    """The sensors that the file ``sensor`` gives for datatakes; under "" the one for all of them. Names give none.

    A file is what ``s2sharp sensor`` wrote, one of ``OUT/sensors``, or the fields of a
    :class:`~s2sharp_core.Sensor`.

    Raises
    ------
    S2SharpError
        ``bad-config`` for a file that holds no sensor, or none for one of the datatakes.
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


def there(plan: Plan, datatake: Datatake) -> bool:
    """Return whether the datatake has been measured, as this plan would."""
    try:
        kept = json.loads(read_text(plan.sensor_file(datatake.take)))
        return bool(kept["key"] == plan.sensor_key(datatake) and kept["sensor"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return False


def _sensor(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a sensor that can be sharpened with.

    Raises
    ------
    ValueError
        For none, and for one that :func:`~s2sharp_core.sensing.checked` refuses.
    """
    if not fields:
        raise ValueError("it is empty")
    try:
        return asdict(checked(Sensor.of(fields)))
    except S2SharpError as error:
        raise ValueError(error.message.rstrip(".")) from error
