"""Area × time → units, lazily: frozen in one file that every worker reads, so that all agree."""

import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import shapely
from pydantic import BaseModel, ConfigDict

from s2sharp_core import BANDS, S2SharpError, Sharpener
from s2sharp_core.fitting import FitOptions
from s2sharp_core.lattice import Box

from .acquisitions import Acquisition, Refusal
from .area import area_shape
from .config import RunConfig
from .cube import Layout
from .load import Files, Reader
from .place import Place, read_text, store_errors, version, write_text
from .ready import brief, fitted_weights, options_of, outline, ready
from .stage import Stage

__all__ = ["Datatake", "Plan", "Unit", "freeze", "read_plan", "stamp"]


@dataclass(frozen=True)
class Unit:
    """What a worker takes, does and records as one: a shard of an acquisition, or of an overview.

    ``time``: index of the acquisition in its group; ``row``, ``col``: of the shard in the array of
    ``level``.
    """

    epsg: int
    time: int
    row: int
    col: int
    level: int = 0


@dataclass(frozen=True)
class Datatake:
    """What a method is fitted to: all that the catalogue has of one datatake, whatever the area."""

    take: str
    acquisitions: tuple[Acquisition, ...]


class Plan(BaseModel):
    """A run, frozen: written as ``run.json`` before the first unit, read by every worker.

    ``weights`` that are used as they are, and those that fits ``start`` from: file → sha256.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    software: str
    config: RunConfig
    acquisitions: tuple[Acquisition, ...]
    datatakes: tuple[Datatake, ...]
    cloudy: tuple[str, ...]
    refused: tuple[Refusal, ...]
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

    @property
    def out(self) -> Place:
        return self.config.out

    @property
    def store(self) -> Place:
        return self.config.out / "cube.zarr"

    def layout(self, epsg: int) -> Layout:
        return next(layout for layout in self.layouts if layout.epsg == epsg)

    def of(self, epsg: int) -> list[Acquisition]:
        """The acquisitions of one code, in the order of the cube's times."""
        return [a for a in self.acquisitions if a.epsg == epsg]

    @property
    def coarse(self) -> tuple[str, ...]:
        """The bands that have to be sharpened."""
        return tuple(band for band in self.config.bands if BANDS[band].gsd > 10)

    def sharpener(self, take: str) -> Sharpener | None:
        """The sharpener of a datatake, loaded once a process; None when only 10 m bands are asked for.

        Raises
        ------
        S2SharpError
            ``weights-differ``; ``weights-missing`` when a fit has not been made.
        """
        if not self.coarse:
            return None
        arithmetic = self.precision.split()[0]
        sharpener = ready(self.config, self.coarse, self.device, self.fit_folder(take), arithmetic)
        found, wanted = sharpener.digest, self.digest
        if self.datatakes:
            found, wanted = brief(sharpener.weights), brief(self.weights_of(take))
        if (found, sharpener.precision) != (wanted, self.precision):
            raise S2SharpError(
                "weights-differ",
                f"The {self.config.method} of this process (digest {found[:12]}, "
                f"{sharpener.precision}) is not the plan's ({wanted[:12]}, {self.precision}).",
                "Install the same version and weights on all workers, and restart them.",
            )
        return sharpener

    def outline(self) -> Sharpener | None:
        """The sharpener as it is before any fit."""
        return outline(self.config, self.coarse, self.device) if self.coarse else None

    @property
    def options(self) -> FitOptions:
        """How the method is fitted."""
        return options_of(self.config)

    def fit_folder(self, take: str) -> Place | None:
        """Where the weights of a datatake lie, if the method is fitted to it."""
        return self.out / "fits" / take if self.datatakes else None

    def fit_name(self, datatake: Datatake) -> str:
        """A fit's path in the ledger."""
        return f"fits/{datatake.take}"

    def fit_key(self, datatake: Datatake) -> str:
        """The digest of what a fit follows from: the datatake's items, the method and its options."""
        scenes = [scene.digest for a in datatake.acquisitions for scene in a.scenes]
        text = json.dumps([self.digest, self.precision, scenes])
        return hashlib.sha256(text.encode()).hexdigest()

    def weights_of(self, take: str) -> dict[str, str]:
        """File → sha256 of the weights that a datatake is sharpened with; empty before its fit."""
        folder = self.fit_folder(take)
        return dict(self.weights) if folder is None else fitted_weights(folder)

    def units(self) -> Iterator[Unit]:
        """The units of the full resolution: acquisition by acquisition, row by row."""
        for layout in self.layouts:
            shape = area_shape(self.config, layout.epsg)
            rows, cols = layout.shards()
            for time, acquisition in enumerate(self.of(layout.epsg)):
                for row, col in itertools.product(range(rows), range(cols)):
                    cells = layout.cells(row, col) & layout.area
                    if not acquisition.within(cells):
                        continue
                    if shape.intersects(shapely.box(*layout.lattice.bounds(cells))):
                        yield Unit(layout.epsg, time, row, col)

    def overviews(self, level: int) -> Iterator[Unit]:
        """The units of one overview; its children must be complete."""
        for layout in self.layouts:
            if level > layout.levels:
                continue
            rows, cols = layout.shards(level)
            for time, row, col in itertools.product(
                range(len(layout.times)), range(rows), range(cols)
            ):
                yield Unit(layout.epsg, time, row, col, level)

    def pictures(self) -> Iterator[Unit]:
        """What is published: every acquisition, as a unit without a place."""
        for layout in self.layouts:
            for time in range(len(layout.times)):
                yield Unit(layout.epsg, time, 0, 0, level=-1)

    def wanted(self, unit: Unit) -> Box:
        """The cells of a unit that were asked for."""
        layout = self.layout(unit.epsg)
        return layout.cells(unit.row, unit.col) & layout.area

    def acquisition(self, unit: Unit) -> Acquisition:
        return self.of(unit.epsg)[unit.time]

    def name(self, unit: Unit) -> str:
        """A unit's path in the ledger: its acquisition, and its shard counted on the lattice."""
        if unit.level < 0:
            return f"{self.acquisition(unit).id}/published"
        row, col = unit.row, unit.col
        if unit.level == 0:
            cells = self.layout(unit.epsg).cells(row, col)
            row, col = (
                cells.row0 // (cells.row1 - cells.row0),
                cells.col0 // (cells.col1 - cells.col0),
            )
        return f"{self.acquisition(unit).id}/x{2**unit.level}_{row}_{col}"

    def key(self, unit: Unit, missing: Sequence[str] = ()) -> str:
        """The digest of what a unit's content follows from: its items, halo included, and the method.

        ``missing``: units of the full resolution that an overview has to do without.
        """
        layout = self.layout(unit.epsg)
        facts: list[Any] = [self.digest, self.precision, self.config.bands, self.config.window]
        facts += [layout.area, layout.shard, layout.chunk]
        if self.datatakes:
            facts.append(self.weights_of(self.acquisition(unit).take))
        if unit.level == 0:
            around = self.wanted(unit).grow(self.margin)
            facts += [scene.digest for scene in self.acquisition(unit).within(around)]
        else:
            acquisition = self.acquisition(unit)
            facts += [scene.digest for scene in acquisition.scenes]
            facts += sorted(name for name in missing if name.startswith(f"{acquisition.id}/"))
        text = json.dumps(facts, default=lambda x: x.__dict__, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def stage(self, acquisition: Acquisition) -> Stage:
        layout = self.layout(acquisition.epsg)
        box = acquisition.box & layout.area.grow(self.margin)
        scl = ("SCL",) if any(scene.scl for scene in acquisition.scenes) else ()
        return Stage(
            folder=self.out / "stage",
            acquisition=acquisition,
            bands=(*self.reads, *scl),
            box=box.snap(layout.shard),
            shard=layout.shard,
        )

    def reader(self, acquisition: Acquisition) -> Reader:
        return self.stage(acquisition) if self.staged else Files(acquisition)

    def facts(self, epsg: int) -> dict[str, Any]:
        """What the cube says about how one of its groups was made."""
        return {
            "software": f"s2sharp {self.software}",
            "method": self.config.method,
            "weights": self.weights,
            "precision": self.precision,
            "window_cells": self.config.window,
            "acquisitions": [
                {"id": a.id, "datetime": a.datetime, "items": [s.id for s in a.scenes]}
                for a in self.of(epsg)
            ],
        }


def freeze(plan: Plan) -> str:
    """Write the plan as ``run.json``, at once or not at all; returns its stamp."""
    # For its owner's eyes: the addresses of signed assets are keys.
    write_text(plan.out / "run.json", plan.model_dump_json(indent=1), private=True)
    return stamp(plan.out)


def stamp(out: Place) -> str:
    """Which writing of ``run.json`` it is: long-lived workers must not use an older one."""
    return version(out / "run.json")


@lru_cache(maxsize=4)
def read_plan(out: Place, stamp: str) -> Plan:  # noqa: ARG001  (part of the cache's key)
    """The plan of the run in ``out``.

    Raises
    ------
    S2SharpError
        ``not-a-run``.
    """
    try:
        plan = Plan.model_validate_json(read_text(out / "run.json"))
    except ValueError as error:
        raise S2SharpError(
            "other-run",
            f"{out}/run.json was not written by this version of s2sharp.",
            "Continue it with the version that began it, or choose another --out.",
        ) from error
    except store_errors() as error:
        raise S2SharpError(
            "not-a-run",
            f"{out} holds no run of s2sharp: {error}.",
            "Make one: `s2sharp run --out …`.",
        ) from error
    # Where it lies now, should the folder have been moved.
    return plan.model_copy(update={"config": plan.config.model_copy(update={"out": out})})
