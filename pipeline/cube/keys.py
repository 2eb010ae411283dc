"""Names of shards in a store: Zarr's encodings of chunk keys, another one after each move of the cube.

Zarr v3 has four (core specification, "chunk key encodings"): "c/0/1/2", "c.0.1.2", "0.1.2" and "0/1/2". Three are used:
for coordinates, which have one axis, the last two are the same.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from zarr.core.chunk_key_encodings import ChunkKeyEncodingLike

_ENCODINGS: tuple[tuple[Literal["default", "v2"], Literal["/", "."]], ...] = (
    ("default", "/"),
    ("default", "."),
    ("v2", "."),
)
KEYS = len(_ENCODINGS)
"""Number of encodings."""


def encoding(moves: int) -> "ChunkKeyEncodingLike":
    """Return the encoding of a cube after ``moves`` moves, as zarr takes it."""
    name, separator = _ENCODINGS[moves]
    return {"name": name, "separator": separator}


def chunk_key(moves: int, *index: int) -> str:
    """Return the name of a chunk in its array's folder."""
    name, separator = _ENCODINGS[moves]
    return separator.join((*(("c",) if name == "default" else ()), *map(str, index)))


def chunk_index(moves: int, key: str) -> tuple[int, ...] | None:
    """Return the index of a chunk from its name; None for a name in another encoding, or of no chunk."""
    name, separator = _ENCODINGS[moves]
    parts = key.split(separator)
    if name == "default" and parts.pop(0) != "c":
        return None
    return tuple(map(int, parts)) if all(part.isdecimal() for part in parts) else None


def chunk_name(moves: int, path: str) -> bool:
    """Return whether a path below a group is a chunk in that encoding, of a band or coordinate at any level."""
    name, separator = _ENCODINGS[moves]
    numbers = re.escape(separator).join([r"\d+"] * 3) + r"|\d+"
    lead = f"c{re.escape(separator)}" if name == "default" else ""
    return re.fullmatch(rf"(?:[A-Za-z]\w*/)+{lead}(?:{numbers})", path) is not None


def moves_of(metadata: Mapping[str, Any]) -> int | None:
    """Return the number of moves of a cube, from an array's metadata; None for a group's."""
    if "chunk_key_encoding" not in metadata:
        return None
    kind = metadata["chunk_key_encoding"]
    default = "/" if kind["name"] == "default" else "."
    return _ENCODINGS.index((kind["name"], kind.get("configuration", {}).get("separator", default)))
