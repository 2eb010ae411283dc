"""Catalogues of any archive: what a query finds, and where its files lie.

May import storage. A query → :func:`search` → STAC items → sources with addresses, scales and offsets.
"""

from s2sharp_core.faces import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "access": ["Access", "FREE"],
        "addresses": ["bucket_of", "is_array", "parted", "public", "safe_name", "unsigned"],
        "antimeridian": ["Degrees", "bounding_box", "unwrap", "wrap"],
        "broken": ["BrokenError"],
        "chunks": ["MAX_BLOCK"],
        "degrees": ["valid_bbox"],
        "eopf": ["opened"],
        "keys": ["session"],
        "metadata": [
            "FACTS",
            "PROPERTIES",
            "archived",
            "as_number",
            "as_text",
            "baseline",
            "bounds",
            "cloud_cover",
            "datatake",
            "epsg",
            "platform",
            "processed",
            "sensed",
            "span",
            "strip",
            "tile",
        ],
        "parquet": ["whole"],
        "products": ["are_products"],
        "reflectance": ["PLAIN_OFFSET", "RAW_OFFSET"],
        "signing": ["signed"],
        "sources": ["MAX_DN", "Offer", "Source", "WAYS", "grids", "offers"],
        "ways": ["keyed"],
    },
)
