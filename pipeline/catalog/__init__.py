"""Catalogs of any archive: the items that a query finds, and the addresses of their files.

May import storage.
Main path: a query → :func:`search` in what ``stac_api``, ``static``, ``geoparquet`` or ``local_products`` (``safe``, ``eopf``) find →
STAC items (``documents``, with facts by ``metadata``) → ``sources`` of bands: addresses, scales, offsets → addresses that
may be opened, and with which keys (``access``, ``signing``) → bytes (``http``; GDAL with ``gdal_credentials``; ``eopf``).
"""

from s2sharp_core.lazy import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "access": ["Access", "FREE", "keyed"],
        "addresses": [
            "bucket_of",
            "check_href",
            "is_array",
            "is_local",
            "is_product",
            "split_address",
            "public",
            "safe_name",
            "unsigned",
        ],
        "contradictions": ["check_alike", "check_names", "names_day"],
        "antimeridian": ["bounding_box", "degrees_around", "unwrap", "wrap"],
        "faults": ["BrokenError", "faulty"],
        "chunk_limits": ["MAX_BLOCK"],
        "extent": ["Degrees", "interval", "valid_bbox"],
        "documents": ["item_of"],
        "eopf": ["Array", "opened"],
        "http": ["read_json", "stac_io"],
        "gdal_credentials": ["session"],
        "metadata": [
            "FACTS",
            "PROPERTIES",
            "archived",
            "as_flag",
            "as_number",
            "as_text",
            "baseline",
            "bounds",
            "cloud_cover",
            "datatake",
            "epsg",
            "level",
            "level_in",
            "platform",
            "processed",
            "sensed",
            "sensing_span",
            "datastrip",
            "tile",
            "time_in",
        ],
        "geoparquet": ["whole"],
        "local_products": ["are_products", "product_around", "product_item", "product_paths"],
        "query": ["boxes_around"],
        "reflectance": ["APPLIED", "PIXELS", "PLAIN_OFFSET", "QUANTIFICATION", "RAW_OFFSET"],
        "search": ["OtherLevelWarning", "single_collection"],
        "signing": ["signed"],
        "sources": ["MAX_DN", "Offer", "Source", "WAYS", "band_of", "grids", "offers"],
    },
)
