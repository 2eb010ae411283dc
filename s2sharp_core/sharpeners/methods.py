"""The methods by name: their needs, their cost, and the functions that make them ready. The code of a method is loaded
when the method is first used.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ..bands import COARSE
from ..errors import S2SharpError

if TYPE_CHECKING:
    from ..learning.options import FitOptions, Tell
    from ..sensor.response import Sensor
    from ..sensor.sample import Sample
    from .base import Sharpener

Fit: TypeAlias = "Callable[[Sample, Sensor, tuple[str, ...], FitOptions, Path, str, Tell], None]"
"""Type of a function that learns on a sample and writes weights to a folder: (sample, sensor, bands, options, folder, device,
tell)."""


@dataclass(frozen=True)
class Method:
    """A sharpening method: what it is, what it needs and costs, and where it was published.

    Attributes
    ----------
    summary, needs
        A few words each: they stand in one line of a list.
    cost
        Multiply-adds per 10 m pixel, for all coarse bands; "2 ×": a net for 20 m and one for 60 m.
    gain
        Mean SRE of the 20 m bands above interpolation's, in dB, or None if not measured. Measured on the real scenes of
        docs/figures.md by protocol ``mtf``, which asks no method for more than the others.
    speed
        Millions of 10 m pixels a second, all bands, two threads, without a fit; None if not measured.
    when
        When to choose it, in a few words.
    load
        (bands, folder with weights or None for the shipped ones, device) → its sharpener.
    fit
        Function that learns, for a method that learns on the scene. None for a method that needs no fit.
    blank
        (bands, device) → the sharpener as after a fit, with its halo, but without weights.
    steps
        Default number of steps of a fit.
    fewest
        Steps of the shortest fit: 2 with batch norms, whose statistics are frozen between the two.
    smallest
        Side in cells of the smallest window that it can learn from.
    constants
        Numbers in its code, or lists of them, that determine the weights of a fit.
    senses
        Whether its result depends on the sensor: False for a method that uses only the pixels.
    joins
        Whether a CPU may sharpen neighbouring windows as one.
    """

    name: str
    summary: str
    needs: str
    cost: str
    source: str
    bands: tuple[str, ...]
    load: "Callable[[tuple[str, ...], Path | None, str], Sharpener]"
    fit: "Fit | None" = None
    blank: "Callable[[tuple[str, ...], str], Sharpener] | None" = None
    steps: int = 0
    fewest: int = 1
    smallest: int = 0
    constants: Mapping[str, Any] = field(default_factory=dict)
    senses: bool = True
    joins: bool = False
    gain: float | None = None
    speed: float | None = None
    when: str = ""

    def check_steps(self, steps: int | None) -> None:
        """Refuse a fit with too few steps; None is the default number of the method.

        Raises
        ------
        S2SharpError
            ``bad-config``, with the smallest number.
        """
        if steps is not None and steps < self.fewest:
            raise S2SharpError(
                "bad-config",
                f"A fit of {self.name} takes at least {self.fewest} steps, not {steps}.",
                f"Give {self.fewest} or more, or leave the number to the method.",
            )


def _made(file: str, name: str) -> Method:
    """Return the method as its file makes it."""
    module = import_module(f"{__package__}.{file}")
    made: Method = next(m for m in module.METHODS if m.name == name)
    return made


def _later(file: str, name: str, what: str) -> Callable[..., Any]:
    """Return a function of a method, whose file is loaded when the function is first called."""

    def call(*given: Any) -> Any:
        return getattr(_made(file, name), what)(*given)

    return call


class _Constants(Mapping[str, Any]):
    """The constants of a method, whose file is loaded when one is first read."""

    def __init__(self, made: Callable[[], Method]) -> None:
        self._made = made

    def __getitem__(self, key: str) -> Any:
        return self._made().constants[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._made().constants)

    def __len__(self) -> int:
        return len(self._made().constants)


def _method(name: str, file: str = "", **facts: Any) -> Method:
    """Return the method of a file; one with ``steps`` learns on the scene. The file is called like it, unless given."""
    later = partial(_later, file or name, name)
    if "steps" in facts:
        facts |= {"fit": later("fit"), "blank": later("blank")}
        facts["constants"] = _Constants(partial(_made, file or name, name))
    return Method(name=name, bands=COARSE, load=later("load"), **facts)


def _s2net(
    name: str, *, whom: str, adapted: float | None = None, **facts: Any
) -> tuple[Method, Method]:
    """Return a size of s2net as it ships, and adapted to the scene; the gain of that is ``adapted``."""
    facts |= {
        "joins": True,
        "source": "this package, after He et al. 2013, doi:10.1109/TPAMI.2012.213",
    }
    plain = {**facts, "summary": f"local regression and a net; {whom}", "needs": "all bands"}
    scene = {**facts, "summary": f"{name}, trained on the scene", "needs": "a fit; all bands"}
    scene |= {"when": "for an unusual landscape", "steps": 300, "smallest": 24, "gain": adapted}
    return _method(name, "s2net", **plain), _method(f"{name}-adapted", "s2net", **scene)


_LANARAS: dict[str, Any] = {
    "source": "Lanaras et al. 2018, doi:10.1016/j.isprsjprs.2018.09.018",
    "senses": False,
}
_UNSUPERVISED = "to compare: unsupervised"
_DEEP_SURE: dict[str, Any] = {
    "file": "deep_sure",
    "when": _UNSUPERVISED,
    "needs": "a fit; all bands",
    "cost": "0.39 M",
    "source": "Nguyen et al. 2022 (IEEE Trans. Geosci. Remote Sens. 60)",
    "steps": 1000,
    "fewest": 2,
    "smallest": 12,
}

_ALL = (
    _method(
        "bicubic",
        summary="each band interpolated: the baseline",
        needs="nothing",
        cost="25 a band",
        gain=0.0,
        speed=9.6,
        when="as a baseline to compare with",
        source="Keys 1981, doi:10.1109/TASSP.1981.1163711",
        senses=False,
    ),
    *_s2net(
        "s2net-s",
        whom="few CPU cores",
        gain=11.0,
        cost="0.04 M",
        speed=1.46,
        when="for large areas on few cores",
    ),
    *_s2net(
        "s2net-m",
        whom="the default",
        gain=11.3,
        adapted=11.4,
        cost="0.21 M",
        speed=0.51,
        when="in general: the default",
    ),
    *_s2net(
        "s2net-l",
        whom="GPUs",
        cost="0.44 M",
        speed=0.35,
        when="slightly more accurate; on GPUs",
    ),
    _method(
        "dsen2",
        **_LANARAS,
        summary="residual nets; slim as shipped",
        needs="10, 20, 60 m bands",
        cost="2 × 0.26 M",
        gain=9.1,
        speed=0.24,
        when="to compare: a slim DSen2",
    ),
    _method(
        "vdsen2",
        "dsen2",
        **_LANARAS,
        summary="DSen2 with 32 blocks of 256 features",
        needs="10, 20, 60 m bands; your weights",
        cost="2 × 38 M",
        when="to compare: a paper's large net",
    ),
    _method(
        "ssc_cnn",
        summary="zero-shot: on the degraded scene",
        needs="a fit; 10, 20, 60 m bands",
        cost="2 × 1.0 M",
        gain=6.7,
        speed=0.05,
        when="to compare: zero-shot",
        source="Nguyen et al. 2020, doi:10.1109/IGARSS39084.2020.9323614",
        steps=1800,
        smallest=18,
    ),
    _method(
        "ucnn",
        summary="unsupervised: must match the input",
        needs="a fit; all bands",
        cost="1.48 M",
        gain=-0.7,
        speed=0.25,
        when=_UNSUPERVISED,
        source="Nguyen et al. 2021, doi:10.1109/JSTARS.2021.3092286",
        steps=2000,
        smallest=12,
    ),
    _method(
        "deep_sure",
        **_DEEP_SURE,
        summary="unsupervised: Stein's unbiased risk",
        gain=-0.9,
        speed=0.18,
    ),
    _method(
        "deep_sure_bp",
        **_DEEP_SURE,
        summary="deep_sure without Stein's correction",
        gain=-1.5,
        speed=0.17,
    ),
    _method(
        "unrolled",
        summary="an ADMM step behind a skip network",
        needs="a fit; all bands",
        cost="1.52 M",
        gain=-1.4,
        speed=0.06,
        when=_UNSUPERVISED,
        source="Nguyen et al. 2023, doi:10.1109/LGRS.2023.3326845",
        steps=600,
        fewest=2,
        smallest=12,
    ),
    _method(
        "atprk",
        summary="classical: regression and kriging",
        needs="a quick fit; 10 m bands",
        cost="0.5 k",
        gain=9.2,
        speed=27.0,
        when="for speed, where noise is low",
        source="Wang et al. 2016, doi:10.1016/j.isprsjprs.2016.02.006",
        steps=1,
        smallest=8,
    ),
    _method(
        "supreme",
        summary="classical: smooth in a subspace",
        needs="a quick fit; all bands",
        cost="11 k",
        gain=8.4,
        speed=0.14,
        when="to compare: classical",
        source="Lanaras et al. 2017, doi:10.1109/CVPRW.2017.194",
        steps=1,
        smallest=16,
    ),
)

METHODS: dict[str, Method] = {method.name: method for method in _ALL}


def known(name: str) -> Method:
    """Return the method of a name.

    Raises
    ------
    S2SharpError
        ``method-unknown``.
    """
    if name not in METHODS:
        raise S2SharpError(
            "method-unknown",
            f"There is no method {name!r}.",
            f"Choose one of: {', '.join(METHODS)} (`s2sharp methods` describes them).",
        )
    return METHODS[name]
