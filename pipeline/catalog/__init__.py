"""Catalogues of any archive: what a query finds, and where its files lie.

May import storage. A query → :func:`search` → STAC items → sources with addresses, scales and offsets.
"""

from s2sharp_core.faces import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "access": ["Access", "FREE"],
        "addresses": ["is_array", "bucket_of", "public", "safe_name", "unsigned"],
        "antimeridian": ["bounding_box", "unwrap", "wrap"],
        "chunks": ["MAX_BLOCK"],
        "degrees": ["Degrees", "valid_bbox"],
        "eopf": ["opened"],
        "broken": ["BrokenError"],
        "keys": ["session"],
        "metadata": [
            "FACTS",
            "PROPERTIES",
            "archived",
            "as_number",
            "as_text",
            "baseline",
            "cloud_cover",
            "datatake",
            "epsg",
            "platform",
            "processed",
            "sensed",
            "strip",
            "tile",
        ],
        "parquet": ["whole"],
        "products": ["are_products"],
        "signing": ["signed"],
        "ways": ["keyed"],
        "sources": ["Offer", "Source", "WAYS", "grids", "offers"],
    },
)
