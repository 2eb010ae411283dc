"""Check metadata and coordinates of a cube against its layouts, and write them again where they differ.

Chunks of bands have checksums and records; these files have none.
"""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..storage.files import AT_ONCE, read_bytes, read_text, write_all
from ..storage.location import Location

ROOT = "zarr.json"
"""File of the root's metadata; those of groups and arrays have the same name."""


def store_status(store: Location) -> str:
    """Return what a cube or a mosaic says of itself: "writing", "partial" or "complete"; "missing" before it is laid out;
    "broken" where that cannot be read: the next run lays it out again.
    """
    if not (store / ROOT).exists():
        return "missing"
    try:
        return str(json.loads(read_text(store / ROOT))["attributes"]["s2sharp"]["status"])
    except (ValueError, KeyError, TypeError):
        return "broken"


def wrong_files(
    store: Location, draft: Mapping[str, bytes], *, facts: bool = True
) -> dict[str, bytes]:
    """Return files that are missing or wrong, with their right content.

    ``draft``: files as laid out in memory; the root's own metadata are left alone. ``facts``: whether the groups'
    attributes of their sources are compared, too.
    """
    names = [name for name in draft if name != ROOT]
    found = {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for name, there in zip(
            names, pool.map(lambda name: _read(store / name), names), strict=True
        ):
            right = draft[name]
            if name.endswith(ROOT):
                right = _brought(there, right, facts)
            if right != there:
                found[name] = right
    return found


def differing(store: Location, draft: Mapping[str, bytes]) -> list[str]:
    """Return the names of files that are missing or wrong, in order."""
    return sorted(
        [*wrong_files(store, draft, facts=False), *([ROOT] if root_is_torn(store) else [])]
    )


def root_is_torn(store: Location) -> bool:
    """Return whether the root's own metadata cannot be read."""
    try:
        return "s2sharp" not in json.loads(_read(store / ROOT) or b"")["attributes"]
    except (ValueError, KeyError, TypeError):
        return True


def mend(store: Location, files: Mapping[str, bytes]) -> None:
    """Write files that :func:`wrong_files` found; groups last, since a group with its attributes has all its arrays."""
    groups = [
        name
        for name, data in files.items()
        if name.endswith(ROOT) and json.loads(data)["node_type"] == "group"
    ]
    write_all(store, files, last=groups)


def _read(file: Location) -> bytes | None:
    try:
        return read_bytes(file)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None


def _brought(there: bytes | None, right: bytes, facts: bool) -> bytes:
    """Return the right metadata, with the codecs and the additional attributes of ``there``.

    If nothing differs, the result is ``there``, byte for byte.
    """
    new = json.loads(right)
    try:
        old = json.loads(there or b"")
        attributes = dict(old.get("attributes", {}))
    except (ValueError, AttributeError, TypeError):  # missing or torn
        return right
    if not facts:
        new["attributes"].pop("s2sharp", None)
    merged: dict[str, Any] = {**new, "attributes": {**attributes, **new["attributes"]}}
    # The array's chunks were written with these codecs.
    merged |= {key: old[key] for key in ("codecs", "consolidated_metadata") if key in old}
    return there if there and merged == old else json.dumps(merged, indent=2).encode()
