"""The flags that ``run`` and ``plan`` share: a configuration's fields, as they are shown in ``--help``."""

from collections.abc import Callable, Mapping
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ..planning.config import RunConfig, read_config
from ..ui.terminal import told

__all__ = ["FLAGS", "configured", "flag"]


def configured(command: Callable[..., object]) -> Callable[..., None]:
    """A command that takes :data:`FLAGS` and is given the configuration they make, before parameters of its own."""
    own = list(signature(command).parameters.values())[1:]

    @wraps(command)
    def with_flags(**given: Any) -> None:
        with told():
            file = given.pop("config")
            kept = {parameter.name: given.pop(parameter.name) for parameter in own}
            settings = {k: v for k, v in given.items() if v is not None}
            command(read_config(file, settings), **kept)

    parameters = [*FLAGS.parameters.values(), *own]
    with_flags.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    with_flags.__annotations__ = {p.name: p.annotation for p in parameters}
    return with_flags


_PANELS = {
    None: "out",
    "What": "catalog collection bbox area datetime since extent max_cloud bands cirrus",
    "How": "method sensor weights adapt fit fit_windows fit_steps fit_threads warm_start seed trust error90 window shard chunk "
    "publish history",
    "Where it runs": "sign s3_bucket requester_pays allow_private stage stage_budget scheduler insecure cluster workers memory device precision yes retries max_failures lease events metrics quiet",
}
_METAVARS = {
    "bbox": "W S E N",
    "extent": "W S E N",
    "datetime": "A/B",
    "since": "last|DATE",
    "events": "FILE|-",
    "metrics": "PORT",
    "sensor": "measured|default|table|FILE",
}
# Defaults that are not what the field's own value shows.
_DEFAULTS = {
    "bands": "all twelve",
    "fit_steps": "the method's",
    "shard": "512, less for small areas",
    "chunk": "512, less for small shards",
    "publish": "publish",
    "history": "no-history",
    "quiet": "no-quiet",
    "insecure": "no-insecure",
    "s3_bucket": "none",
    "requester_pays": "no-requester-pays",
    "allow_private": "no-allow-private",
    "yes": "no-yes",
    "trust": "no-trust",
    "error90": "no-error90",
    "cirrus": "no-cirrus",
    "scheduler": "a cluster on this machine",
    "workers": "1, or one for each GPU",
    "memory": "the machine's, shared by the workers",
}


def flag(
    name: str,
    panel: str | None,
    model: type[BaseModel] = RunConfig,
    defaults: Mapping[str, str] = _DEFAULTS,
) -> Parameter:
    """A flag made from a field of a configuration; ``defaults``: what is shown in place of the field's."""
    field = model.model_fields[name]
    kind: Any = field.annotation
    metavar = _METAVARS.get(name)
    if get_origin(kind) is Literal:
        kind, metavar = str, "|".join(get_args(kind))
    elif name == "s3_bucket":
        kind, metavar = list[str], "NAME"
    elif name in ("bands", "out", "to", "weights", "warm_start"):
        kind = str
    option = typer.Option(
        # Not the field's default: what is not given must not win over the environment and the file.
        None,
        metavar=metavar,
        help=field.description,
        show_default=defaults.get(name) or _shown(field),
        rich_help_panel=panel,
    )
    return Parameter(name, Parameter.KEYWORD_ONLY, default=option, annotation=kind | None)


def _shown(field: FieldInfo) -> str | bool:
    """A field's default as it is shown; False where there is none."""
    if field.is_required() or field.default is None:
        return False
    return f"{field.default:g}" if isinstance(field.default, float) else str(field.default)


_FILE = typer.Option(
    None, help="TOML file whose keys are these flags (`max_cloud = 20`).", show_default=False
)

FLAGS = Signature(
    [
        Parameter("config", Parameter.KEYWORD_ONLY, default=_FILE, annotation=Path | None),
        *(flag(name, panel) for panel, names in _PANELS.items() for name in names.split()),
    ]
)
"""The signature of a command with these flags; None for those that are not given."""
