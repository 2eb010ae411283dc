"""Flags that commands share, made from the fields of a configuration; and lists after flags."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.core import TyperCommand

from s2sharp_core.bands import MEASURED, names_of

from ..engine.settings import split
from ..planning.config import RunConfig, read_config
from ..ui.terminal import told

_BOXES = ("--bbox", "--extent")


class Listing(TyperCommand):
    """A command whose flags take lists in several forms: ``--bbox 12.8,55.5,13,55.7``, ``--bands B02 B03``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _spread(args))


def _spread(args: list[str]) -> list[str]:
    """Return the arguments with each box in four parts, and the bands after ``--bands`` in one."""
    out, rest = [], deque(args)
    while rest:
        arg = rest.popleft()
        name, equals, value = arg.partition("=")
        if name in _BOXES:
            parts = [value] if equals else []
            while len(split(" ".join(parts))) < 4 and rest and not rest[0].startswith("--"):
                parts.append(rest.popleft())
            out += [name, *split(" ".join(parts))]
        elif arg == "--bands":
            words: list[str] = []
            while rest and (not words or set(names_of(rest[0])) <= set(MEASURED)):
                words.append(rest.popleft())
            out += [arg, ",".join(words)]
        else:
            out.append(arg)
    return out


def configured(command: Callable[..., object], stopped: str = "Stopped.") -> Callable[..., None]:
    """Give a command :data:`FLAGS`; it is called with their configuration, before parameters of its own.

    ``stopped``: message after Ctrl-C.
    """
    own = list(signature(command).parameters.values())[1:]

    @wraps(command)
    def with_flags(**given: Any) -> None:
        with told(stopped):
            file = given.pop("config")
            kept = {parameter.name: given.pop(parameter.name) for parameter in own}
            settings = {k: v for k, v in given.items() if v is not None}
            command(read_config(file, settings), **kept)

    takes(with_flags, [*FLAGS.parameters.values(), *own])
    return with_flags


def takes(command: Callable[..., None], parameters: Iterable[Parameter]) -> None:
    """Give a command parameters, as typer reads them."""
    signature = Signature(list(parameters))
    command.__signature__ = signature  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}


def option(name: str, default: Any, kind: Any) -> Parameter:
    """Return a parameter of a command of its own, from typer's ``default``."""
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=kind)


_PANELS = {
    None: "out bbox area datetime catalog collection max_cloud bands method",
    "More: what": "since extent cirrus trust_offset",
    "More: how": "sensor weights adapt fit fit_windows fit_steps fit_threads warm_start seed trust error90 window shard chunk "
    "precision publish cog_compression history",
    "More: where files are read": "sign s3_bucket requester_pays allow_private stage stage_budget",
    "More: where it runs": "scheduler insecure cluster workers memory device yes retries max_failures lease on_failure events metrics quiet",
}
_METAVARS = {
    "bands": "BAND …",
    "on_failure": "COMMAND|URL",
    "bbox": "W S E N",
    "extent": "W S E N",
    "datetime": "A/B",
    "since": "last|DATE",
    "events": "FILE|-",
    "metrics": "PORT",
    "sensor": "NAME|FILE",
    "trust_offset": "CHOICE",
}
# Longer choices are in the field's description alone: in 80 columns they would narrow all other texts.
_SHORT = 16
# Defaults that the field's own value does not show well.
_DEFAULTS = {
    "catalog": "Earth Search",
    "bands": "all twelve",
    "fit_steps": "the method's",
    "shard": "512, less for small areas",
    "chunk": "512, less for small shards",
    "s3_bucket": "none",
    "scheduler": "a cluster on this machine",
    "workers": "one for each GPU, or for four cores",
    "memory": "the machine's, shared by the workers",
}


def flag(
    name: str,
    panel: str | None,
    model: type[BaseModel] = RunConfig,
    defaults: Mapping[str, str] = _DEFAULTS,
) -> Parameter:
    """Make a flag from a field of a configuration; ``defaults``: texts shown in place of the field's default."""
    field = model.model_fields[name]
    kind: Any = field.annotation
    metavar = _METAVARS.get(name)
    if get_origin(kind) is Literal:
        choices = "|".join(get_args(kind))
        kind, metavar = str, choices if len(choices) <= _SHORT else "CHOICE"
    elif name == "s3_bucket":
        kind, metavar = list[str], "NAME"
    elif name in ("bands", "out", "to", "weights", "warm_start"):
        kind = str
    shown = typer.Option(
        # Not the field's default: a flag that is not given must not win over the environment and the file.
        None,
        metavar=metavar,
        help=field.description,
        show_default=defaults.get(name) or _shown(name, field),
        rich_help_panel=panel,
    )
    return option(name, shown, kind | None)


def flags_of(names: str, defaults: Mapping[str, str]) -> list[Parameter]:
    """Return flags of ``run`` for another command, in the same panels; ``defaults``: texts shown in place of its own."""
    panels = {name: panel for panel, some in _PANELS.items() for name in some.split()}
    shown = {**_DEFAULTS, **defaults}
    return [flag(name, panels[name], RunConfig, shown) for name in names.split()]


def _shown(name: str, field: FieldInfo) -> str | bool:
    """Return a field's default as text, that of a switch by its flag; False where there is none."""
    if field.is_required() or field.default is None:
        return False
    if isinstance(field.default, bool):
        return ("" if field.default else "no-") + name.replace("_", "-")
    return f"{field.default:g}" if isinstance(field.default, float) else str(field.default)


_FILE = typer.Option(
    None, help="TOML file with these flags as keys (`max_cloud = 20`).", show_default=False
)

FLAGS = Signature(
    [
        option("config", _FILE, Path | None),
        *(flag(name, panel) for panel, names in _PANELS.items() for name in names.split()),
    ]
)
"""Signature of a command with these flags; flags that are not given are None."""
