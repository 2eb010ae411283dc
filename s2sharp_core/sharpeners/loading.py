"""Functions that make methods ready to use."""

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import torch

from ..bands import in_order
from ..errors import S2SharpError
from ..sensor.response import SENTINEL2, Sensor
from .base import Sharpener
from .methods import METHODS, Method, known


def load_sharpener(
    name: str,
    bands: Iterable[str] | None = None,
    weights: Path | str | None = None,
    device: str = "auto",
    precision: str = "auto",
    sensor: Sensor = SENTINEL2,
) -> Sharpener:
    """Make a method ready to use.

    Parameters
    ----------
    name
        One of ``METHODS``.
    bands
        Coarse bands to return. Default: all that the method can sharpen.
    weights
        A folder with your own weights (made by ``s2sharp train``) in place of the shipped ones.
    device
        ``"cpu"``, ``"cuda"``, or ``"auto"`` for a GPU if there is one.
    precision
        Number format of the nets: ``"float32"``, ``"bfloat16"``, ``"int8"``, or ``"auto"``: the fastest of them that the
        processor has and the nets can use. Only nets that correct a float32 image use fewer bits than it.
    sensor
        Sensor of the product; measure it with :func:`~s2sharp_core.sensor.measurement.measure`.

    Raises
    ------
    S2SharpError
        ``method-unknown``, ``band-unknown``, ``weights-missing``, ``weights-corrupt``; ``not-fitted``
        for a method that learns on the scene, if no ``weights`` are given.
    """
    method, wanted, device = _known(name, bands, device)
    folder = Path(weights) if weights else None
    return _load(method.name, wanted, folder, device, precision, sensor, _stamp(folder))


def _stamp(folder: Path | None) -> tuple[tuple[str, int, int], ...]:
    """Return the state of the files in a folder of weights, which may change during a process."""
    files = sorted(folder.glob("*.safetensors")) if folder else []
    return tuple((f.name, f.stat().st_mtime_ns, f.stat().st_size) for f in files)


def unfitted_sharpener(
    name: str,
    bands: Iterable[str] | None = None,
    device: str = "auto",
    precision: str = "auto",
    sensor: Sensor = SENTINEL2,
) -> Sharpener:
    """Return an unfitted sharpener of a method that learns on the scene: its reads, halo and cost, without weights.

    A method that needs no fit is returned as it is. Errors are those of :func:`load_sharpener`.
    """
    method, wanted, device = _known(name, bands, device)
    if method.blank is None:
        return load_sharpener(name, wanted, device=device, precision=precision, sensor=sensor)
    blank = method.blank(wanted, device)
    blank.compute_in(precision)
    blank.see_with(sensor)
    return blank


def _known(
    name: str, bands: Iterable[str] | None, device: str
) -> tuple[Method, tuple[str, ...], str]:
    method = known(name)
    wanted = tuple(method.bands if bands is None else bands)
    unknown = [band for band in wanted if band not in method.bands]
    if unknown:
        raise S2SharpError(
            "band-unknown",
            f"{name} does not sharpen {', '.join(unknown)}.",
            f"It sharpens {', '.join(method.bands)}.",
        )
    there = torch.cuda.is_available()
    if device == "auto":
        device = "cuda" if there else "cpu"
    if device not in ("cpu", "cuda") or (device == "cuda" and not there):
        raise S2SharpError(
            "bad-config",
            f"There is no device {device!r} here.",
            "Choose cpu or auto; cuda needs a GPU and a build of torch for it.",
        )
    return method, in_order(wanted), device


@lru_cache(maxsize=8)
def _load(
    name: str,
    bands: tuple[str, ...],
    weights: Path | None,
    device: str,
    precision: str,
    sensor: Sensor,
    stamp: tuple[tuple[str, int, int], ...],  # noqa: ARG001  (part of the cache's key)
) -> Sharpener:
    sharpener = METHODS[name].load(bands, weights, device)
    sharpener.compute_in(precision)
    sharpener.see_with(sensor)
    return sharpener
