"""Names of the files of DSen2's weights, and the published sizes of its nets."""

PUBLISHED = {"dsen2": (128, 6), "vdsen2": (256, 32)}
"""Method → features and blocks of the published nets."""


def weights_file(method: str, gsd: int | None = None) -> str:
    """Return the file name of the weights of ``method``, for the bands of ``gsd`` if it has a net for each."""
    return f"{method}.safetensors" if gsd is None else f"{method}-{gsd}m.safetensors"
