"""Settings of a mosaic: cube, method and grid, validated before anything starts."""

import re
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from s2sharp_core import BANDS
from s2sharp_core.bands import in_order, names_of

from ..catalog.extent import valid_bbox
from ..engine.settings import Command, folder, split
from ..storage.location import Located

if TYPE_CHECKING:
    from pyproj import CRS

BLOCK = 512
"""Side in pixels of the squares that are resampled at once. They are anchored to the grid, so that a location has
the same values whatever the tiles."""


def _crs(text: str) -> "CRS":
    """Return the CRS that a text names, or raise ``ValueError``."""
    from pyproj import CRS  # --help shows these fields without it
    from pyproj.exceptions import CRSError

    try:
        return CRS.from_user_input(text)
    except CRSError as error:
        raise ValueError(str(error)) from error


class MosaicConfig(Command):
    """Flags of ``s2sharp mosaic``, one a field; its description is the flag's help."""

    out: Located = Field(description="Folder or URL of a cube, as given to `s2sharp run` as --out.")
    to: Located = Field(
        description="Folder or URL (s3://BUCKET/PREFIX) for the mosaic. The same command again continues a mosaic "
        "that was stopped, and adds the cube's new periods, acquisitions and pixels."
    )
    period: str = Field(
        "month",
        description="One picture per `month`, `year`, number of days (`16D`, counted from 1 January; the last period of "
        "a year is shorter), or `all` for the whole cube.",
    )
    by: Literal["best", "median", "medoid"] = Field(
        "best",
        description="best: for each pixel the observation farthest from cloud and cloud shadow (beyond 1 km "
        "all are equal), and not within 120 m of the data's edge if there is another; of equals the one "
        "closest to the period's middle. medoid: the observation most like all others. Both keep spectra "
        "whole: all bands of a pixel are from one acquisition. median: the median of each band alone, so that a "
        "pixel's spectrum may never have been observed.",
    )
    bands: tuple[str, ...] | None = Field(
        None, description="Bands to deliver: `B02 B03 B04`, `visible`."
    )
    crs: str | None = Field(
        None,
        description="CRS of the mosaic: `EPSG:3035`, `ESRI:54009`, … Pixels on the same grid are copied; others "
        "are resampled once.",
    )
    resolution: float | None = Field(
        None,
        gt=0,
        description="Side of a pixel in the CRS's units. The grid is snapped to its multiples.",
    )
    bbox: tuple[float, float, float, float] | None = Field(
        None, description="Part of the cube in degrees; W > E crosses the antimeridian."
    )
    tile: int | None = Field(
        None,
        gt=0,
        description=f"Side in pixels of a unit of work, of a file of the store and of a COG: a multiple "
        f"of {BLOCK}. Pixels do not depend on it.",
    )
    resampling: Literal["cubic", "bilinear", "nearest"] = Field(
        "cubic", description="Resampling of reflectance where pixels cannot be copied."
    )
    dilate: float = Field(
        100.0,
        ge=0,
        description="Distance in metres around cloud, thin cirrus and cloud shadow within which pixels are not used.",
    )
    feather: float = Field(
        0.0,
        ge=0,
        description="Distance in metres to each side of a border over which acquisitions are blended. It hides their "
        "differences; 0 keeps pixels as observed.",
    )
    memory: float = Field(
        2.0,
        gt=0,
        description="GB of memory that a worker may take. Medians and medoids process a tile in parts that fit.",
    )
    scheduler: str | None = Field(
        None,
        description="Address of a Dask scheduler whose workers see both folders at the same path or URL.",
    )
    publish: bool = Field(True, description="Write COGs and a STAC catalog beside the store.")

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
        """Return the CRS in one spelling, its authority's code if it has one: another spelling would be another mosaic."""
        if value is None:
            return None
        try:
            crs = _crs(value)
        except ValueError as error:
            raise ValueError(f"{value!r} is not a known CRS; an example: EPSG:3035") from error
        if not (crs.is_projected or crs.is_geographic) or len(crs.axis_info) != 2:
            raise ValueError(f"{value!r} ({crs.name}) does not have two axes on the ground")
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
