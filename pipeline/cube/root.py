"""Root of a store: the cube of a run, or a mosaic."""

from typing import TYPE_CHECKING, Any, Literal

import zarr

from s2sharp_core import S2SharpError

from ..storage.arrays import zarr_store
from ..storage.location import Location, place, store_errors
from .layout import FORMAT

if TYPE_CHECKING:
    from zarr.storage import StoreLike

Store = Literal["cube", "mosaic"]

# Kind of the error where there is none, and the command that makes one.
_MAKE = {
    "cube": ("not-a-cube", "s2sharp run --out …"),
    "mosaic": ("not-a-mosaic", "s2sharp mosaic OUT --to …"),
}


def store_in(out: Location | str, what: Store) -> Location:
    """Return the store in a folder; ``out`` itself if it is one."""
    found = place(out)
    return found if found.suffix == ".zarr" else found / f"{what}.zarr"


def open_root(
    store: Location, what: Store, opened: "StoreLike | None" = None, *, fresh: bool = False
) -> tuple[zarr.Group, dict[str, Any]]:
    """Return the root group of a store, and what it says of the whole store; else ``not-a-cube`` or ``not-a-mosaic``.

    ``opened``: the store as zarr reads it; ``fresh``: leave out consolidated metadata, which are old while a run adds to it.
    """
    try:
        files = zarr_store(store) if opened is None else opened
        root = zarr.open_group(files, mode="r", use_consolidated=False if fresh else None)
        facts: dict[str, Any] = dict(root.attrs["s2sharp"])  # type: ignore[arg-type]
        written = facts["format"]
    except store_errors(KeyError, TypeError, ValueError) as error:
        raise no_store(store, what, error) from error
    if written != FORMAT:
        raise S2SharpError(
            _MAKE[what][0],
            f"{store} has format {written}, and this version of s2sharp reads {FORMAT}.",
            f"Install the version of s2sharp that the {what} was made with.",
        )
    return root, facts


def no_store(store: Location, what: Store, error: Exception) -> S2SharpError:
    """Return the error for a store that is missing or broken, by the ``error`` of reading it."""
    kind, command = _MAKE[what]
    # For a missing file, the error's own text adds nothing.
    why = "" if isinstance(error, FileNotFoundError) else f" ({type(error).__name__}: {error})"
    return S2SharpError(
        kind, f"There is no {what} of s2sharp at {store}{why}.", f"Make one: `{command}`."
    )
