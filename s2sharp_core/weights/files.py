"""Names of the files that hold DSen2's weights, and the sizes that they were published in."""

__all__ = ["PUBLISHED", "weights_file"]

PUBLISHED = {"dsen2": (128, 6), "vdsen2": (256, 32)}
"""Method → features and blocks of the paper's nets."""


def weights_file(method: str, gsd: int) -> str:
    """The name that the weights of ``method`` for the bands of ``gsd`` have in their folder."""
    return f"{method}-{gsd}m.safetensors"
