"""Windows of one scene or datatake: the only data that a fit or a measurement reads."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..bands import GSDS
from ..errors import S2SharpError


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
