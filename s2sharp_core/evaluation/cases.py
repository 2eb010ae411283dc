"""Cases: tasks for a method, each with its answer if it is known, and the protocols that make them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np

from ..bands import BANDS, BY_GSD, COARSE, GSDS, rows_of
from ..errors import S2SharpError
from ..sensor.measurement import believed, measure, measured_noise
from ..sensor.response import SENTINEL2, Response, Sensor
from ..sensor.sample import Sample
from ..sensor.simulate import noisy, seen

STEP = 0.05
"""Step in reflectance of the edge that only the 10 m bands show."""

Against = Literal["truth", "input", "spectrum", "bicubic", "range"]
"""References that a result is compared with: the truth; the input; the spectrum of the 10 m bands; interpolation;
the range of the coarse pixels around."""

# Cells along the smallest image that can be measured.
_FEWEST = 6


@dataclass(frozen=True)
class BenchScene:
    """A scene that a protocol starts from: one of ``native``, ``truth`` and ``published``.

    Attributes
    ----------
    native
        An image as the satellite delivers it, without gaps: GSD → float32 reflectance (4, 6h, 6w),
        (6, 3h, 3w), (2, h, w). A scene without 10 m bands serves for 180→60 m.
    truth
        All twelve bands at 10 m, in ESA's order: float32 reflectance (12, 6h, 6w); observed with a
        signal-to-noise ratio of ``snr`` (mean over standard deviation), and noise of ``noise`` on top.
    published
        A paper's arrays as they were published: DN, (y, x, bands).
    noise
        Standard deviation of white noise in every band, reflectance.
    drawn
        Whether it is one of :func:`~s2sharp_core.evaluation.harm_scenes.drawn_scenes`, which look like no real land.
    """

    name: str
    native: Mapping[int, np.ndarray] | None = None
    truth: np.ndarray | None = None
    published: Mapping[str, np.ndarray] | None = None
    snr: float = float("inf")
    noise: float = 0.0
    seed: int = 0
    drawn: bool = False

    @property
    def fine(self) -> bool:
        """Return whether it has bands of 10 m."""
        return self.native is None or 10 in self.native


@dataclass(frozen=True)
class Case:
    """A task for a method, and its answer.

    Attributes
    ----------
    inputs
        GSD → float32 reflectance (4, 6h, 6w), (6, 3h, 3w), (2, h, w). They are named by the GSD that they stand
        for: with ``scale`` 2, "10" is 20 m. Bands that are all NaN are absent.
    truth
        GSD of bands → the right values on the grid of ``inputs[10]``, or on one twice as coarse if there is a
        ``lens``; empty if not known.
    gsds
        The GSDs of the judged bands.
    scale
        Factor by which everything was degraded.
    edge
        (6h, 6w): an edge that is added to the 10 m bands alone, to see what a method makes of it; None without such a
        trial.
    judged
        The judged bands, if these are not all of ``gsds``; ``part``: their common name.
    seen_with
        Sensor of the inputs, if it is not that of the protocol.
    trial
        The fault of the inputs, for protocols that try one.
    against
        Reference that the result is compared with.
    lens
        Sensor with which the result is degraded before the comparison: the truth is known on a grid twice as coarse.
    """

    scene: str
    protocol: "Protocol"
    inputs: Mapping[int, np.ndarray]
    truth: Mapping[int, np.ndarray]
    gsds: tuple[int, ...]
    scale: int = 1
    edge: np.ndarray | None = field(default=None, repr=False)
    judged: tuple[str, ...] = ()
    part: str = ""
    seen_with: Sensor | None = None
    trial: str = ""
    against: Against = "truth"
    lens: Sensor | None = None

    @property
    def sensor(self) -> Sensor:
        """Return the sensor of the inputs."""
        return self.seen_with or self.protocol.sensor

    @property
    def told(self) -> Sensor:
        """Return the sensor that a method is told: the whole one by papers' protocols, else one measured on the
        inputs, as in a run.
        """
        return self.sensor if self.protocol.tells else self.found

    @cached_property
    def found(self) -> Sensor:
        """Return the sensor as measured on the inputs."""
        return measured_sensor(self.inputs)

    @property
    def bands(self) -> tuple[str, ...]:
        """Return the judged bands, in ESA's order."""
        return self.judged or tuple(band for band in COARSE if BANDS[band].gsd in self.gsds)

    @property
    def absent(self) -> frozenset[str]:
        """Return the bands that the inputs lack."""
        return frozenset(
            band
            for gsd in GSDS
            for band, y in zip(BY_GSD[gsd], self.inputs[gsd], strict=True)
            if np.isnan(y).all()
        )

    @property
    def cells(self) -> tuple[int, int]:
        """Return height and width in cells."""
        height, width = self.inputs[60].shape[1:]
        return int(height), int(width)

    def step(self, gsd: int) -> str:
        """Return the step in resolution of the bands of ``gsd``: "40→20 m"."""
        return f"{gsd * self.scale}→{(20 if self.lens else 10) * self.scale} m"


