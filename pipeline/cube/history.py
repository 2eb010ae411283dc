"""Snapshots of a cube after each run, kept in an Icechunk repository beside it.

The cube that runs write stays a plain Zarr store. After a run, objects that differ from the last snapshot are
copied to ``OUT/cube.icechunk`` in one commit. Runs do not write through Icechunk itself: sessions are merged before
a commit, so that the work of a killed run would be lost. An interrupted commit leaves nothing visible, and the next
one makes up for it.
"""

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from zarr.abc.store import Store
from zarr.buffer import default_buffer_prototype
from zarr.core.sync import sync

from s2sharp_core import S2SharpError

from ..storage.files import read_bytes, read_text, versions, write_text
from ..storage.location import Location, on_this_machine, store_errors, writing
from .keys import chunk_index, chunk_key, moves_of

_BRANCH = "main"
_KEYS = {"name": "default", "configuration": {"separator": "/"}}
# Shards copied at a time: each is in memory twice.
_AT_ONCE = 4


@dataclass(frozen=True)
class Snapshot:
    """A state of a cube that can be opened: ``open_cube(OUT, snapshot=id)``."""

    id: str
    written: datetime
    message: str


def commit(out: Location, message: str) -> str | None:
    """Commit the present state of the cube of ``out`` as its next snapshot; return its id, None if nothing has changed.

    Errors: ``store-unwritable``; ``bad-config`` without icechunk, or for a store that it does not support.
    """
    repository = _repository(out, create=True)
    cube, seen = out / "cube.zarr", out / "cube.icechunk.json"
    now = _objects(cube)
    with writing(
        f"Cannot keep a snapshot of {cube}",
        "The cube itself is complete. Try again with `s2sharp history OUT --commit`.",
    ):
        session = repository.writable_session(_BRANCH)
        before = _seen(seen, session)
        changed = [name for name, (_, when) in now.items() if before.get(name) != when]
        # Groups, then arrays, then shards: a chunk can only be set in an array that exists.
        metadata = sorted(
            (n for n in changed if n.endswith("zarr.json")), key=lambda n: n.count("/")
        )
        for name in metadata:
            _copy(cube / name, session.store, name)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            shards = (name for name in changed if not name.endswith("zarr.json"))
            list(pool.map(lambda name: _copy(cube / now[name][0], session.store, name), shards))
        for name in before.keys() - now.keys():
            sync(session.store.delete(name))
        made = session.commit(message) if session.has_uncommitted_changes else None
        objects = {name: when for name, (_, when) in now.items()}
        about = {"snapshot": made or session.snapshot_id, "objects": objects}
        write_text(seen, json.dumps(about))
    return made


def snapshots(out: Location) -> Iterator[Snapshot]:
    """Yield the snapshots of the cube of ``out``, the newest first; ``no-history`` without any."""
    for found in _repository(out).ancestry(branch=_BRANCH):
        if found.parent_id:  # the first is the empty repository
            yield Snapshot(found.id, found.written_at, found.message)


def snapshot_store(out: Location, snapshot: str) -> Store:
    """Return the cube of ``out`` in a snapshot, as a store that zarr reads.

    Errors: ``no-history``; ``snapshot-missing``.
    """
    repository = _repository(out)
    try:
        return repository.readonly_session(snapshot_id=snapshot).store
    except store_errors() as error:
        known = ", ".join(found.id for found in snapshots(out))
        raise S2SharpError(
            "snapshot-missing", f"{out} has no snapshot {snapshot}.", f"It has: {known or 'none'}."
        ) from error


