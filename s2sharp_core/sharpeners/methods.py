"""The methods by name, with their descriptions. The code of a method is loaded when the method is first used."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib import import_module
from typing import Any

from ..bands import COARSE
from ..errors import S2SharpError
from .method import Method

_S2NET: dict[str, Any] = {
    "source": "this package, after He et al. 2013, doi:10.1109/TPAMI.2012.213",
    "joins": True,
}
_ADAPTED: dict[str, Any] = {**_S2NET, "needs": "a fit; all bands", "steps": 300, "smallest": 24}
_DSEN2: dict[str, Any] = {
    "source": "Lanaras et al. 2018, doi:10.1016/j.isprsjprs.2018.09.018",
    "senses": False,
}
_UNSUPERVISED = "to compare: unsupervised"
_DEEP_SURE: dict[str, Any] = {
    "when": _UNSUPERVISED,
    "needs": "a fit; all bands",
    "cost": "0.39 M",
    "source": "Nguyen et al. 2022 (IEEE Trans. Geosci. Remote Sens. 60)",
    "steps": 1000,
    "fewest": 2,
    "smallest": 12,
}

_FILES: dict[str, dict[str, dict[str, Any]]] = {
    "bicubic": {
        "bicubic": {
            "gain": 0.0,
            "speed": 9.6,
            "when": "as a baseline to compare with",
            "summary": "each band interpolated: the baseline",
            "needs": "nothing",
            "cost": "25 a band",
            "source": "Keys 1981, doi:10.1109/TASSP.1981.1163711",
            "senses": False,
        },
    },
    "s2net": {
        name: facts
        for size, whom, cost, speed, when, gain, adapted in (
            (
                "s2net-s",
                "few CPU cores",
                "0.04 M",
                1.46,
                "for large areas on few cores",
                11.0,
                None,
            ),
            (
                "s2net-m",
                "the default",
                "0.21 M",
                0.51,
                "in general: the default",
                11.3,
                11.4,
            ),
            (
                "s2net-l",
                "GPUs",
                "0.44 M",
                0.35,
                "slightly more accurate; on GPUs",
                None,
                None,
            ),
        )
        for name, facts in {
            size: {
                **_S2NET,
                "summary": f"local regression and a net; {whom}",
                "needs": "all bands",
                "cost": cost,
                "gain": gain,
                "speed": speed,
                "when": when,
            },
            f"{size}-adapted": {
                **_ADAPTED,
                "summary": f"{size}, trained on the scene",
                "cost": cost,
                "gain": adapted,
                "speed": speed,
                "when": "for an unusual landscape",
            },
        }.items()
    },
    "dsen2": {
        "dsen2": {
            **_DSEN2,
            "summary": "residual nets; slim as shipped",
            "gain": 9.1,
            "speed": 0.24,
            "when": "to compare: a slim DSen2",
            "needs": "10, 20, 60 m bands",
            "cost": "2 × 0.26 M",
        },
        "vdsen2": {
            **_DSEN2,
            "summary": "DSen2 with 32 blocks of 256 features",
            "when": "to compare: a paper's large net",
            "needs": "10, 20, 60 m bands; your weights",
            "cost": "2 × 38 M",
        },
    },
    "ssc_cnn": {
        "ssc_cnn": {
            "gain": 6.7,
            "speed": 0.05,
            "when": "to compare: zero-shot",
            "summary": "zero-shot: on the degraded scene",
            "needs": "a fit; 10, 20, 60 m bands",
            "cost": "2 × 1.0 M",
            "source": "Nguyen et al. 2020, doi:10.1109/IGARSS39084.2020.9323614",
            "steps": 1800,
            "smallest": 18,
        },
    },
    "ucnn": {
        "ucnn": {
            "summary": "unsupervised: must match the input",
            "gain": -0.7,
            "speed": 0.25,
            "when": _UNSUPERVISED,
            "needs": "a fit; all bands",
            "cost": "1.48 M",
            "source": "Nguyen et al. 2021, doi:10.1109/JSTARS.2021.3092286",
            "steps": 2000,
            "smallest": 12,
        },
    },
    "deep_sure": {
        "deep_sure": {
            **_DEEP_SURE,
            "summary": "unsupervised: Stein's unbiased risk",
            "gain": -0.9,
            "speed": 0.18,
        },
        "deep_sure_bp": {
            **_DEEP_SURE,
            "summary": "deep_sure without Stein's correction",
            "gain": -1.5,
            "speed": 0.17,
        },
    },
    "unrolled": {
        "unrolled": {
            "summary": "an ADMM step behind a skip network",
            "gain": -1.4,
            "speed": 0.06,
            "when": _UNSUPERVISED,
            "needs": "a fit; all bands",
            "cost": "1.52 M",
            "source": "Nguyen et al. 2023, doi:10.1109/LGRS.2023.3326845",
            "steps": 600,
            "fewest": 2,
            "smallest": 12,
        },
    },
    "atprk": {
        "atprk": {
            "summary": "classical: regression and kriging",
            "gain": 9.2,
            "speed": 27.0,
            "when": "for speed, where noise is low",
            "needs": "a quick fit; 10 m bands",
            "cost": "0.5 k",
            "source": "Wang et al. 2016, doi:10.1016/j.isprsjprs.2016.02.006",
            "steps": 1,
            "smallest": 8,
        },
    },
    "supreme": {
        "supreme": {
            "summary": "classical: smooth in a subspace",
            "gain": 8.4,
            "speed": 0.14,
            "when": "to compare: classical",
            "needs": "a quick fit; all bands",
            "cost": "11 k",
            "source": "Lanaras et al. 2017, doi:10.1109/CVPRW.2017.194",
            "steps": 1,
            "smallest": 16,
        },
    },
}

FACTS: Mapping[str, dict[str, Any]] = {
    name: {"name": name, **facts} for methods in _FILES.values() for name, facts in methods.items()
}
"""Method → fields of its :class:`Method`, for the file that makes it. A method that learns has ``steps``."""


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


def _listed(file: str, name: str) -> Method:
    facts, load = FACTS[name], _later(file, name, "load")
    if "steps" not in facts:
        return Method(**facts, bands=COARSE, load=load)
    return Method(
        **facts,
        bands=COARSE,
        load=load,
        fit=_later(file, name, "fit"),
        blank=_later(file, name, "blank"),
        constants=_Constants(partial(_made, file, name)),
    )


METHODS: dict[str, Method] = {
    name: _listed(file, name) for file, methods in _FILES.items() for name in methods
}


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
