"""The flags that ``run`` and ``plan`` share: a configuration's fields, as they are shown in ``--help``."""

from inspect import Parameter, Signature
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from .config import RunConfig

__all__ = ["FLAGS"]

_PANELS = {
    None: "out",
    "What": "catalog collection bbox area datetime max_cloud bands",
    "How": "method weights adapt fit fit_windows fit_steps fit_threads warm_start seed window shard chunk "
    "publish",
    "Where it runs": "sign stage stage_budget scheduler workers memory device precision",
}

_METAVARS = {"bbox": "W S E N", "datetime": "A/B"}

# Defaults that are not what the field's own value shows.
_DEFAULTS = {
    "bands": "all twelve",
    "fit_steps": "the method's",
    "shard": "512, less for small areas",
    "chunk": "512, less for small shards",
    "publish": "publish",
    "scheduler": "a cluster on this machine",
    "workers": "1",
    "memory": "the machine's, shared by the workers",
}


def _flag(name: str, panel: str | None) -> Parameter:
    field = RunConfig.model_fields[name]
    kind: Any = field.annotation
    metavar = _METAVARS.get(name)
    if get_origin(kind) is Literal:
        kind, metavar = str, "|".join(get_args(kind))
    elif name == "bands":
        kind = str
    option = typer.Option(
        # Not the field's default: what is not given must not win over the environment and the file.
        None,
        metavar=metavar,
        help=field.description,
        show_default=_DEFAULTS.get(name) or _shown(field),
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
        *(_flag(name, panel) for panel, names in _PANELS.items() for name in names.split()),
    ]
)
"""The signature of a command with these flags; None for those that are not given."""
