"""Common settings of commands that work on a cluster; none of them changes a pixel."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from s2sharp_core import S2SharpError

from ..storage.location import Location, on_this_machine

M = TypeVar("M", bound=BaseModel)


def folder(value: Location) -> Location:
    """Return a location that can become a folder, or raise ``ValueError``, before any work begins."""
    if on_this_machine(value) and value.is_file():
        raise ValueError(f"{value} is a file; give a folder")
    return value


def split(value: Any) -> Any:
    """Split a list in one text: ``1,2``, ``1 2`` or ``[1, 2]``; return other values unchanged."""
    return re.sub(r"[\[\],\"']", " ", value).split() if isinstance(value, str) else value


def validated(kind: type[M], given: dict[str, Any], remedy: str) -> M:
    """Return settings of a kind; ``bad-config``, with the name of each wrong field."""
    try:
        return kind(**given)
    except ValidationError as error:
        why = validation_message(error, kind.model_fields)
        raise S2SharpError("bad-config", f"The configuration is wrong: {why}.", remedy) from error


def validation_message(error: ValidationError, known: Iterable[str] = ()) -> str:
    """Describe the errors, field by field, without pydantic's own words; ``known``: names that an unknown one may mean."""
    own = {
        "extra_forbidden": lambda name: f"there is no such setting{suggestion(name, known)}",
        "missing": lambda name: f"it must be given (--{name.replace('_', '-')})",
    }
    return "; ".join(
        f"{'.'.join(map(str, e['loc'])) or 'configuration'}: "
        + (
            own[e["type"]](str(e["loc"][0]))
            if e["type"] in own
            else e["msg"].removeprefix("Value error, ")
        )
        for e in error.errors()
    )


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return the known name nearest to a misspelt one, as the end of a sentence; "" if none is near."""
    near = get_close_matches(name.lower(), known, n=1, cutoff=0.8)
    return f" (do you mean {near[0]}?)" if near else ""


class Command(BaseModel):
    """Common settings of commands that work on a cluster; none of them changes a pixel."""

    # Errors must not show the input: a URL may hold a key.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    scheduler: str | None = Field(
        None, description="Address of a Dask scheduler whose workers see OUT at the same path."
    )
    insecure: bool = Field(
        False,
        description="Allow a plain connection to a scheduler on another machine (tcp:// in place of tls://): who can "
        "reach its port can run programs as you.",
    )
    cluster: str | None = Field(
        None,
        description="Do the work in SLURM jobs, --workers of them, by a profile: a TOML file, or `slurm` for slurm.toml "
        "here or in ~/.config/s2sharp.",
    )
    workers: int | None = Field(
        None, gt=0, description="Processes on this machine, or jobs of --cluster."
    )
    memory: float | None = Field(
        None,
        gt=0,
        description="GB of memory for each worker: refuse to begin if one would need more.",
    )
    yes: bool = Field(
        False, description="Begin also where the plan says that it takes days, or writes terabytes."
    )
    retries: int = Field(
        2,
        ge=0,
        description="How often a unit is tried again, with pauses, after a failure that may pass: an unreadable "
        "file, a full disk, a lost worker.",
    )
    max_failures: int = Field(
        100,
        ge=0,
        description="Stop when more units than this have failed for good; until then the others go on.",
    )
    on_failure: str | None = Field(
        None,
        exclude=True,  # a webhook's address is its key, so no file of a run may hold it
        description="Call this where something failed: a command, which gets what happened as JSON on its standard "
        "input, or a webhook (https://…), to which it is posted. It is called once, at the end; where nothing was found, it is not.",
    )
    cog_compression: Literal["deflate", "zstd", "lzw"] = Field(
        "deflate",
        description="How COGs are packed, without loss. deflate: what every program reads; zstd: a fifth smaller and quicker to "
        "write, for GDAL 2.3 and later built with it, QGIS among them; lzw: for the oldest.",
    )
    events: str | None = Field(
        None,
        description="Append what happens as lines of JSON to this file; `-`: to the standard output, and tables "
        "and bars to the standard error.",
    )
    metrics: int | None = Field(
        None, gt=0, lt=65536, description="Serve figures for Prometheus on this port of localhost."
    )
    quiet: bool = Field(
        False, description="Print nothing but what goes wrong; the exit code tells the rest."
    )
