"""``sharpen(scene, "s2net-m")``: the main function of the science package."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.delayed import delayed

from .bands import BANDS, BY_GSD, COARSE, error_of, in_order
from .blocks import context, sharpen_block
from .errors import S2SharpError
from .lattice import Box
from .learning.options import FitOptions, Tell, silent
from .scene import known_bands, locate, picture, refuse_dn
from .sensor.estimation import SensorChoice, named
from .sensor.registration import warn_of_shifts
from .sensor.response import SENTINEL2, Sensor
from .sensor.sample import SIDE, windows_of
from .sensor.scene_sensor import sense_arrays
from .sharpeners.base import Sharpener
from .sharpeners.error90 import WithError90
from .sharpeners.guard import guard_message
from .sharpeners.loading import load_sharpener, unfitted_sharpener
from .sharpeners.methods import METHODS
from .windows import WINDOW

# Side of a lazy block in cells: 1536 pixels of 10 m, 36 windows of the default size.
_LAZY = 256


def sharpen(
    scene: xr.DataTree,
    method: str | Sharpener = "s2net-m",
    *,
    bands: str | Iterable[str] | None = None,
    window: int = WINDOW,
    sensor: SensorChoice | Sensor | None = None,
    error90: bool = False,
) -> xr.Dataset:
    """Sharpen all bands of a scene to 10 m.

    Parameters
    ----------
    scene
        A DataTree with children ``r10m``, ``r20m``, ``r60m`` that hold native bands by ESA name
        ("B02", …): dims (y, x), pixel-centre coordinates in metres, a CRS, float reflectance with
        NaN as nodata. With Dask arrays inside, the result is lazy.
    method
        A name (`s2sharp methods` lists them), or a sharpener that was loaded or fitted before. A
        method that learns on the scene is fitted to it first, which takes minutes. A lazy scene
        is never fitted silently: call :func:`fit_sharpener`.
    bands
        Bands to return, by ESA name or group name: ``"swir"``, ``"20m"``. Default: all bands of the scene that the
        method can return.
    window
        Side of the windows that the sharpener processes at once, in cells of 60 m.
    sensor
        Relation of the coarse bands to the 10 m bands. ``"measured"``: measured on this scene, with a warning where it
        is too small or too flat for that. ``"default"``: the known values of the instrument. ``"table"``: the values that
        papers assume. Or the result of :func:`measure_scene`. None: measured for a scene in memory; the default for
        a lazy scene, which is never read silently; a sharpener keeps its own.
    error90
        Whether to add ``B05_error90`` and so on: the half-width of the interval around each sharpened pixel that held
        90 % of the errors on scenes like those used for calibration.

    Returns
    -------
    xarray.Dataset
        float32 reflectance by band, dims (y, x), at 10 m over the whole cells that all bands cover. NaN where a band
        that the method reads has no data. The 10 m bands are those of the scene. Chunks of a lazy result are
        the same for all bands and all of one size, as Zarr requires.

    Raises
    ------
    S2SharpError
        ``scene-malformed``, ``off-lattice``, ``band-missing``, ``method-unknown``; ``not-fitted``
        for a lazy scene and a method that learns on it; ``not-measured`` for a lazy scene that should be
        measured; ``bad-config`` for a sharpener and another sensor; ``not-calibrated``; the errors of
        :func:`fit_sharpener`.
    """
    lattice, box, inputs = locate(scene)
    bands = None if bands is None else known_bands(bands)
    lazy = any(array.chunks is not None for array in inputs.values())
    seen = _sensor(inputs, box, method, sensor, lazy=lazy)
    if isinstance(method, str) and method in METHODS and METHODS[method].fit is not None:
        asked = [b for b in (inputs if bands is None else bands) if b in COARSE]
        method = _fit_now(scene, method, asked, seen, lazy=lazy)
    sharpener, wanted = _choose(inputs, method, bands, seen)
    if error90 and sharpener:
        sharpener = WithError90(sharpener)
        wanted += tuple(error_of(band) for band in wanted if band in sharpener.coarse)
    out: dict[str, Any] = {b: inputs[b].data for b in wanted if b in BY_GSD[10]}
    if sharpener:
        coarse = {band: inputs[band] for band in sharpener.reads}
        if any(array.chunks is not None for array in coarse.values()):
            out |= _lazily({b: a.data for b, a in coarse.items()}, box, sharpener, window)
        else:
            arrays = {band: array.values.astype(np.float32) for band, array in coarse.items()}
            warn_of_shifts(arrays, sharpener.sensor if _senses(method) else SENTINEL2)
            out |= sharpen_part(arrays, box, box, sharpener, window)
    made = picture({band: out[band] for band in wanted}, lattice, box)
    # Blocks begin where windows begin, which may differ from the start of the scene.
    return made.chunk(y=6 * _LAZY, x=6 * _LAZY) if lazy else made


def fit_sharpener(
    scene: xr.DataTree,
    method: str,
    *,
    bands: Iterable[str] | None = None,
    steps: int | None = None,
    seed: int = 0,
    start: Path | str | None = None,
    folder: Path | str | None = None,
    device: str = "auto",
    tell: Tell = silent,
    sensor: SensorChoice | Sensor = "measured",
) -> Sharpener:
    """Fit a method that learns on the scene to this scene.

    Parameters
    ----------
    scene
        As for :func:`sharpen`. Lazy bands are read. A larger scene, or one with gaps, is sampled: the fit uses up to
        16 windows of 64 cells or fewer, without gaps.
    bands
        Coarse bands to fit. Default: all of the scene.
    steps
        Number of steps. Default: that of the method.
    start
        A folder with weights of the same method to begin from.
    folder
        Folder for the weights, card, loss curve and, during the fit, the checkpoint. Called again with the same folder, a
        stopped fit continues. Default: a temporary folder, which is kept, because the sharpener
        travels between processes as a reference to it.
    tell
        Callback, called now and then with (step, steps, mean loss).
    sensor
        As for :func:`sharpen`.

    Raises
    ------
    S2SharpError
        ``nothing-to-fit`` if no window without gaps is large enough; ``fit-failed``;
        ``band-missing``; ``bad-config`` for a method that does not learn on the scene, or for fewer steps
        than it needs.

    Warns
    -----
    UserWarning
        If interpolation or the closed form is more accurate at reduced resolution in some bands, and is returned for
        them.
    """
    options = FitOptions(steps, seed, Path(start) if start else None)
    where = Path(folder) if folder else Path(mkdtemp(prefix="s2sharp-fit-"))
    sharpener, note = _fit(scene, method, bands, options, where, device, tell, sensor)
    if note:
        warnings.warn(note, UserWarning, stacklevel=2)
    return sharpener


def _fit(
    scene: xr.DataTree,
    method: str,
    bands: Iterable[str] | None,
    options: FitOptions,
    folder: Path,
    device: str,
    tell: Tell,
    sensor: SensorChoice | Sensor,
) -> tuple[Sharpener, str]:
    """Fit as in :func:`fit_sharpener`, and also return the messages of its check."""
    _, box, inputs = locate(scene)
    coarse = in_order(b for b in (inputs if bands is None else bands) if b in COARSE)
    blank = unfitted_sharpener(method, coarse, device)
    known = METHODS[method]
    if known.fit is None:
        raise S2SharpError(
            "bad-config",
            f"{method} does not learn on the scene.",
            f'Use it as it is: sharpen(scene, "{method}").',
        )
    _refuse_missing(blank.reads, inputs, f"which {method} reads")
    arrays = {band: inputs[band].values.astype(np.float32) for band in blank.reads}
    options = replace(options, steps=options.steps or known.steps)
    sides = (SIDE, SIDE // 2, known.smallest)
    sample = windows_of(arrays, box, [s for s in sides if s >= known.smallest])
    if sample is None:
        side = known.smallest
        raise S2SharpError(
            "nothing-to-fit",
            f"{method} learns on the scene, but this one of {box.shape[0]} × {box.shape[1]} cells has no "
            f"window without gaps of {side} × {side} cells.",
            f"Give a scene with a part of {60 * side} m a side without gaps, or use a pretrained method.",
        )
    seen = _measured(arrays, box) if sensor == "measured" else named(sensor)
    known.fit(sample, seen, coarse, options, folder, blank.device, tell)
    sharpener = known.load(coarse, folder, blank.device)
    sharpener.compute_in("auto")
    sharpener.see_with(seen)
    return sharpener, guard_message(method, folder, coarse)


def _fit_now(
    scene: xr.DataTree, method: str, asked: Sequence[str], sensor: Sensor, *, lazy: bool
) -> str | Sharpener:
    """Fit a method to a scene in memory; ``asked``: coarse bands, without which nothing is fitted."""
    if lazy:
        raise S2SharpError(
            "not-fitted",
            f"{method} learns on the scene, but this scene is lazy: a fit would read it silently.",
            f'Fit it to a part that fits in memory with fit_sharpener(part, "{method}"), and pass '
            "the result instead of the name.",
        )
    if not asked:
        return method
    # Its networks stay in memory, because an eager scene uses no other process.
    with TemporaryDirectory(prefix="s2sharp-fit-") as folder:
        where = Path(folder)
        sharpener, note = _fit(scene, method, asked, FitOptions(), where, "auto", silent, sensor)
    if note:
        warnings.warn(note, UserWarning, stacklevel=3)
    return sharpener


def _sensor(
    inputs: dict[str, xr.DataArray],
    box: Box,
    method: str | Sharpener,
    sensor: SensorChoice | Sensor | None,
    *,
    lazy: bool,
) -> Sensor:
    """Return the sensor to sharpen with; a scene is measured only for a method whose result depends on it."""
    if isinstance(method, Sharpener):
        if sensor == "measured" or (sensor is not None and named(sensor) != method.sensor):
            raise S2SharpError(
                "bad-config",
                f"This {method.name} sharpener already has a sensor.",
                "Load it with the other one: load_sharpener(…, sensor=measure_scene(scene)).",
            )
        return method.sensor
    if sensor == "measured" and lazy:
        raise S2SharpError(
            "not-measured",
            "This scene is lazy: measuring its sensor would read it silently.",
            "Measure a part that fits in memory, and pass the result: sensor=measure_scene(part).",
        )
    if sensor not in (None, "measured"):
        return named(sensor)
    if lazy or not _senses(method) or not any(band in COARSE for band in inputs):
        return SENTINEL2
    return _measured({b: a.values.astype(np.float32) for b, a in inputs.items()}, box)


def _senses(method: str | Sharpener) -> bool:
    name = method.name if isinstance(method, Sharpener) else method
    return name not in METHODS or METHODS[name].senses


def _measured(arrays: dict[str, np.ndarray], box: Box) -> Sensor:
    """Return the sensor of a scene in memory; its messages become warnings."""
    seen = sense_arrays(arrays, box)
    for text in seen.told:
        warnings.warn(text, UserWarning, stacklevel=4)
    return seen.sensor


def _choose(
    have: dict[str, xr.DataArray],
    method: str | Sharpener,
    bands: Iterable[str] | None,
    sensor: Sensor,
) -> tuple[Sharpener | None, tuple[str, ...]]:
    """Return the sharpener and the bands to return; no sharpener if only 10 m bands are wanted."""
    wanted = in_order(have if bands is None else bands)
    sharpener: Sharpener | None = None
    if isinstance(method, Sharpener):
        name, can = method.name, method.bands
        if bands is None:
            wanted = tuple(b for b in wanted if b in can or b not in COARSE)
        coarse = [b for b in wanted if b in COARSE]
        beyond = [b for b in coarse if b not in can]
        if beyond:
            raise S2SharpError(
                "band-unknown",
                f"This {name} sharpener does not return {', '.join(beyond)}.",
                f"It returns {', '.join(can)}; load one for more bands with load_sharpener.",
            )
        sharpener = method if coarse else None
    else:
        name = method
        coarse = [b for b in wanted if b in COARSE]
        if coarse or name not in METHODS:
            sharpener = load_sharpener(name, coarse, sensor=sensor)
    reads = sharpener.reads if sharpener else ()
    _refuse_missing(wanted, have, "asked for")
    _refuse_missing(reads, have, f"which {name} reads to sharpen {', '.join(coarse)}")
    return sharpener, wanted


def _refuse_missing(bands: Iterable[str], have: dict[str, xr.DataArray], why: str) -> None:
    missing = [band for band in bands if band not in have]
    if missing:
        raise S2SharpError(
            "band-missing",
            f"The scene lacks {', '.join(in_order(missing))}, {why}.",
            f"It holds {', '.join(have)}. Add what is missing, or choose other bands=… or another method.",
        )


def sharpen_part(
    arrays: dict[str, np.ndarray], have: Box, want: Box, sharpener: Sharpener, window: int
) -> dict[str, np.ndarray]:
    """Run :func:`sharpen_block` where the image may end inside the context: NaN is put around it, and replaces
    infinity.
    """
    refuse_dn(arrays)
    around = want.grow(context(sharpener))
    padded = {}
    for band, y in arrays.items():
        gsd = BANDS[band].gsd
        full = np.full(around.pixels(gsd), np.nan, dtype=np.float32)
        inside = y[have.slices(have & around, gsd)]
        full[around.slices(have & around, gsd)] = np.where(np.isfinite(inside), inside, np.nan)
        padded[band] = full
    return sharpen_block(padded, around, want, sharpener, window)


def _lazily(
    arrays: dict[str, Any], box: Box, sharpener: Sharpener, window: int
) -> dict[str, da.Array]:
    """Make one task per block, which reads its own context: a tenth of the tasks of ``map_overlap``."""

    def block(part: dict[str, np.ndarray], have: Box, want: Box) -> dict[str, np.ndarray]:
        numbers = {band: np.asarray(y, dtype=np.float32) for band, y in part.items()}
        return sharpen_part(numbers, have, want, sharpener, window)

    size = -(-_LAZY // window) * window
    rows: dict[int, list[Any]] = {}
    for tile in box.tiles(size):
        want = tile & box
        have = want.grow(context(sharpener)) & box
        part = {b: y[box.slices(have, BANDS[b].gsd)] for b, y in arrays.items()}
        rows.setdefault(tile.row0, []).append((want, delayed(block, pure=False)(part, have, want)))
    return {
        band: da.block(
            [
                [da.from_delayed(done[band], want.pixels(10), np.float32) for want, done in row]
                for row in rows.values()
            ]
        )
        for band in sharpener.bands
    }
