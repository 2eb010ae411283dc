"""Windows without gaps of one scene or datatake: the only data that a fit or a measurement reads."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..bands import BANDS, BY_GSD, CELL, GSDS
from ..errors import S2SharpError
from ..lattice import Box

SIDE = 64
"""Side of a window in cells, as in a run."""

# Largest number of windows of a larger scene.
_WINDOWS = 16


@dataclass(frozen=True)
class Sample:
    """Windows that a method learns from: reflectance without gaps, bands in ESA's order by GSD.

    ``y10`` (n, 4, 6h, 6w), ``y20`` (n, 6, 3h, 3w), ``y60`` (n, 2, h, w), float32.
    """

    y10: Tensor
    y20: Tensor
    y60: Tensor

    @classmethod
    def of(cls, scene: Mapping[int, np.ndarray]) -> "Sample":
        """Return a whole scene as one window: GSD → (bands, y, x)."""
        y10, y20, y60 = (torch.from_numpy(np.ascontiguousarray(scene[g]))[None] for g in GSDS)
        return cls(y10, y20, y60)

    @property
    def by_gsd(self) -> dict[int, Tensor]:
        """Return the windows by GSD: (n, bands, y, x)."""
        return dict(zip(GSDS, (self.y10, self.y20, self.y60), strict=True))

    def windows(self) -> Iterator[dict[int, Tensor]]:
        """Yield each window: GSD → (bands, y, x)."""
        for window in zip(self.y10, self.y20, self.y60, strict=True):
            yield dict(zip(GSDS, window, strict=True))

    @property
    def cells(self) -> tuple[int, int]:
        """Return height and width of a window in cells."""
        return int(self.y60.shape[-2]), int(self.y60.shape[-1])

    @property
    def digest(self) -> str:
        """Return the sha256 of all values."""
        content = hashlib.sha256()
        for y in self.by_gsd.values():
            content.update(np.ascontiguousarray(y.cpu().numpy()).tobytes())
        return content.hexdigest()

    def __len__(self) -> int:
        return int(self.y60.shape[0])

    def at_least(self, cells: int, method: str) -> None:
        """Refuse windows that are too small for a method to learn from.

        Raises
        ------
        S2SharpError
            ``nothing-to-fit``, with the smallest size.
        """
        if not len(self) or min(self.cells) < cells:
            have = f"{len(self)} windows of {self.cells[0]} × {self.cells[1]} cells"
            raise S2SharpError(
                "nothing-to-fit",
                f"{method} learns on the scene, but there is too little data: {have}.",
                f"It needs a window without gaps of at least {cells} × {cells} cells "
                f"({60 * cells} m a side); a pretrained method needs none.",
            )


def windows_of(arrays: Mapping[str, np.ndarray], box: Box, sides: Sequence[int]) -> Sample | None:
    """Take windows without gaps from a scene: a small scene whole, or up to 16 of the largest side.

    Parameters
    ----------
    arrays
        Band → float32 (h, w) at its native resolution over ``box``, NaN as nodata.
    sides
        Sides of windows in cells, the best first; the last is the smallest acceptable one.

    Returns
    -------
    Sample or None
        Bands that ``arrays`` lack are zero. None if no window of the smallest side is without gaps.
    """
    clean = np.ones(box.shape, dtype=bool)
    for band, y in arrays.items():
        n = CELL // BANDS[band].gsd
        inside = y[box.slices(box, BANDS[band].gsd)]
        clean &= np.isfinite(inside).reshape(box.shape[0], n, box.shape[1], n).all(axis=(1, 3))
    smallest = sides[-1]
    for side in (*(s for s in sides[:-1] if smallest < s <= min(box.shape)), smallest):
        places = _places(clean, side)
        shape = (side, side)
        if clean.all() and max(box.shape) <= 2 * side and min(box.shape) >= smallest:
            places, shape = [(0, 0)], box.shape
        if places:
            return _cut(arrays, box, places, shape)
    return None


def _cut(
    arrays: Mapping[str, np.ndarray],
    box: Box,
    places: Sequence[tuple[int, int]],
    shape: tuple[int, int],
) -> Sample:
    stacks = []
    for gsd in GSDS:
        n = CELL // gsd
        nothing = np.zeros((n * box.shape[0], n * box.shape[1]), dtype=np.float32)
        picture = np.stack([arrays.get(band, nothing) for band in BY_GSD[gsd]])
        parts = [
            picture[:, n * r : n * (r + shape[0]), n * c : n * (c + shape[1])] for r, c in places
        ]
        stacks.append(torch.from_numpy(np.stack(parts)))
    return Sample(*stacks)


def _places(clean: np.ndarray, side: int) -> list[tuple[int, int]]:
    """Return first row and column of separate windows with only ``clean`` cells, spread over the scene."""
    if min(clean.shape) < side:
        return []
    total = np.pad(clean.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    count = (
        total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
    )
    free = count == side * side
    found = []
    for row in range(free.shape[0]):
        for col in np.flatnonzero(free[row]):
            if free[row, col]:
                found.append((row, int(col)))
                free[row : row + side, max(0, col - side + 1) : col + side] = False
    every = max(1, -(-len(found) // _WINDOWS))
    return found[::every]
