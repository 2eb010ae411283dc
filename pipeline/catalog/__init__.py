"""Catalogues of any archive: what a query finds, and where its files lie.

May import storage. A query → :func:`search` → STAC items → sources with addresses, scales and offsets.
"""

from s2sharp_core.faces import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "access": ["Access", "FREE"],
        "addresses": ["bucket_of", "is_local", "public", "safe_name", "unsigned"],
        "antimeridian": ["Degrees", "bounding_box", "unwrap", "valid_bbox", "wrap"],
        "chunks": ["MAX_BLOCK"],
        "eopf": ["is_array", "opened"],
        "http": ["BrokenError", "read_json", "stac_io"],
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
        "products": ["are_products", "product_item", "product_paths"],
        "signing": ["keyed", "session", "signed"],
        "query": ["item_of"],
        "sources": [
            "Offer",
            "QUANTIFICATION",
            "Source",
            "WAYS",
            "band_of",
            "grids",
            "offers",
        ],
    },
)
