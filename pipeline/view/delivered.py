"""Native pixels for the map, beside the sharpened ones: each band at its own resolution."""

import time
from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from rioxarray.exceptions import NoDataInBounds

from s2sharp_core import BANDS, S2SharpError
from s2sharp_core.lattice import Box

from ..cube.layout import Bounds, Layout
from ..scenes.acquisition import Acquisition
from ..scenes.read import Files, reflectance

# Seconds before an unreadable file is tried again, because an unreachable archive takes minutes to fail.
_REST = 60.0


@dataclass
class Delivered:
    """Reader of native bands from the addresses in the items."""

    _failed: dict[tuple[str, str], tuple[float, S2SharpError]] = field(default_factory=dict)

    def read(
        self, acquisition: Acquisition, bands: tuple[str, ...], box: Box
    ) -> dict[str, np.ndarray]:
        """Return reflectance over ``box`` by band, float32 (n·rows, n·cols) at its own GSD, NaN as nodata.

        Errors: as in :func:`~s2sharp.scenes.read.read_scene`; for a minute, the error is repeated without another
        attempt.
        """
        files, found = Files(acquisition), {}
        for band in bands:
            until, why = self._failed.get((acquisition.id, band), (0.0, None))
            if why is not None and time.monotonic() < until:
                raise why
            try:
                found[band] = reflectance(files, acquisition, band, box)
            except S2SharpError as error:
                self._failed[acquisition.id, band] = time.monotonic() + _REST, error
                raise
        return found


@dataclass(frozen=True)
class Native:
    """An acquisition in its native pixels, where a run requested it."""

    files: Delivered
    layout: Layout
    acquisition: Acquisition

    def box(self, bounds: Bounds) -> Box:
        """Return its cells around ``bounds`` (left, bottom, right, top) in metres; ``NoDataInBounds`` without any."""
        box = self.layout.lattice.around(bounds) & self.layout.area & self.acquisition.box
        if box.empty:
            raise NoDataInBounds("The acquisition has nothing here.")
        return box

    def array(self, bands: tuple[str, ...], bounds: Bounds) -> xr.DataArray:
        """Return bands around ``bounds`` (band, y, x) at 10 m, with each native pixel repeated and NaN as nodata."""
        box = self.box(bounds)
        read = self.files.read(self.acquisition, bands, box)
        repeated = [np.kron(read[b], np.ones((BANDS[b].gsd // 10,) * 2)) for b in bands]
        x, y = self.layout.lattice.coords(box, 10)
        coords = {"band": list(bands), "y": y, "x": x}
        stack = xr.DataArray(np.stack(repeated), coords, ("band", "y", "x"))
        seen = stack.where(stack.notnull().all("band"))
        return seen.rio.write_crs(self.layout.crs).rio.write_nodata(np.nan)

    def at(self, bands: tuple[str, ...], x: float, y: float) -> dict[str, float]:
        """Return the reflectance of each band at a place in metres, NaN as nodata."""
        box = self.box((x, y - 1e-3, x + 1e-3, y))
        read = self.files.read(self.acquisition, bands, box)
        left, _, _, top = self.layout.lattice.bounds(box)
        found = {}
        for band, values in read.items():
            gsd = BANDS[band].gsd
            found[band] = float(values[int((top - y) // gsd), int((x - left) // gsd)])
        return found