def _seen(file: Location, session: Any) -> dict[str, str]:
    """Return the objects in the last snapshot: name → version; "" where it is not known."""
    try:
        about = json.loads(read_text(file))
        if about["snapshot"] == session.snapshot_id:
            return dict(about["objects"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        pass  # missing or torn

    async def names() -> list[str]:
        return [name async for name in session.store.list()]

    return dict.fromkeys(sync(names()), "")


def _objects(cube: Location) -> dict[str, tuple[str, str]]:
    """Return the objects of a cube: name in a snapshot → (name in the cube, version).

    A snapshot knows only one encoding of chunk keys. Names from before the cube grew are left out.
    """
    there, found = versions(cube), {}
    arrays = {
        name.removesuffix("zarr.json"): moves_of(json.loads(read_text(cube / name)))
        for name in there
        if name.endswith("zarr.json") and name.count("/") > 1
    }
    for name, when in there.items():
        folder = next((f for f in (*_above(name),) if arrays.get(f) is not None), None)
        target = name
        if folder is not None and not name.endswith("zarr.json"):
            moves = arrays[folder]
            assert moves is not None  # noqa: S101  (the folder is an array's)
            index = chunk_index(moves, name.removeprefix(folder))
            if index is None:
                continue
            target = folder + chunk_key(0, *index)
        found[target] = (name, f"{name} {when}" if target != name else when)
    return found


def _above(name: str) -> Iterator[str]:
    """Yield the folders above a file, the innermost first."""
    while "/" in name:
        name = name.rpartition("/")[0]
        yield f"{name}/"


def _copy(file: Location, store: Store, name: str) -> None:
    """Copy one object of the cube into a session, unless it is there already."""
    kind = default_buffer_prototype()
    new, old = read_bytes(file), sync(store.get(name, kind))
    if name.endswith("zarr.json"):
        new = _default_keys(new)
    if old is None or _content(name, old.to_bytes()) != _content(name, new):
        sync(store.set(name, kind.buffer.from_bytes(new)))


def _default_keys(metadata: bytes) -> bytes:
    """Return an array's metadata with the encoding of chunk keys that snapshots use."""
    about = json.loads(metadata)
    if "chunk_key_encoding" not in about:
        return metadata
    return json.dumps({**about, "chunk_key_encoding": _KEYS}).encode()


def _content(name: str, data: bytes) -> Any:
    """Return the content to compare: parsed metadata, without the copies that the root has of all others."""
    if not name.endswith("zarr.json"):
        return data
    return {k: v for k, v in json.loads(data).items() if k != "consolidated_metadata"}


def _repository(out: Location, *, create: bool = False) -> Any:
    try:
        import icechunk
    except ImportError as error:
        raise S2SharpError(
            "bad-config",
            "Snapshots need icechunk, which is not installed.",
            "pip install 's2sharp[history]'.",
        ) from error
    # Its warning of concurrent commits does not apply: a run holds a lease.
    icechunk.set_logs_filter("error")
    try:
        there = out / "cube.icechunk"
        if not create and on_this_machine(there) and not there.exists():
            raise FileNotFoundError(there)  # icechunk would create the folder
        storage = _storage(icechunk, there)
        if create:
            return icechunk.Repository.open_or_create(storage)
        return icechunk.Repository.open(storage)
    except store_errors() as error:
        raise S2SharpError(
            "store-unwritable" if create else "no-history",
            f"There is no history of the cube in {out}.",
            "Begin one with a run with --history, or with `s2sharp history OUT --commit`.",
        ) from error


def check_place(out: Location) -> None:
    """Refuse a history in a store that Icechunk does not support (``bad-config``), before the run begins."""
    if not on_this_machine(out) and out.protocol not in ("gs", "gcs", "s3", "s3a"):
        raise S2SharpError(
            "bad-config",
            f"Snapshots cannot be kept at {out}.",
            "Choose a folder, s3:// or gs://, or leave --history out.",
        )


def _storage(icechunk: Any, place: Location) -> Any:
    check_place(place)
    if on_this_machine(place):
        return icechunk.local_filesystem_storage(str(place))
    bucket, _, prefix = place.path.lstrip("/").partition("/")
    if place.protocol in ("gs", "gcs"):
        return icechunk.gcs_storage(bucket=bucket, prefix=prefix, from_env=True)
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return icechunk.s3_storage(
        bucket=bucket,
        prefix=prefix,
        region=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
        endpoint_url=endpoint,
        allow_http=(endpoint or "").startswith("http://"),
        force_path_style=endpoint is not None,
        from_env=True,
    )
