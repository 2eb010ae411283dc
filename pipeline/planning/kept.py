"""Files beside a run's plan, for workers: frozen acquisitions, and measured sensors."""

import json

from pydantic import TypeAdapter

from s2sharp_core.sensor.known import Sensor

from ..scenes.acquisition import Acquisition
from ..storage.files import read_text, write_text
from ..storage.location import Location

_ACQUISITION = TypeAdapter(Acquisition)


def kept_sensor(file: Location) -> Sensor | None:
    """Return a measured sensor; None if there is none, or its file is torn."""
    try:
        return Sensor.of(json.loads(read_text(file))["sensor"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def freeze_acquisition(out: Location, acquisition: Acquisition) -> None:
    """Write an acquisition for the workers, before its first unit."""
    file = _acquisition_file(out, acquisition.id)
    text = _ACQUISITION.dump_json(acquisition, indent=1).decode()
    if not file.exists() or read_text(file) != text:
        write_text(file, text)


def thawed(out: Location, name: str) -> Acquisition:
    """Read a frozen acquisition."""
    return _ACQUISITION.validate_json(read_text(_acquisition_file(out, name)))


def _acquisition_file(out: Location, name: str) -> Location:
    return out / "acquisitions" / f"{name}.json"
