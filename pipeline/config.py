"""One typed run configuration: flags over environment over file, validated before anything starts."""

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from s2sharp_core import BANDS, S2SharpError
from s2sharp_core.bands import in_order

__all__ = ["EARTH_SEARCH", "RunConfig", "read_config"]

EARTH_SEARCH = "https://earth-search.aws.element84.com/v1"

_AREA = {"area", "bbox"}


class RunConfig(BaseModel):
    """What to make, from what, where, and how.

    Every field is a key of the TOML file, a flag of ``s2sharp run`` and, in capitals after
    ``S2SHARP_``, an environment variable.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    out: Path
    catalog: str = EARTH_SEARCH
    collection: str = "sentinel-2-c1-l2a"
    bbox: tuple[float, float, float, float] | None = None
    area: Path | None = None
    datetime: str
    max_cloud: Annotated[float, Ge(0), Le(100)] = 100.0
    bands: tuple[str, ...] = tuple(BANDS)
    method: str = "dsen2"
    weights: Path | None = None
    fit: Literal["datatake", "window"] = "datatake"
    fit_windows: Annotated[int, Gt(0)] = 16
    fit_steps: Annotated[int, Gt(0)] | None = None
    fit_threads: Annotated[int, Gt(0)] = 2
    warm_start: Path | None = None
    seed: Annotated[int, Ge(0)] = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    window: Annotated[int, Gt(0)] = 64
    shard: Annotated[int, Gt(0)] | None = None
    chunk: Annotated[int, Gt(0)] | None = None
    stage: Literal["auto", "always", "never"] = "auto"
    stage_budget: Annotated[float, Gt(0)] = 20.0
    scheduler: str | None = None
    workers: Annotated[int, Gt(0)] | None = None
    memory: Annotated[float, Gt(0)] | None = None
    publish: bool = True

    @field_validator("bands", "bbox", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return value.replace(",", " ").split() if isinstance(value, str) else value

    @field_validator("bands")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [band for band in value if band not in BANDS]
        if unknown or not value:
            raise ValueError(f"unknown: {', '.join(unknown)}; choose from {', '.join(BANDS)}")
        return in_order(value)

    @field_validator("out", "area", "weights", "warm_start", "catalog")
    @classmethod
    def _absolute(cls, value: Path | str | None) -> Path | str | None:
        """Workers may have another working directory."""
        if isinstance(value, Path):
            return value.expanduser().resolve()
        if value is None or "://" in value:
            return value
        return str(Path(value).expanduser().resolve())

    @field_validator("bbox")
    @classmethod
    def _ordered(
        cls, value: tuple[float, float, float, float] | None
    ) -> tuple[float, float, float, float] | None:
        if value is not None:
            west, south, east, north = value
            if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
                raise ValueError("must be W S E N in degrees, W < E and S < N")
        return value

    @model_validator(mode="after")
    def _one_area(self) -> Self:
        if (self.bbox is None) == (self.area is None):
            raise ValueError("give one of bbox (W S E N) and area (a GeoJSON file)")
        return self


def read_config(file: Path | None, flags: dict[str, Any]) -> RunConfig:
    """The configuration from a TOML ``file``, the environment and ``flags``; later ones win.

    Raises
    ------
    S2SharpError
        ``bad-config``, naming each field that is wrong.
    """
    given: dict[str, Any] = {}
    if file is not None:
        try:
            given = tomllib.loads(file.read_text())
        except (OSError, ValueError) as error:
            raise S2SharpError(
                "bad-config", f"Cannot read {file}: {error}.", "It must be a TOML file."
            ) from error
    environment = {
        field: os.environ[f"S2SHARP_{field.upper()}"]
        for field in RunConfig.model_fields
        if f"S2SHARP_{field.upper()}" in os.environ
    }
    settings: dict[str, Any] = {}
    for layer in (given, environment, flags):
        if layer.keys() & _AREA:  # a new area takes the old one's place, however that was given
            settings = {key: value for key, value in settings.items() if key not in _AREA}
        settings |= layer
    try:
        return RunConfig(**settings)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'configuration'}: {e['msg']}" for e in error.errors()
        )
        raise S2SharpError(
            "bad-config", f"The configuration is wrong: {wrong}.", "See `s2sharp run --help`."
        ) from error
