"""Methods on cases: sharpening as in production, and the error of the result by every measure.

A method that learns is fitted to the case's own inputs, never to its truth. Windows, halos and gaps beyond the edge
of the image are those of a run. The result is a long table, one value a row.
"""

import hashlib
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np

from ..bands import BY_GSD, GSDS
from ..errors import S2SharpError
from ..lattice import Box
from ..learning.options import FitOptions, Tell, silent
from ..sensor.response import SENTINEL2, Sensor
from ..sharpeners.base import Sharpener
from ..sharpeners.loading import load_sharpener, unfitted_sharpener
from ..sharpeners.methods import METHODS, Method, known
from ..sharpening import sharpen_part
from ..windows import WINDOW
from .cases import Case, sample_of
from .combining import Row
from .metrics import Value
from .scoring import Again, group_name, score


@dataclass(frozen=True)
class Result:
    """Result of a method on a case: band → float32 (6h, 6w), with its scores."""

    method: str
    case: Case
    pictures: Mapping[str, np.ndarray]
    rows: tuple[Row, ...]
    seen: bool


def outline(
    name: str,
    case: Case,
    weights: Path | None = None,
    device: str = "auto",
    sensor: Sensor = SENTINEL2,
) -> Sharpener:
    """Return a method as it will be on a case: ready if it needs no fit, or else without its weights.

    ``weights``: a folder with weights that replace the shipped ones or a fit. Errors are those of
    :func:`load_sharpener`.
    """
    method = known(name)
    bands = tuple(band for band in case.bands if band in method.bands)
    if method.fit is None or weights:
        return load_sharpener(name, bands, weights, device, sensor=sensor)
    return unfitted_sharpener(name, bands, device, sensor=sensor)


def prepare(
    name: str,
    case: Case,
    folder: Path,
    *,
    weights: Path | None = None,
    options: FitOptions | None = None,
    device: str = "cpu",
    tell: Tell = silent,
) -> tuple[Sharpener, float]:
    """Make a method ready for a case, with a fit to the case's inputs if it learns on the scene.

    The method gets the sensor that the protocol tells, or else one measured on the inputs, as in a run.

    Parameters
    ----------
    folder
        Folder in which fits are kept. A method does not learn the same inputs twice, and a stopped fit continues. A
        damaged or lost fit is repeated.
    weights
        A folder with weights that replace the shipped ones or a fit.

    Returns
    -------
    tuple
        The sharpener, and the seconds of its fit (0 without one).

    Raises
    ------
    S2SharpError
        ``band-missing`` if it reads a band that the case lacks, ``nothing-to-fit``, and the errors of
        :func:`load_sharpener`.
    """
    _refuse_absent(name, case, outline(name, case, weights, device).reads)
    blank = outline(name, case, weights, device, case.told)
    method = METHODS[name]
    if method.fit is None or weights:
        return blank, 0.0
    options = options or FitOptions()
    options = replace(options, steps=options.steps or method.steps, scenes=(case.scene,))
    place = folder / f"{name}-{_digest(case, method, blank, options)}"
    note, so_far = place / "seconds.txt", place / "seconds-so-far.txt"
    worked = not note.exists()

    def watched(step: int, steps: int, loss: float) -> None:
        nonlocal worked
        worked = True
        tell(step, steps, loss)

    before = float(so_far.read_text()) if so_far.exists() else 0.0
    begin = time.perf_counter()
    try:
        # This always runs: the fit detects existing parts by their cards, and learns the rest.
        method.fit(
            sample_of(case.inputs), case.told, blank.bands, options, place, blank.device, watched
        )
    finally:
        if worked and place.is_dir():
            so_far.write_text(f"{before + time.perf_counter() - begin:.3f}\n")
            note.unlink(missing_ok=True)
    if worked:
        so_far.replace(note)
    sharpener = load_sharpener(name, blank.bands, place, blank.device, sensor=case.told)
    return sharpener, float(note.read_text())


