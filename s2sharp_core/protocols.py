"""Protocols: how a picture with a known answer is made, and by what definitions a method is judged on it.

Figures mean something only together with both. A protocol is a small object with a name; given a
:class:`Scene` it makes :class:`Case` objects, which any method can be run on (see :mod:`.evaluate`).

``papers/…`` gives a paper's data, operator, reference and border; methods are fitted to the inputs as
everywhere in the bench. The papers' own way of fitting and stopping is ``python -m tests.benchmarks.papers``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch

from .bands import BANDS, BY_GSD, COARSE, GSDS, ratio
from .errors import S2SharpError
from .observation import MTF_TABLE, SENTINEL2, Sensor, degrade
from .simulate import landscape
from .training import wald_pair

__all__ = ["PROTOCOLS", "Case", "Protocol", "Scene", "synthetic_scenes"]

# Seeds of landscapes that nothing is trained on: those of training begin at 10 000.
_SEED = 20_000

# The edge that only the 10 m bands show: its step in reflectance, and its slope in columns per row.
_STEP, _SLOPE = 0.05, 0.35


@dataclass(frozen=True)
class Scene:
    """What a protocol starts from; one of the three.

    Attributes
    ----------
    native
        A picture as the satellite delivers it, without gaps: GSD → float32 reflectance (4, 6h, 6w),
        (6, 3h, 3w), (2, h, w).
    truth
        All twelve bands at 10 m, in ESA's order: float32 reflectance (12, 6h, 6w); observed with a
        signal-to-noise ratio of ``snr`` (mean over standard deviation).
    published
        A paper's arrays as they were published: DN, (y, x, bands).
    """

    name: str
    native: Mapping[int, np.ndarray] | None = None
    truth: np.ndarray | None = None
    published: Mapping[str, np.ndarray] | None = None
    snr: float = float("inf")
    seed: int = 0


@dataclass(frozen=True)
class Case:
    """A task for a method, and its answer.

    Attributes
    ----------
    inputs
        GSD → float32 reflectance (4, 6h, 6w), (6, 3h, 3w), (2, h, w). Named by the GSD that they stand
        for: with ``scale`` 2, "10" is 20 m. Bands that are all NaN are not there.
    truth
        GSD of bands → what they should be on the grid of ``inputs[10]``; empty where nobody knows.
    gsds
        The GSDs of the bands that are judged.
    scale
        How many times coarser than on the satellite all was seen.
    edge
        (6h, 6w): what is added to the 10 m bands alone, to see what a method makes of it; None for no
        such trial.
    """

    scene: str
    protocol: "Protocol"
    inputs: Mapping[int, np.ndarray]
    truth: Mapping[int, np.ndarray]
    gsds: tuple[int, ...]
    scale: int = 1
    edge: np.ndarray | None = field(default=None, repr=False)

    @property
    def sensor(self) -> Sensor:
        """What the inputs were seen with; a method that learns on them is told."""
        return self.protocol.sensor

    @property
    def bands(self) -> tuple[str, ...]:
        """The bands that are judged, in ESA's order."""
        return tuple(band for band in COARSE if BANDS[band].gsd in self.gsds)

    @property
    def absent(self) -> frozenset[str]:
        """Bands that the inputs lack."""
        return frozenset(
            band
            for gsd in GSDS
            for band, y in zip(BY_GSD[gsd], self.inputs[gsd], strict=True)
            if np.isnan(y).all()
        )

    @property
    def cells(self) -> tuple[int, int]:
        """Height and width in cells."""
        height, width = self.inputs[60].shape[1:]
        return int(height), int(width)

    def step(self, gsd: int) -> str:
        """Which step in resolution the bands of ``gsd`` make: "40→20 m"."""
        return f"{gsd * self.scale}→{10 * self.scale} m"


