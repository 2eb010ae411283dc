"""Native pixels beside what was made of them: each band as large as the satellite delivered it."""

import time
from dataclasses import dataclass, field

import numpy as np

from s2sharp_core import S2SharpError
from s2sharp_core.lattice import Box

from ..scenes.acquisition import Acquisition
from ..scenes.radiometry import decode, reference_offset
from ..scenes.read import Files

__all__ = ["Delivered"]

# Seconds until a file that could not be read is asked for again: an archive that is out of reach takes minutes to say so.
_REST = 60.0


@dataclass
class Delivered:
    """Reads native bands from where the items say that they lie."""

    _failed: dict[tuple[str, str], tuple[float, S2SharpError]] = field(default_factory=dict)

    def read(
        self, acquisition: Acquisition, bands: tuple[str, ...], box: Box
    ) -> dict[str, np.ndarray]:
        """Return reflectance over ``box`` by band, float32 (n·rows, n·cols) at its own GSD, NaN where there is none.

        Raises
        ------
        S2SharpError
            As :func:`~s2sharp.scenes.read.read_scene`, for a minute again without another try.
        """
        files, found = Files(acquisition), {}
        for band in bands:
            until, why = self._failed.get((acquisition.id, band), (0.0, None))
            if why is not None and time.monotonic() < until:
                raise why
            try:
                dn, _ = files.mosaic(band, box)
            except S2SharpError as error:
                self._failed[acquisition.id, band] = time.monotonic() + _REST, error
                raise
            found[band], _ = decode(dn, *reference_offset(acquisition, band))
        return found
