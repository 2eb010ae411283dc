"""Bytes in a folder or an object store: locations, files, local copies, Zarr arrays.

May import nothing of the pipeline: storage knows no Sentinel-2. Main path: a text → :func:`place` → files that are
read, or written completely or not at all.
"""

from s2sharp_core.lazy import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "arrays": [
            "DigestStore",
            "arrays_of",
            "digest_store",
            "in_memory",
            "put_arrays",
            "resize",
            "write_array",
            "zarr_store",
        ],
        "digests": ["Digest", "settle", "settled_digest", "wrong"],
        "files": [
            "AT_ONCE",
            "contents",
            "create",
            "draft_target",
            "link",
            "clear_place",
            "put",
            "read_bytes",
            "read_named",
            "read_text",
            "remove",
            "remove_empty",
            "remove_tree",
            "size",
            "sweep",
            "version",
            "versions",
            "write_all",
            "write_bytes",
            "write_text",
        ],
        "location": [
            "Located",
            "Location",
            "on_this_machine",
            "place",
            "store_errors",
            "user_cache",
            "writing",
        ],
        "mirror": ["local", "mirrored"],
    },
)
