"""Catalogues of any archive: what a query finds, and where its files lie.

May import storage. A query → :func:`search` → STAC items → sources with addresses, scales and offsets.
"""

from s2sharp_core.faces import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "access": ["Access", "FREE"],
        "addresses": ["is_array", "bucket_of", "public", "safe_name", "unsigned"],
        "antimeridian": ["Degrees", "bounding_box", "unwrap", "valid_bbox", "wrap"],
        "chunks": ["MAX_BLOCK"],
        "eopf": ["opened"],
        "http": ["BrokenError"],
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
        "products": ["are_products"],
        "signing": ["keyed", "signed"],
        "sources": ["Offer", "Source", "WAYS", "grids", "offers"],
    },
)
