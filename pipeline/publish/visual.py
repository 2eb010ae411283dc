"""True colours for display: a COG of 8 bits with a fixed stretch, and a small JPEG of it."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import zarr
from rasterio.enums import Resampling
from rasterio.io import DatasetWriter

from ..cube.layout import FILL, SCALE
from ..storage.files import write_bytes
from ..storage.location import Location
from .cog_profile import GAMMA, VISUAL, WHITE, Frame, Place
from .cogs import Means, no_clock, writable, write_cog
from .stretch import TRUE_COLOUR

# Most pixels along the small picture; its grey value for no data.
_SMALL, _NODATA = 512, 228


def write_visual(
    arrays: "Mapping[str, zarr.Array[Any]]",
    time: int,
    frame: Frame,
    target: Location,
    small: Location,
    means: Means | None = None,
) -> bool:
    """Write the true colours of one time step of a cube as a COG, and as a JPEG of at most 512 pixels.

    Return whether the cube has all three bands. Error: ``store-unwritable``.
    """
    if not set(TRUE_COLOUR) <= set(arrays):
        return False

    def parts() -> Iterator[tuple[np.ndarray, Place]]:
        for (rows, cols), place in frame.parts:
            bands = [np.asarray(arrays[band][time, rows, cols]) for band in TRUE_COLOUR]
            yield _stretched(bands), place

    def look(file: DatasetWriter) -> None:
        write_bytes(small, _jpeg(file))

    # The caller measures these steps as one.
    means = replace(means or Means(), clock=no_clock)
    with writable(target):
        write_cog(parts(), frame, VISUAL, target, means, look=look)
    return True


def _stretched(bands: list[np.ndarray]) -> np.ndarray:
    """Convert int16 DN to uint8 (3, h, w); 0 where a band has no data."""
    pixels = np.stack([_STEPS[band.view(np.uint16)] for band in bands])
    pixels[:, ~pixels.all(axis=0)] = 0
    return pixels


def _steps() -> np.ndarray:
    """Return the displayed value of each of the 65 536 values of a pixel."""
    dn = np.arange(1 << 16, dtype=np.uint16).view(np.int16)
    level = np.clip(dn * SCALE / WHITE, 0, 1) ** (1 / GAMMA)
    return np.where(dn == FILL, 0, 1 + np.rint(254 * level)).astype(np.uint8)


_STEPS = _steps()


def _jpeg(file: DatasetWriter) -> bytes:
    """Return the picture as a JPEG of at most 512 pixels."""
    from matplotlib.image import imsave

    height, width = file.shape
    factor = max(1.0, max(height, width) / _SMALL)
    shape = (3, max(1, round(height / factor)), max(1, round(width / factor)))
    pixels = file.read(out_shape=shape, resampling=Resampling.average)
    pixels[:, (pixels == 0).all(axis=0)] = _NODATA
    jpeg = BytesIO()
    imsave(jpeg, np.moveaxis(pixels, 0, -1), format="jpeg", pil_kwargs={"quality": 85})
    return jpeg.getvalue()
