"""Demo scenes with a known truth: synthetic ones, and real chips at half their resolution.

May import planning, bench, scenes, publish, catalog, cube.
Main path, synthetic scenes: a seed → :func:`simulate` → scenes and catalog; a cube → :func:`score`.
Main path, real chips: a package of the index → :func:`fetch_chips` → :func:`read_chips` → :func:`chip_cases` → :func:`judge_chips`.
"""

from s2sharp_core.lazy import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "chips": ["REQUIREMENT", "fetch_chips", "read_chips"],
        "real": [
            "METHODS_COMPARED",
            "Detail",
            "chip_cases",
            "draw_chips",
            "errors",
            "judge_chips",
            "seen_in_training",
            "spectrum",
        ],
        "score": ["make_scenes"],
        "synthetic": ["COLLECTION", "simulate"],
    },
)
