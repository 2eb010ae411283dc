"""Files for other programs: COGs, STAC documents, quicklooks.

May import catalog, cube, storage.
Main path: a written cube → :func:`write_cogs`, :func:`stac_item`, :func:`quicklook`.
"""

from s2sharp_core.lazy import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "cogs": ["Means", "variables", "write_cogs", "write_pictures"],
        "cog_profile": ["CogProfile", "Frame"],
        "panels": ["Panel", "Spot", "choose_spot", "bands_shown", "orientation", "pair", "trust"],
        "quicklook": ["draw_sheet", "load_drawing"],
        "stac": [
            "PROCESSING",
            "Provenance",
            "ZARR",
            "add_picture",
            "footprint",
            "relative",
            "stac_item",
            "write_collection",
        ],
        "stretch": ["TRUE_COLOUR", "clear_limits", "tones"],
        "visual": ["write_visual"],
    },
)