@dataclass(frozen=True)
class Protocol:
    """How cases are made, and by what definitions they are judged.

    Attributes
    ----------
    summary, quirks
        What it is, in a sentence; what of it is not as on the ground, and why it is done nevertheless.
    sensor
        What makes the coarse pictures.
    border
        Pixels of the result's grid left out at each edge; without a reference, of the input's grid and
        added to the reach of its PSF.
    sre
        ``"squares"``: Σx² / Σe²; ``"mean"``: mean(x)² / MSE (:mod:`.metrics`).
    uiqi_window, q2n_block
        Sides in pixels.
    file
        The archive of a paper's arrays that it is made for (``apex``: ``apex.npz``); None for any scene.
    reference
        Whether there is a truth to compare with.
    """

    name: str
    summary: str
    make: Callable[["Protocol", Scene], tuple[Case, ...]] = field(repr=False)
    quirks: str = ""
    sensor: Sensor = SENTINEL2
    border: int = 6
    sre: Literal["squares", "mean"] = "squares"
    uiqi_window: int = 8
    q2n_block: int = 32
    file: str | None = None
    reference: bool = True

    def cases(self, scene: Scene) -> tuple[Case, ...]:
        """The tasks that ``scene`` gives."""
        return self.make(self, scene)

    @property
    def definitions(self) -> dict[str, str]:
        """Metric → what is meant by it here, in words."""
        if not self.reference:
            return {
                "RMSE": "between the result, seen again by the sensor, and the input; DN (1/10 000 of "
                "reflectance); pixels whose PSF reaches beyond the picture are left out",
            }
        sre = "Σx² / Σe²" if self.sre == "squares" else "mean(x)² / MSE"
        return {
            "border": f"{self.border} pixels of the result's grid left out at each edge",
            "RMSE": "DN (1/10 000 of reflectance), per band",
            "SRE": f"10·log10({sre}) in dB, per band; x the truth, e the error",
            "SAM": "mean angle in degrees between the spectra of the bands of one native resolution "
            "(and of all coarse bands, where both were sharpened)",
            "ERGAS": "100/r · √mean((RMSE/mean)²) over the bands of one resolution, r = 2 for 20 m and "
            "6 for 60 m",
            "UIQI": f"windows of {self.uiqi_window} × {self.uiqi_window} pixels, one pixel apart, per "
            "band",
            "SSIM": "11 × 11 pixels, Gaussian of σ = 1.5; K1 = 0.01, K2 = 0.03; L = the truth's max - "
            "min, per band",
            "Q2n": f"blocks of {self.q2n_block} × {self.q2n_block} pixels, bands of one resolution",
            "index RMSE": "of the index computed from the result and from the truth (NDVI of the red "
            "edge, NDWI, NBR)",
            "invention": f"where the truth is known at 10 m: an edge of {_STEP:g} in reflectance is added to the 10 m "
            "bands alone; how far the result moves, as a share of what copying it whole would do "
            "(0: nothing, 1: all of it), within 6 pixels of the edge",
        }


def synthetic_scenes(count: int, cells: int = 48) -> list[Scene]:
    """Landscapes that nothing was trained on, observed with a signal-to-noise ratio of 200."""
    shape = (6 * cells, 6 * cells)
    return [
        Scene(f"landscape-{i}", truth=landscape(shape, _SEED + i), snr=200.0, seed=_SEED + i)
        for i in range(count)
    ]


def _seen(truth: np.ndarray, sensor: Sensor) -> dict[int, np.ndarray]:
    """``truth`` (12, 6h, 6w) through ``sensor``, without noise: GSD → float32 (bands, y, x)."""
    names = list(BANDS)
    seen = {}
    for gsd in GSDS:
        y = truth[[names.index(band) for band in BY_GSD[gsd]]]
        if gsd > 10:
            y = degrade(torch.from_numpy(y)[None], BY_GSD[gsd], ratio(gsd), sensor)[0].numpy()
        seen[gsd] = y
    return seen


def _noisy(
    seen: Mapping[int, np.ndarray], level: Callable[[np.ndarray], np.ndarray], seed: list[int]
) -> dict[int, np.ndarray]:
    """White noise of standard deviation ``level(y)`` added to each GSD's bands (bands, y, x)."""
    rng = np.random.default_rng(seed)
    return {
        gsd: (y + level(y) * rng.standard_normal(y.shape)).astype(np.float32)
        for gsd, y in seen.items()
    }


