"""Typed configuration of a run. Flags override the environment, which overrides the file; all is validated first."""

import os
import tomllib
import warnings
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, TypeAdapter, field_serializer, field_validator, model_validator

from s2sharp_core import BANDS, S2SharpError
from s2sharp_core.bands import CIRRUS, MEASURED, in_order, names_of
from s2sharp_core.windows import WINDOW

from ..catalog.access import Access
from ..catalog.addresses import is_local, is_product, public
from ..catalog.extent import valid_bbox
from ..engine.settings import Command, folder, split, suggestion, validated
from ..storage.location import Located

EARTH_SEARCH = "https://earth-search.aws.element84.com/v1"
_AREA = {"area", "bbox"}
_ADAPTED = "-adapted"
# Prefix of environment variables that are settings, and variables with this prefix that are not.
_PREFIX, _OTHERS = "S2SHARP_", {"S2SHARP_DATA"}

WORLD = (-180.0, -90.0, 180.0, 90.0)
EVER = "2015/.."
"""All time, since the launch of the first satellite."""

NAMED = ("default", "table")
"""Sensors that need no product and no file."""


class RunConfig(Command):
    """Settings of a run: its data, method, output and machines.

    Every field is a key of the TOML file and a flag of ``s2sharp run``, with the description as its help. In capitals after
    ``S2SHARP_``, it is an environment variable.
    """

    out: Located = Field(
        description="Folder or URL (s3://BUCKET/PREFIX) for the cube and all that belongs to it. The same "
        "command on it again continues a run that was stopped."
    )
    catalog: str = Field(
        EARTH_SEARCH,
        description="STAC API, a static catalog, or stac-geoparquet `items.parquet` (path or URL); or products as "
        "they are downloaded: `….SAFE`, its `.zip`, an EOPF `….zarr` (path or URL), or a folder of them.",
    )
    collection: str = Field(
        "sentinel-2-c1-l2a",
        description="STAC collection. Of products, a name that holds their level: sentinel-2-l1c. A catalog on this "
        "machine that has one collection needs none.",
    )
    trust_offset: Literal["metadata", "pixels"] | None = Field(
        None,
        description="What to believe where an item's offset of reflectance (−0.1 since baseline 04.00) and its pixels "
        "contradict each other for certain. metadata: the item; pixels: a few windows of every scene, looked "
        "at when the run is planned. Without it, such units are refused.",
    )
    sign: Literal["auto", "none", "planetary-computer", "item", "cdse"] = Field(
        "auto",
        description="How files that need a signature get one while the run goes on. auto: as the catalog's addresses show; "
        "planetary-computer: by its tokens; item: by asking for their item again; cdse: by your keys of the Copernicus Data "
        "Space (CDSE_S3_ACCESS_KEY, CDSE_S3_SECRET_KEY); none: files are read as they are.",
    )
    s3_bucket: tuple[str, ...] = Field(
        (),
        description="Read this S3 bucket with your own AWS keys (environment, AWS_PROFILE, role, SSO, web identity, "
        "instance); may be repeated. Other buckets are read unsigned, but for the catalog's own (s3://…): "
        "nobody who writes a catalog reads what you alone may.",
    )
    requester_pays: bool = Field(
        False,
        description="Pay, with your keys, for requests to the buckets of --s3-bucket; without these, to all that the "
        "catalog names. The environment's AWS_REQUEST_PAYER (requester) is the same.",
    )
    allow_private: bool = Field(
        False,
        description="Let a public catalog, and redirects, lead to this machine and to private networks (loopback, "
        "link-local and private addresses). A catalog that lies there itself, or in a folder, may name "
        "them anyway.",
    )
    bbox: tuple[float, float, float, float] | None = Field(
        None,
        description="Area in degrees; W > E crosses the antimeridian. Without it, files on this machine are taken whole.",
    )
    area: Path | None = Field(None, description="GeoJSON file, in place of --bbox.")
    extent: tuple[float, float, float, float] | None = Field(
        None,
        description="Make room in the cube for this area, which later runs may fill. A cube grows without it, too, but "
        "to the north and west twice at most.",
    )
    datetime: str = Field(
        description="Day, month, year or interval: `2024-06`, `2024-06-01/..`, `2024-06-01/2024-06-30`. Without it, all "
        "dates of files on this machine are taken."
    )
    since: str | None = Field(
        None,
        description="Search again, and add what the catalog has and the cube in --out lacks. `last`: all of it; a "
        "date: what was sensed since then. Late tiles and newer baselines replace their own units; the rest "
        "is left as it is. Run it as often as you like.",
    )
    max_cloud: float = Field(
        100.0,
        ge=0,
        le=100,
        description="Leave out acquisitions with more cloud cover than this, in per cent. It is judged per acquisition, "
        "so no tile of a picture is dropped alone.",
    )
    bands: tuple[str, ...] = Field(
        tuple(BANDS),
        description="Bands to deliver: `B02 B03 b8a`, `red nir`; or `visible`, `rededge`, `swir`, `10m`, `20m`, `60m`.",
    )
    cirrus: bool = Field(
        False,
        description="Keep B10 of Level-1C, too, as it is: at 60 m, in a group of its own (`EPSG/r60m`). It sees cirrus "
        "and not the ground. `--bands …,B10` is the same.",
    )
    method: str = Field("s2net-m", description="How to sharpen; `s2sharp methods` lists them.")
    weights: Located | None = Field(
        None,
        description="Folder with weights in place of the shipped ones: trained, imported, or fitted by "
        "an earlier run (OUT/fits/DATATAKE).",
    )
    sensor: str = Field(
        "measured",
        description="How coarse bands relate to the 10 m bands of the same product (blur, shift, noise). measured: once "
        "per datatake, on a few windows spread over all of it, weighed against what is known of the instrument; default: "
        "the instrument as it is known; table: as papers assume it; or a JSON file that `s2sharp sensor` wrote.",
    )
    fit: Literal["datatake", "window"] = Field(
        "datatake",
        description="How often a method learns that learns on the scene. datatake: once per datatake, on windows spread "
        "over all of it, whatever the area; window: anew on every window, which takes long and shows seams.",
    )
    adapt: bool = Field(
        False,
        description="Teach a pretrained net further on each datatake, seen more coarsely, before it is used; where that "
        "does not help, it stays as it was. `--method s2net-m --adapt` is s2net-m-adapted. Each date then "
        "has weights of its own, and dates flicker a little.",
    )
    fit_windows: int = Field(16, gt=0, description="Windows of 64 cells to learn from.")
    fit_steps: int | None = Field(
        None, gt=0, description="Steps of a fit; of a network with batch norms, at least 2."
    )
    fit_threads: int = Field(
        2, gt=0, description="Threads of a fit. Fixed, since another number gives other weights."
    )
    warm_start: Located | None = Field(
        None,
        description="Begin fits from the weights in this folder, not at random. `s2sharp train --method NAME` makes "
        "some, and so does every fit (OUT/fits/DATATAKE).",
    )
    seed: int = Field(0, ge=0, description="Seed of everything random in a fit.")
    trust: bool = Field(
        False,
        description="Add two layers that say which places to trust less. `residual`: how far the result, seen again by "
        "the satellite, departs from what it saw; `detail`: how much of it was carried over from finer "
        "bands. The plan shows what they cost.",
    )
    error90: bool = Field(
        False,
        description="Add `B05_error90` and the like for each sharpened band: the half-width of an interval that held 90 "
        "% of the errors of scenes like those it was calibrated on.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where nets compute; auto: on a GPU where there is one."
    )
    precision: Literal["auto", "float32", "bfloat16", "int8"] = Field(
        "auto",
        description="Numbers that nets compute with: float32, bfloat16, int8, or auto: the fastest that the processor "
        "has and that a net can use which only corrects what stays float32. Results are recorded under it.",
    )
    window: int = Field(
        WINDOW, gt=0, description="Side, in cells of 60 m, of what the net sees at once."
    )
    shard: int | None = Field(
        None,
        gt=0,
        description="Side, in cells of 60 m, of a unit of work and of a file of the cube.",
    )
    chunk: int | None = Field(
        None,
        gt=0,
        description="Side, in pixels of 10 m, of what a reader fetches at once; it divides 6 × shard.",
    )
    stage: Literal["auto", "always", "never"] = Field(
        "auto",
        description="Copy native bands to OUT/stage first, each pixel once: always, never, or auto, for remote archives "
        "alone.",
    )
    stage_budget: float = Field(
        20.0,
        gt=0,
        description="Disk for the stage in GB. Beyond it, what is not needed at the moment is removed.",
    )
    lease: float = Field(
        60.0,
        ge=3,
        description="Seconds without a sign of life after which another run may take over --out.",
    )
    publish: bool = Field(
        True, description="Write COGs, a STAC catalog and pictures beside the cube."
    )

    history: bool = Field(
        False,
        description="Keep what the cube is like after each run as a snapshot (Icechunk), to be opened later.",
    )

    @model_validator(mode="before")
    @classmethod
    def _whole(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Take all of a user's own files, if no part is named."""
        catalog = str(values.get("catalog", EARTH_SEARCH))
        if not (is_local(catalog) or is_product(catalog)):
            return values
        somewhere = any(values.get(name) is not None for name in _AREA)
        whole: dict[str, Any] = {"datetime": EVER, **({} if somewhere else {"bbox": WORLD})}
        if "collection" not in values and is_local(catalog):
            from ..catalog.search import single_collection  # a continued run knows its collection

            found = single_collection(catalog)
            whole |= {"collection": found} if found else {}
        return {**whole, **values}

    @model_validator(mode="before")
    @classmethod
    def _adapted(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Turn ``adapt`` into the adapted method; given weights become its start."""
        if not TypeAdapter(bool).validate_python(values.get("adapt", False)):
            return values
        from s2sharp_core import METHODS

        method = str(values.get("method", cls.model_fields["method"].default))
        if method in METHODS and not method.endswith(_ADAPTED):
            method += _ADAPTED
            if method not in METHODS:
                able = ", ".join(m.removesuffix(_ADAPTED) for m in METHODS if m.endswith(_ADAPTED))
                raise ValueError(f"adapt: only these can be adapted to a datatake: {able}")
            values = {**values, "method": method}
            if values.get("weights") is not None:
                values = {**values, "weights": None, "warm_start": values["weights"]}
        return values

    @model_validator(mode="before")
    @classmethod
    def _cirrus(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Move B10 out of ``bands``, because it is not on the grid of the cube."""
        bands = cls._worded(values.get("bands", ()))
        if not isinstance(bands, list | tuple) or CIRRUS.name not in bands:
            return values
        return {**values, "bands": [b for b in bands if b != CIRRUS.name], "cirrus": True}

    _split = field_validator("bbox", "extent", "s3_bucket", mode="before")(split)

    @field_validator("bands", mode="before")
    @classmethod
    def _worded(cls, value: Any) -> Any:
        return names_of(value) if isinstance(value, str | list | tuple) else value

    @field_validator("s3_bucket")
    @classmethod
    def _bare(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted({name.removeprefix("s3://").strip("/") for name in value}))

    @field_validator("catalog", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, Path) else value

    _folder = field_validator("out")(folder)

    @field_validator("bands")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [band for band in value if band not in BANDS]
        if unknown or not value:
            raise ValueError(f"unknown: {', '.join(unknown)}; choose from {', '.join(MEASURED)}")
        return in_order(value)

    @field_serializer("catalog", when_used="json")
    def _public(self, value: str) -> str:
        """Leave a key in the catalog's address out of files; a continued run must give it again."""
        return public(value)

    @field_validator("area", "catalog")
    @classmethod
    def _absolute(cls, value: Path | str | None) -> Path | str | None:
        """Make paths absolute, because workers may have another working directory."""
        if isinstance(value, Path):
            return value.expanduser().resolve()
        if value is None or "://" in value:
            return value
        return str(Path(value).expanduser().resolve())

    @field_validator("sensor")
    @classmethod
    def _named(cls, value: str) -> str:
        """Keep a name, or make a path absolute: the same run may be continued from another folder."""
        if value in ("measured", *NAMED) or "://" in value:
            return value
        return str(Path(value).expanduser().resolve())

    _ordered = field_validator("bbox", "extent")(valid_bbox)

    @property
    def access(self) -> Access:
        """Access rights of the catalog: its keys, and the hosts that it may lead to."""
        pays = self.requester_pays or os.environ.get("AWS_REQUEST_PAYER") == "requester"
        return Access(self.sign, frozenset(self.s3_bucket), pays, self.allow_private)

    @property
    def native(self) -> tuple[str, ...]:
        """Bands that are delivered as measured."""
        return (CIRRUS.name,) if self.cirrus else ()

    @model_validator(mode="after")
    def _something_to_trust(self) -> Self:
        for name in ("trust", "error90"):
            if getattr(self, name) and all(BANDS[band].gsd == 10 for band in self.bands):
                raise ValueError(f"{name}: bands of 10 m are measured, there is nothing to judge")
        return self

    @model_validator(mode="after")
    def _one_area(self) -> Self:
        if (self.bbox is None) == (self.area is None):
            raise ValueError("give one of bbox (W S E N) and area (a GeoJSON file)")
        return self


def read_config(file: Path | None, flags: dict[str, Any]) -> RunConfig:
    """Read the configuration from a TOML ``file``, the environment and ``flags``; later ones override earlier ones.

    Raises
    ------
    S2SharpError
        ``bad-config``; the message names each wrong field, and suggests a setting for a misspelt one.
    """
    given: dict[str, Any] = {}
    if file is not None:
        try:
            given = tomllib.loads(file.read_text())
        except (OSError, ValueError) as error:
            raise S2SharpError(
                "bad-config", f"Cannot read {file}: {error}.", "It must be a TOML file."
            ) from error
    settings: dict[str, Any] = {}
    for layer in (given, _environment(), flags):
        if layer.keys() & _AREA:  # a new area replaces the old one, whether bbox or area
            settings = {key: value for key, value in settings.items() if key not in _AREA}
        settings |= layer
    return validated(RunConfig, settings, "See `s2sharp run --help`.")


def _environment() -> dict[str, str]:
    """Return the settings among the environment's variables. A near miss of a setting is refused, others cause a warning."""
    known, found = RunConfig.model_fields, {}
    for variable, value in os.environ.items():
        name = variable.removeprefix(_PREFIX).lower()
        if not variable.startswith(_PREFIX) or variable in _OTHERS:
            continue
        if f"{_PREFIX}{name.upper()}" == variable and name in known:
            found[name] = value
        elif near := suggestion(name, known):
            raise S2SharpError(
                "bad-config",
                f"The environment's {variable} is no setting{near}.",
                "Correct its name, or unset it.",
            )
        else:
            warnings.warn(f"The environment's {variable} is no setting.", stacklevel=2)
    return found