@dataclass(frozen=True)
class Protocol:
    """A way to make cases, and the definitions by which they are judged.

    Attributes
    ----------
    summary, quirks
        A description in a sentence; differences from the ground, and why they are kept.
    sensor
        Sensor that makes the coarse images, if a case does not name another.
    tells
        Whether methods are told that sensor. Otherwise they get one measured on the inputs, as in a run.
    border
        Pixels of the result's grid that are left out at each edge. Without a reference, pixels of the input's grid, added
        to the reach of its PSF.
    sre
        ``"squares"``: Σx² / Σe²; ``"mean"``: mean(x)² / MSE (:mod:`.metrics`).
    file
        Archive of a paper's arrays that it is made for (``apex``: ``apex.npz``); None for any scene.
    headline
        The metric that decides.
    metrics
        Metric → its definition here, if it differs from that of other protocols with a truth.
    """

    name: str
    summary: str
    make: Callable[["Protocol", BenchScene], tuple[Case, ...]] = field(repr=False)
    quirks: str = ""
    sensor: Sensor = SENTINEL2
    tells: bool = True
    border: int = 6
    sre: Literal["squares", "mean"] = "squares"
    file: str | None = None
    headline: str = "SRE"
    metrics: Mapping[str, str] = field(default_factory=dict)

    def cases(self, scene: BenchScene) -> tuple[Case, ...]:
        """Return the tasks that ``scene`` gives."""
        return self.make(self, scene)

    @property
    def definitions(self) -> dict[str, str]:
        """Return the definition of each metric, in words."""
        if self.metrics:
            return dict(self.metrics)
        sre = "Σx² / Σe²" if self.sre == "squares" else "mean(x)² / MSE"
        return {
            "border": f"{self.border} pixels of the result's grid left out at each edge",
            "RMSE": "DN (1/10 000 of reflectance), per band",
            "SRE": f"10·log10({sre}) in dB, per band; x the truth, e the error",
            "SAM": "mean angle in degrees between the spectra of the bands that are judged together "
            "(and of all coarse bands, if both resolutions were sharpened)",
            "ERGAS": "100/r · √mean((RMSE/mean)²) over the bands that are judged together, r = 2 for 20 m and "
            "6 for 60 m",
            "UIQI": "windows of 8 × 8 pixels, one pixel apart, per band",
            "SSIM": "11 × 11 pixels, Gaussian of σ = 1.5; K1 = 0.01, K2 = 0.03; L = the truth's max - "
            "min, per band",
            "Q2n": "blocks of 32 × 32 pixels, bands that are judged together",
            "index RMSE": "of the index computed from the result and from the truth (NDVI of the red "
            "edge, NDWI, NBR)",
            "invention": f"if the truth is known at 10 m: an edge of {STEP:g} in reflectance is added to the 10 m "
            "bands alone. The change of the result within 6 pixels of the edge, as a share of a full copy "
            "(0: nothing, 1: all of it)",
        }


@dataclass(frozen=True)
class _Known:
    """Inputs that are compared by content."""

    digest: str
    sample: Sample = field(compare=False)


def sample_of(inputs: Mapping[int, np.ndarray]) -> Sample:
    """Return inputs (GSD → (bands, y, x)) as data to learn from; bands that are absent are not read."""
    return Sample.of({gsd: np.nan_to_num(y) for gsd, y in inputs.items()})


def measured_sensor(inputs: Mapping[int, np.ndarray]) -> Sensor:
    """Measure the sensor on inputs (GSD → (bands, y, x)) as a run does; bands that are NaN keep the default."""
    sample = sample_of(inputs)
    if min(sample.cells) < _FEWEST:
        return SENTINEL2
    return _measured(_Known(sample.digest, sample))


@lru_cache(maxsize=16)
def _measured(known: _Known) -> Sensor:
    return believed(measure(known.sample), measured_noise(known.sample))


def one_kernel(kernel: Response) -> Sensor:
    """Return the sensor that sees every band with ``kernel``."""
    return Sensor(responses=tuple(replace(kernel, band=band) for band in BANDS))


def observed(scene: BenchScene, sensor: Sensor) -> dict[int, np.ndarray]:
    """Return a scene at the satellite's own resolution: GSD → float32 (bands, y, x)."""
    if scene.truth is None:
        return dict(native(scene))

    def level(_: int, y: np.ndarray) -> np.ndarray:
        return np.asarray(y.mean(axis=(1, 2), keepdims=True) / scene.snr + scene.noise)

    return noisy(seen(scene.truth, sensor), level, [scene.seed, 1])


def native(scene: BenchScene) -> Mapping[int, np.ndarray]:
    """Return the bands as the satellite delivers them.

    Raises
    ------
    S2SharpError
        ``bad-config`` for a scene that holds none.
    """
    if scene.native is None:
        raise S2SharpError(
            "bad-config",
            f"{scene.name} holds neither native bands nor a truth at 10 m.",
            "The published arrays of a paper belong to its own protocol, papers/….",
        )
    return scene.native


def wanted(truth: np.ndarray) -> dict[int, np.ndarray]:
    """Return the coarse bands of a truth (12, y, x) by GSD."""
    return {gsd: truth[rows_of(BY_GSD[gsd])] for gsd in GSDS if gsd > 10}