def _observed(scene: Scene, sensor: Sensor) -> dict[int, np.ndarray]:
    """A scene at the satellite's own resolution."""
    if scene.truth is None:
        return dict(_native(scene))

    def level(y: np.ndarray) -> np.ndarray:
        return np.asarray(y.mean(axis=(1, 2), keepdims=True) / scene.snr)

    return _noisy(_seen(scene.truth, sensor), level, [scene.seed, 1])


def _native(scene: Scene) -> Mapping[int, np.ndarray]:
    if scene.native is None:
        raise S2SharpError(
            "bad-config",
            f"{scene.name} holds neither native bands nor a truth at 10 m.",
            "The published arrays of a paper belong to its own protocol, papers/….",
        )
    return scene.native


def _wanted(truth: np.ndarray) -> dict[int, np.ndarray]:
    """The coarse bands of a truth (12, y, x) by GSD."""
    names = list(BANDS)
    return {gsd: truth[[names.index(b) for b in BY_GSD[gsd]]] for gsd in GSDS if gsd > 10}


def _edge(shape: tuple[int, int]) -> np.ndarray:
    """A step along a slanted line through the middle, one pixel wide: float32 (y, x)."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    across = (x - shape[1] / 2 - _SLOPE * (y - shape[0] / 2)) / np.hypot(1, _SLOPE)
    return np.asarray(_STEP * np.clip(across + 0.5, 0, 1), dtype=np.float32)


def _reduced(protocol: Protocol, scene: Scene) -> tuple[Case, ...]:
    """With a truth: observed, and asked for it. Else seen coarser, and asked for what it is."""
    if scene.truth is not None:
        inputs = _observed(scene, protocol.sensor)
        height, width = scene.truth.shape[1:]
        truth = _wanted(scene.truth)
        return (Case(scene.name, protocol, inputs, truth, (20, 60), 1, _edge((height, width))),)
    cases = []
    for gsd in (20, 60):
        pair = wald_pair(_native(scene), gsd, protocol.sensor)
        inputs = {g: y.numpy() for g, y in pair.inputs.items()}
        case = Case(scene.name, protocol, inputs, {gsd: pair.truth.numpy()}, (gsd,), ratio(gsd))
        cases.append(case)
    return tuple(cases)


def _full(protocol: Protocol, scene: Scene) -> tuple[Case, ...]:
    """The scene itself; nobody knows the answer."""
    return (Case(scene.name, protocol, _observed(scene, protocol.sensor), {}, (20, 60)),)


def _arrays(scene: Scene) -> dict[str, np.ndarray]:
    """A paper's arrays as float32 reflectance, (bands, y, x)."""
    if scene.published is None:
        raise S2SharpError(
            "bad-config",
            f"{scene.name} does not hold the arrays that a paper published.",
            "Judge it by mtf, dsen2 or consistency.",
        )
    return {
        name: np.ascontiguousarray(y.transpose(2, 0, 1), dtype=np.float32) / 10_000
        for name, y in scene.published.items()
    }


