"""Area × time → units, lazily: frozen in one file that every worker reads, so that all agree."""

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
from s2sharp_core.sensor.known import Sensor

from ..catalog.addresses import public
from ..cube.layout import Layout
from ..engine.frozen import Frozen
from ..scenes.acquisition import Acquisition, Choice
from ..scenes.scene import Refusal
from ..scenes.versions import Versions
from ..storage.location import Location
from .area import AREA
from .config import RunConfig
from .kept import kept_sensor, thawed
from .method import base_sensor, fitted_weights, options_of
from .units import Datatake, Unit, unit_name, unit_named

__all__ = ["ARITHMETIC", "Plan"]


ARITHMETIC = 3
"""Number of the arithmetic around the nets: reading, radiometry, gaps, masks, encoding, overviews. It is part of every unit's key.

It is raised whenever the same files give other values (``tests/pipeline/test_arithmetic.py`` fails where that was
forgotten), so that no cube mixes both. A net's own is :data:`~s2sharp_core.sharpeners.base.Sharpener.results`.
"""


class Plan(Frozen):
    """A run, frozen: written as ``run.json`` before the first unit, read by every worker.

    ``weights`` that are used as they are, and those that fits ``start`` from: file → sha256;
    ``learns``: whether the method is fitted to each datatake first; ``measures``: whether the sensor of each is
    measured before that; ``sensors``: those that a file gave, by datatake, or for all under "";
    ``grown``: whether the area has changed since the cube was begun; ``repairs``: names of units that are to be made anew,
    whoever asked for them; ``removed``: ids of acquisitions that were taken out of the cube again, and stay out: their
    places in time are kept, and empty;
    ``offsets``: of items whose pixels were looked at (``--trust-offset pixels``), what they speak for; ``turns``: how often
    that option was changed since the cube was begun;
    ``numbers``: of acquisitions that changed since, the ids of their items by number; ``asked``: the ids of the acquisitions that the latest query found, which alone are worked on.

    A year of a continent has tens of thousands of scenes: they are the client's alone
    (:class:`~s2sharp.planning.client.ClientPlan`), which writes down an acquisition before its first unit.
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
        """What the files were that this process has read for the run; a worker reads a plan once."""
        return self._seen

    @property
    def out(self) -> Location:
        return self.config.out

    @property
    def folder(self) -> Location:
        return self.out

    def settled(self, folder: Location) -> "Plan":
        """Return the plan as it is where its folder lies now."""
        here = {"out": folder, "area": folder / AREA} if self.config.area else {"out": folder}
        return self.model_copy(update={"config": self.config.model_copy(update=here)})

    def told(self) -> "Plan":
        """Return the plan as it is written: whoever continues the run gives the catalogue's key again, if it has one."""
        here = {"catalog": public(self.config.catalog)}
        return self.model_copy(update={"config": self.config.model_copy(update=here)})

    @property
    def store(self) -> Location:
        return self.config.out / "cube.zarr"

    def layout(self, epsg: int) -> Layout:
        return next(layout for layout in self.layouts if layout.epsg == epsg)

    @property
    def files(self) -> tuple[str, ...]:
        """The bands that are read: by the method, and for delivery as they are."""
        return (*self.reads, *self.config.native)

    @property
    def coarse(self) -> tuple[str, ...]:
        """The bands that have to be sharpened."""
        return tuple(band for band in self.config.bands if BANDS[band].gsd > 10)

    @property
    def options(self) -> FitOptions:
        """The options that the method is fitted with."""
        return options_of(self.config)

    def sensor(self, take: str) -> Sensor:
        """The sensor that a datatake is sharpened with: before it is measured, and where that failed, the known one."""
        if self.measures:
            found = self._measured.get(take) or kept_sensor(self.sensor_file(take))
            if found:
                self._measured[take] = found
        else:
            given = self.sensors.get(take) or self.sensors.get("")
            found = Sensor.of(given) if given else None
        return found or base_sensor(self.config.sensor)

    @property
    def own_sensors(self) -> bool:
        """Whether datatakes may have sensors of their own."""
        return self.measures or bool(self.sensors)

    def sensor_file(self, take: str) -> Location:
        """Return where the sensor of a datatake is kept, with what it follows from."""
        return self.out / "sensors" / f"{take}.json"

    def sensor_name(self, datatake: Datatake) -> str:
        """A measurement's path in the ledger."""
        return f"sensors/{datatake.take}"

    def sensor_key(self, datatake: Datatake) -> str:
        """The digest of what a measurement follows from, but for the datatake's pixels: late tiles change nothing."""
        facts = [datatake.take, self.reads, self.config.seed, self.software]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def fit_folder(self, take: str) -> Location | None:
        """Return where the weights of a datatake lie, if the method is fitted to it."""
        return self.out / "fits" / take if self.learns else None

    def fit_name(self, datatake: Datatake) -> str:
        """A fit's path in the ledger."""
        return f"fits/{datatake.take}"

    def sample_key(self, datatake: Datatake) -> str:
        """The digest of what a fit's sample follows from: the datatake's items, the method and its options."""
        scenes = [scene.digest for a in datatake.acquisitions for scene in a.scenes]
        text = json.dumps([self.digest, self.precision, scenes])
        return hashlib.sha256(text.encode()).hexdigest()

    def fit_key(self, datatake: Datatake) -> str:
        """The digest of what a fit follows from: its sample, and the sensor."""
        text = json.dumps([self.sample_key(datatake), asdict(self.sensor(datatake.take))])
        return hashlib.sha256(text.encode()).hexdigest()

    def weights_of(self, take: str) -> dict[str, str]:
        """File → sha256 of the weights that a datatake is sharpened with; empty before its fit."""
        folder = self.fit_folder(take)
        return dict(self.weights) if folder is None else fitted_weights(folder)

    @property
    def levels(self) -> int:
        """The most overviews that a group has."""
        return max(layout.levels for layout in self.layouts)

    def wanted(self, unit: Unit) -> Box:
        """The cells of a unit that were asked for."""
        layout = self.layout(unit.epsg)
        if unit.level < 0:
            return layout.area
        return layout.cells(unit.row, unit.col, unit.level) & layout.area

    def acquisition(self, unit: Unit) -> Acquisition:
        """Return the acquisition that a unit is a part of, as it was frozen for the workers."""
        return self._thawed(self.acquisition_id(unit))

    @cached_property
    def _thawed(self) -> Callable[[str], Acquisition]:
        """Acquisitions by id; a worker has units of a few at once."""
        return lru_cache(maxsize=8)(partial(thawed, self.out))

    @cached_property
    def _measured(self) -> dict[str, Sensor]:
        """Sensors by datatake, as far as they were measured and asked for."""
        return {}

    def acquisition_id(self, unit: Unit) -> str:
        return self.layout(unit.epsg).ids[unit.time]

    def name(self, unit: Unit) -> str:
        """Return a unit's path in the ledger."""
        return unit_name(self.layout(unit.epsg), unit)

    def unit(self, name: str) -> Unit | None:
        """Return the unit of a path in the ledger, as :meth:`name` gives it; None where the cube has no such unit."""
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
        """The digest of what a unit's content follows from: its items, halo included, the method and the sensor.

        ``missing``: names of units that what is made of others has to do without.
        """
        layout = self.layout(unit.epsg)
        facts: list[Any] = [self.digest, self.precision, self.config.bands, self.config.window]
        facts.append(ARITHMETIC)
        if self.config.trust_offset or self.turns:
            # Settings that are changed to and fro write over each other: what was done before is not done now.
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
