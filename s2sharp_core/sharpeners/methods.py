"""The methods by name, with their descriptions. The code of a method is loaded when the method is first used."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib import import_module
from typing import Any

from ..bands import COARSE
from ..errors import S2SharpError
from .method import Method


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
