"""Plan of a run, frozen in one file that every worker reads; its units and their keys."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cached_property, lru_cache, partial
from typing import Any

from pydantic import Field, PrivateAttr

from s2sharp_core import BANDS
from s2sharp_core.lattice import Box
from s2sharp_core.learning.options import FitOptions
from s2sharp_core.sensor.response import Sensor

from ..cube.layout import Layout
from ..engine.frozen_plan import Frozen
from ..scenes.acquisition import Acquisition, Choice
from ..scenes.file_versions import Versions
from ..scenes.scene import Refusal
from ..storage.files import read_text
from ..storage.location import Location
from .acquisition_files import frozen_acquisition
from .area import AREA
from .config import RunConfig
from .method import base_sensor, fitted_weights, options_of
from .units import Datatake, Unit, unit_name, unit_named

ARITHMETIC = 3
"""Version of the arithmetic around the nets (reading, radiometry, gaps, masks, encoding, overviews), a part of every key.

It is raised whenever the same files give other values, so that no cube mixes both; ``tests/pipeline/test_arithmetic.py``
fails if that was forgotten. A net has a version of its own, :data:`~s2sharp_core.sharpeners.base.Sharpener.results`.
"""


class Plan(Frozen):
    """A run, frozen: written as ``run.json`` before the first unit, read by every worker.

    ``weights``, and those that fits ``start`` from: file → sha256. ``learns``: whether the method is fitted to each datatake
    first; ``measures``: whether the sensor of each is measured before. ``sensors``: those from a file, by datatake, or under
    "" for all. ``grown``: whether the area has changed since the cube was begun. ``repairs``: names of units to make anew,
    whatever the query. ``removed``: ids of acquisitions that were removed from the cube; their times stay, without data.
    ``offsets``: item → offset that fits its pixels (``--trust-offset pixels``); ``turns``: number of changes of that option.
    ``numbers``: acquisition → ids of its items by number, if they have changed. ``asked``: ids of the acquisitions of the
    latest query, the only ones to work on.

    A year of a continent has tens of thousands of scenes. Only the client has them all
    (:class:`~s2sharp.planning.client_plan.ClientPlan`); it writes an acquisition for the workers before its first unit.
    """

    FILE = "run.json"
    FLAG = "--out"

    software: str
    config: RunConfig
    asked: tuple[str, ...]
    numbers: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    offsets: dict[str, float] = Field(default_factory=dict)
    turns: int = 0
    learns: bool
    measures: bool
    sensors: dict[str, dict[str, Any]] = Field(default_factory=dict)
    cloudy: tuple[str, ...]
    refused: tuple[Refusal, ...]
    choices: tuple[Choice, ...]
    layouts: tuple[Layout, ...]
    reads: tuple[str, ...]
    margin: int
    digest: str
    weights: dict[str, str]
    start: dict[str, str]
    precision: str
    device: str
    shape: str
    staged: bool
    grown: bool = False
    repairs: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    _seen: Versions = PrivateAttr(default_factory=Versions)

    @property
    def seen(self) -> Versions:
        """Versions of the files that this process has read for the run."""
        return self._seen

    @property
    def out(self) -> Location:
        return self.config.out

    @property
    def folder(self) -> Location:
        return self.out

    def settled(self, folder: Location) -> "Plan":
        """Return the plan with the folder where it lies now."""
        here = {"out": folder, "area": folder / AREA} if self.config.area else {"out": folder}
        return self.model_copy(update={"config": self.config.model_copy(update=here)})

    @property
    def store(self) -> Location:
        return self.config.out / "cube.zarr"

    def layout(self, epsg: int) -> Layout:
        return next(layout for layout in self.layouts if layout.epsg == epsg)

    @property
    def files(self) -> tuple[str, ...]:
        """Bands to read: for the method, and to deliver as measured."""
        return (*self.reads, *self.config.native)

    @property
    def coarse(self) -> tuple[str, ...]:
        """Bands to sharpen."""
        return tuple(band for band in self.config.bands if BANDS[band].gsd > 10)

    @property
    def options(self) -> FitOptions:
        """Options of the method's fit."""
        return options_of(self.config)

    def sensor(self, take: str) -> Sensor:
        """Return the sensor of a datatake: the known one before it is measured, and if that failed."""
        if self.measures:
            found = self._measured.get(take) or _kept_sensor(self.sensor_file(take))
            if found:
                self._measured[take] = found
        else:
            given = self.sensors.get(take) or self.sensors.get("")
            found = Sensor.of(given) if given else None
        return found or base_sensor(self.config.sensor)

    @property
    def own_sensors(self) -> bool:
        """True if datatakes may have sensors of their own."""
        return self.measures or bool(self.sensors)

    def sensor_file(self, take: str) -> Location:
        """Return the file of a datatake's sensor."""
        return self.out / "sensors" / f"{take}.json"

    def sensor_name(self, datatake: Datatake) -> str:
        """Return a measurement's path in the ledger."""
        return f"sensors/{datatake.take}"

    def sensor_key(self, datatake: Datatake) -> str:
        """Return the key of a measurement. The datatake's items are left out, so that late tiles do not change it."""
        facts = [datatake.take, self.reads, self.config.seed, self.software]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def fit_folder(self, take: str) -> Location | None:
        """Return the folder of a datatake's weights, if the method is fitted to it."""
        return self.out / "fits" / take if self.learns else None

    def fit_name(self, datatake: Datatake) -> str:
        """Return a fit's path in the ledger."""
        return f"fits/{datatake.take}"

    def sample_key(self, datatake: Datatake) -> str:
        """Return the key of a fit's sample: a digest of the datatake's items, the method and its options."""
        scenes = [scene.digest for a in datatake.acquisitions for scene in a.scenes]
        text = json.dumps([self.digest, self.precision, scenes])
        return hashlib.sha256(text.encode()).hexdigest()

    def fit_key(self, datatake: Datatake) -> str:
        """Return the key of a fit: a digest of its sample and the sensor."""
        text = json.dumps([self.sample_key(datatake), asdict(self.sensor(datatake.take))])
        return hashlib.sha256(text.encode()).hexdigest()

    def weights_of(self, take: str) -> dict[str, str]:
        """Return the weights of a datatake, file → sha256; empty before its fit."""
        folder = self.fit_folder(take)
        return dict(self.weights) if folder is None else fitted_weights(folder)

    @property
    def levels(self) -> int:
        """Largest number of overviews of a group."""
        return max(layout.levels for layout in self.layouts)

    def wanted(self, unit: Unit) -> Box:
        """Return the requested cells of a unit."""
        layout = self.layout(unit.epsg)
        if unit.level < 0:
            return layout.area
        return layout.cells(unit.row, unit.col, unit.level) & layout.area

    def acquisition(self, unit: Unit) -> Acquisition:
        """Return the acquisition of a unit, as frozen for the workers."""
        return self._thawed(self.acquisition_id(unit))

    @cached_property
    def _thawed(self) -> Callable[[str], Acquisition]:
        """Cached reader of acquisitions by id; a worker has units of a few at once."""
        return lru_cache(maxsize=8)(partial(frozen_acquisition, self.out))

    @cached_property
    def _measured(self) -> dict[str, Sensor]:
        """Cache of measured sensors by datatake."""
        return {}

    def acquisition_id(self, unit: Unit) -> str:
        return self.layout(unit.epsg).ids[unit.time]

    def name(self, unit: Unit) -> str:
        """Return a unit's path in the ledger."""
        return unit_name(self.layout(unit.epsg), unit)

    def unit(self, name: str) -> Unit | None:
        """Return the unit with a name from :meth:`name`; None if the cube has no such unit."""
        whose, _, what = name.rpartition("/")
        if whose not in self._places:
            return None
        epsg, time = self._places[whose]
        return unit_named(self.layout(epsg), time, what)

    @cached_property
    def _places(self) -> dict[str, tuple[int, int]]:
        """EPSG code and index in time of each acquisition."""
        return {
            name: (layout.epsg, time)
            for layout in self.layouts
            for time, name in enumerate(layout.ids)
        }

    def key(self, unit: Unit, missing: Sequence[str] = ()) -> str:
        """Return the digest of all that determines a unit: its items, halo included, the method and the sensor.

        ``missing``: names of missing units below an overview or a picture.
        """
        layout = self.layout(unit.epsg)
        facts: list[Any] = [self.digest, self.precision, self.config.bands, self.config.window]
        facts.append(ARITHMETIC)
        if self.config.trust_offset or self.turns:
            # After a change of the option and back, units must be made again, because the other setting has overwritten them.
            facts.append(["offsets", self.config.trust_offset, self.turns])
        facts += [layout.shard, layout.chunk]
        if self.learns:
            facts.append(self.weights_of(self.acquisition(unit).take))
        if self.own_sensors:
            facts.append(asdict(self.sensor(self.acquisition(unit).take)))
        wanted = self.wanted(unit)
        facts.append(wanted)
        facts += self.acquisition(unit).content(wanted.grow(self.margin))
        facts += missing
        if unit.level < 0 and self.config.cog_compression != "deflate":
            facts.append(self.config.cog_compression)
        text = json.dumps(facts, default=lambda x: x.__dict__, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def _kept_sensor(file: Location) -> Sensor | None:
    """Return a measured sensor; None if there is none, or its file is torn."""
    try:
        return Sensor.of(json.loads(read_text(file))["sensor"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
