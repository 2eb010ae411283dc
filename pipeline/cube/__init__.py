"""The Zarr store of a run: layout, shards, overviews, snapshots, and the function that opens it.

May import storage.
Main path: a :class:`Layout` → :func:`lay_out` → :func:`write_shard` → :func:`open_cube`.
"""

from s2sharp_core.lazy import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "create": ["finish", "lay_out", "lay_out_level", "misplaced", "store_facts"],
        "history": ["check_place", "commit", "snapshots"],
        "intact": ["ROOT", "wrong_files", "store_status", "differing", "mend", "root_is_torn"],
        "keys": ["KEYS", "chunk_index", "chunk_name"],
        "layout": [
            "Bounds",
            "FILL",
            "FORMAT",
            "LAYERS",
            "Layout",
            "Native",
            "SCALE",
            "Sharded",
            "chunk_side",
            "encode",
            "encode_figure",
            "error_layers",
            "shard_file",
        ],
        "open": ["crop", "open_cube", "read_group"],
        "overviews": ["overview"],
        "root": ["no_store", "open_root", "store_in"],
        "write": ["write_shard"],
        "unfinished": ["grid_written", "read_written"],
    },
)
