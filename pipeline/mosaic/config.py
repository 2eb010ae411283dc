"""Settings of a mosaic: of what, how and on which grid; validated before anything starts."""

import re
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from s2sharp_core import BANDS
from s2sharp_core.bands import in_order, names_of

from ..catalog.degrees import valid_bbox
from ..engine.settings import Command, folder, split, validated
from ..storage.location import Located

if TYPE_CHECKING:
    from pyproj import CRS

__all__ = ["BLOCK", "MosaicConfig", "configure"]

BLOCK = 512
"""Side, in pixels, of what is resampled at once: squares of one shape, anchored to the grid, so that the
same place comes out the same whatever the tiles."""


def _crs(text: str) -> "CRS":
    """The CRS that a text names, else a ``ValueError``."""
    from pyproj import CRS  # help, which shows these fields, needs none
    from pyproj.exceptions import CRSError

    try:
        return CRS.from_user_input(text)
    except CRSError as error:
        raise ValueError(str(error)) from error


class MosaicConfig(Command):
    """Every field is a flag of ``s2sharp mosaic``, whose help its description is."""

    out: Located = Field(
        description="Folder or URL of a cube: what was given to `s2sharp run` as --out."
    )
    to: Located = Field(
        description="Folder or URL (s3://BUCKET/PREFIX) for the mosaic. The same command on it again continues "
        "one that was stopped, and takes in what the cube has got since: periods, acquisitions, pixels."
    )
    period: str = Field(
        "month",
        description="One picture per `month`, `year`, so many days of a year (`16D`; the last of a year is "
        "shorter), or `all` of the cube.",
    )
    by: Literal["best", "median", "medoid"] = Field(
        "best",
        description="best: of each place the observation farthest from cloud and cloud shadow (beyond 1 km "
        "all are equal), and not within 120 m of the data's edge if there is another; of equals the one "
        "closest to the period's middle. medoid: the observation most like all others. Both keep spectra "
        "whole: all bands of a pixel are from one acquisition. median: of each band alone, so a pixel's "
        "spectrum may be one that nobody observed.",
    )
    bands: tuple[str, ...] | None = Field(
        None, description="Bands to deliver: `B02 B03 B04`, `visible`."
    )
    crs: str | None = Field(
        None,
        description="CRS of the mosaic: `EPSG:3035`, `ESRI:54009`, … Pixels whose grid it shares are copied; "
        "others are resampled, once.",
    )
    resolution: float | None = Field(
        None,
        gt=0,
        description="Side of a pixel in the CRS's units. The grid is snapped to its multiples.",
    )
    bbox: tuple[float, float, float, float] | None = Field(
        None, description="Part of the cube, in degrees; W > E crosses the antimeridian."
    )
    tile: int | None = Field(
        None,
        gt=0,
        description=f"Side, in pixels, of a unit of work, of a file of the store and of a COG: a multiple "
        f"of {BLOCK}. No value of a pixel depends on it.",
    )
    resampling: Literal["cubic", "bilinear", "nearest"] = Field(
        "cubic", description="How reflectance is resampled where pixels cannot be copied."
    )
    dilate: float = Field(
        100.0,
        ge=0,
        description="What lies within so many metres of cloud, thin cirrus or cloud shadow is not used.",
    )
    feather: float = Field(
        0.0,
        ge=0,
        description="Blend acquisitions across their borders, over so many metres to each side. Hides what they "
        "differ by; 0: pixels as they were observed.",
    )
    memory: float = Field(
        2.0,
        gt=0,
        description="GB that a worker may take up. Medians and medoids go through a tile in parts that fit.",
    )
    scheduler: str | None = Field(
        None,
        description="Address of a Dask scheduler whose workers see both folders at the same path or URL.",
    )
    publish: bool = Field(True, description="Write COGs and a STAC catalogue beside the store.")

    _folder = field_validator("to")(folder)

    @field_validator("period")
    @classmethod
    def _known(cls, value: str) -> str:
        if not re.fullmatch(r"month|year|all|[1-9]\d{0,2}D", value):
            raise ValueError("must be month, year, all, or a number of days such as 16D")
        return value

    _split = field_validator("bbox", mode="before")(split)

    @field_validator("bands", mode="before")
    @classmethod
    def _worded(cls, value: Any) -> Any:
        return names_of(value) if isinstance(value, str | list | tuple) else value

    @field_validator("bands")
    @classmethod
    def _bands(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        unknown = [band for band in value or () if band not in BANDS]
        if unknown or value == ():
            raise ValueError(f"unknown: {', '.join(unknown)}; choose from {', '.join(BANDS)}")
        return value and in_order(value)

    @field_validator("crs")
    @classmethod
    def _crs(cls, value: str | None) -> str | None:
        """In one spelling, the authority's code where there is one: another would be another mosaic."""
        if value is None:
            return None
        try:
            crs = _crs(value)
        except ValueError as error:
            raise ValueError(f"{value!r} is no CRS that is known; an example: EPSG:3035") from error
        if not (crs.is_projected or crs.is_geographic) or len(crs.axis_info) != 2:
            raise ValueError(f"{value!r} ({crs.name}) has no two axes on the ground")
        known = crs.to_authority(min_confidence=100)
        return ":".join(known) if known else str(crs.to_wkt())

    _ordered = field_validator("bbox")(valid_bbox)

    @field_validator("tile")
    @classmethod
    def _blocks(cls, value: int | None) -> int | None:
        if value is not None and value % BLOCK:
            raise ValueError(f"must be a multiple of {BLOCK}")
        return value

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if self.feather and self.by != "best":
            raise ValueError(
                f"feather: goes with --by best, not with {self.by}, which has no borders"
            )
        if self.crs is not None and self.resolution is None:
            unit = _crs(self.crs).axis_info[0].unit_name
            if unit != "metre":
                raise ValueError(f"resolution: give one in the CRS's unit, {unit}")
        if self.to == self.out:
            raise ValueError("to: must be another folder than the cube's")
        return self


def configure(flags: dict[str, Any]) -> MosaicConfig:
    """The configuration from flags.

    Raises
    ------
    S2SharpError
        ``bad-config``, naming each field that is wrong.
    """
    return validated(MosaicConfig, flags, "See `s2sharp mosaic --help`.")
