"""Cubes as an analyst opens them."""

from ..cube.open import open_cube

__all__ = ["open_cube"]