def _refuse_absent(name: str, case: Case, reads: tuple[str, ...]) -> None:
    missing = [band for band in reads if band in case.absent]
    if missing:
        raise S2SharpError(
            "band-missing",
            f"{name} reads {', '.join(missing)}, which {case.scene} in {case.protocol.name} lacks.",
            "Judge it by another protocol.",
        )


def _digest(case: Case, method: Method, blank: Sharpener, options: FitOptions) -> str:
    """Return a digest of everything that determines a fit: inputs, sensor, bands, options, code and device."""
    code = version("s2sharp"), sorted(method.constants.items())
    facts = (case.told, blank.bands, options, blank.device, code)
    sha = hashlib.sha256(repr(facts).encode())
    for gsd in GSDS:
        sha.update(np.ascontiguousarray(case.inputs[gsd]).tobytes())
    return sha.hexdigest()[:16]


def judge(case: Case, sharpener: Sharpener, fit_seconds: float = 0.0) -> Result:
    """Sharpen the inputs of a case, and score the result."""
    begin = time.perf_counter()
    pictures = _sharpened(case, sharpener, case.inputs)
    seconds = time.perf_counter() - begin
    result = judge_pictures(
        case,
        sharpener.name,
        pictures,
        partial(_sharpened, case, sharpener),
        seen=case.scene in _trained_on(sharpener, case),
    )
    if case.trial:
        return result
    group = case.part or group_name(case.gsds)
    costs = (
        (group, "seconds", seconds),
        (group, "fit seconds", fit_seconds),
        (group, "multiply-adds", sharpener.multiply_adds),
    )
    return replace(result, rows=(*result.rows, *_rows(case, result.method, costs, result.seen)))


def judge_pictures(
    case: Case,
    method: str,
    pictures: Mapping[str, np.ndarray],
    again: Again | None = None,
    *,
    seen: bool = False,
) -> Result:
    """Score images of any origin on a case.

    Parameters
    ----------
    pictures
        Band → float32 reflectance on the grid of ``case.inputs[10]``.
    again
        The method on other inputs; None if it is not available, so its invention remains unknown.
    seen
        Whether its weights were trained on the scene.
    """
    rows = _rows(case, method, score(case, pictures, again), seen)
    return Result(method, case, pictures, tuple(rows), seen)


def _rows(case: Case, method: str, values: Iterable[Value], seen: bool) -> list[Row]:
    return [
        Row(method, case.scene, case.protocol.name, band, metric, float(value), seen)
        for band, metric, value in values
    ]


def _sharpened(
    case: Case, sharpener: Sharpener, inputs: Mapping[int, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return each band (6h, 6w), by the windows of a run, without data beyond the image."""
    arrays = {
        band: y
        for gsd in GSDS
        for band, y in zip(BY_GSD[gsd], inputs[gsd], strict=True)
        if band in sharpener.reads
    }
    height, width = case.cells
    box = Box(0, height, 0, width)
    # A window larger than the image would cost time for its empty part; values differ by rounding.
    window = -(-min(WINDOW, max(case.cells)) // sharpener.period) * sharpener.period
    return sharpen_part(arrays, box, box, sharpener, window)


def _trained_on(sharpener: Sharpener, case: Case) -> frozenset[str]:
    """Return the scenes that the cards of the weights name.

    Weights that learned on the inputs of the case have seen nothing that the method does not get anyway, and no
    truth. So of these, only the weights that they began from count.
    """
    folder: Path | None = getattr(sharpener, "folder", None)
    names: set[str] = set()
    if folder is None:
        return frozenset()
    for file in sharpener.weights:
        card = json.loads((folder / file).with_suffix(".json").read_text())
        cause = card.get("cause", {})
        given = cause and cause["sample"] == sample_of(case.inputs).digest
        names.update(card.get("start_scenes" if given else "scenes", ()))
    return frozenset(names)