def _coastal(protocol: Protocol, scene: Scene) -> tuple[Case, ...]:
    arrays = _arrays(scene)
    rows, cols = (side // 6 for side in arrays["y10"].shape[1:])
    inputs = {
        10: arrays["y10"],
        20: arrays["y20"],
        60: np.full((2, rows, cols), np.nan, dtype=np.float32),
    }
    return (Case(scene.name, protocol, inputs, {20: arrays["truth20"]}, (20,), 2),)


def _iceland(protocol: Protocol, scene: Scene) -> tuple[Case, ...]:
    arrays = _arrays(scene)
    native = {gsd: arrays[f"y{gsd}"] for gsd in GSDS}
    pair = wald_pair(native, 20, protocol.sensor)
    inputs = {gsd: y.numpy() for gsd, y in pair.inputs.items()}
    return (Case(scene.name, protocol, inputs, {20: pair.truth.numpy()}, (20,), 2),)


def _apex(decibels: float) -> Callable[[Protocol, Scene], tuple[Case, ...]]:
    power = 10 ** (decibels / 10)

    def make(protocol: Protocol, scene: Scene) -> tuple[Case, ...]:
        truth = _arrays(scene)["truth"]

        def level(y: np.ndarray) -> np.ndarray:
            return np.asarray(np.sqrt((y**2).mean(axis=(1, 2), keepdims=True) / power))

        inputs = _noisy(_seen(truth, protocol.sensor), level, [scene.seed, round(decibels)])
        return (Case(scene.name, protocol, inputs, _wanted(truth), (20, 60)),)

    return make


_OWN_FITS = (
    "Data, operator, reference and border are the paper's; methods are fitted to the inputs as everywhere "
    "in the bench. The paper's own way of fitting and stopping: python -m tests.benchmarks.papers"
)
_APEX = Sensor("mtf", centre="corner", taps=15, edge="circular")
_APEX_QUIRKS = (
    "Kernels of 15 taps, circular edges, and `x[::d]` after an odd kernel, so that a 60 m pixel is seen "
    "2.5 pixels of 10 m off its cell and a 20 m one half a pixel; all twelve bands get noise of σ = "
    f"√(mean(y²) / SNR), the 10 m bands too. No border. {_OWN_FITS}"
)

PROTOCOLS: dict[str, Protocol] = {
    p.name: p
    for p in (
        Protocol(
            "mtf",
            "The honest default. Each band is blurred with its MTF, centred on the coarse pixel, and "
            "decimated: a real scene by 2 for its 20 m bands (40→20 m) and by 6 for its 60 m bands "
            "(360→60 m), with the native bands as the truth; where the truth is known at 10 m (synthetic "
            "and airborne), it is observed at 20 and 60 m and asked for.",
            _reduced,
            sensor=MTF_TABLE,
        ),
        Protocol(
            "dsen2",
            "As Lanaras et al. (2018) do it: a Gaussian of σ = 1/d and the mean of d × d pixels.",
            _reduced,
            quirks="This blur is far sharper than the instrument's, so that the pictures are easier than "
            "the satellite's; SRE is mean(x)² / MSE. The border is ours: the paper judges tiles so large "
            "that it does not matter.",
            sensor=Sensor(blur="dsen2"),
            sre="mean",
        ),
        Protocol(
            "consistency",
            "Full resolution, without a reference: the result, seen again through each band's MTF, against "
            "the input. A good answer passes, and so do wrong ones: any detail that the sensor's blur "
            "takes away costs nothing here.",
            _full,
            border=0,
            reference=False,
        ),
        Protocol(
            "papers/coastal",
            "SSC-CNN (Nguyen et al. 2020), table 1: the reduced-resolution arrays of the Coastal scene as "
            "they were published, 40→20 m.",
            _coastal,
            quirks="The arrays are DSen2's blur of `scenes/coastal` (found by trial: 0.1 DN RMSE), so that "
            "a method which learns on them is told that sensor. There are no 60 m bands, and "
            f"methods that read them cannot be run. No border. {_OWN_FITS}",
            sensor=Sensor(blur="dsen2"),
            border=0,
            file="coastal_rr",
        ),
        Protocol(
            "papers/iceland",
            "S2S-UCNN (Nguyen et al. 2021), table III: the Iceland scene seen twice as coarse, 40→20 m.",
            _iceland,
            quirks="Kernels of 7 taps, circular edges and `x[::2]`: a coarse pixel lies on the first of its "
            "four, half a pixel off. The published crop's own grids lie 5 (10 m) and 2 (20 m) pixels off its "
            f"60 m grid. Two pixels of border, after S2Sharp's code. {_OWN_FITS}",
            sensor=Sensor("mtf", centre="corner", taps=7, edge="circular"),
            border=2,
            file="iceland_raw",
        ),
        *(
            Protocol(
                f"papers/apex-{decibels}",
                f"Deep SURE (Nguyen et al. 2022), table III, and the unrolled ADMM (2023): the airborne "
                f"APEX picture observed with a signal-to-noise ratio of {decibels} dB, 20 and 60→10 m.",
                _apex(decibels),
                quirks=_APEX_QUIRKS,
                sensor=_APEX,
                border=0,
                file="apex",
            )
            for decibels in (30, 40)
        ),
    )
}
"""The protocols by name."""
