"""``s2sharp evaluate``: methods × scenes × protocols, on real scenes if there are any."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from s2sharp_core import METHODS, S2SharpError
from s2sharp_core.evaluation.cases import BenchScene, Case, Protocol
from s2sharp_core.evaluation.combining import Row, combined
from s2sharp_core.evaluation.evaluate import Result, judge, outline, prepare
from s2sharp_core.evaluation.harm_scenes import drawn_scenes
from s2sharp_core.evaluation.protocols import PROTOCOLS, synthetic_scenes
from s2sharp_core.learning.options import FitOptions

from ..scenes.whole_scenes import real_scenes


@dataclass(frozen=True)
class Tasks:
    """Cases to run methods on. ``real``: whether they contain satellite data."""

    cases: tuple[Case, ...]
    real: bool


@dataclass(frozen=True)
class BenchOutcome:
    """Results, and the reasons of failures: "method, scene, protocol: why"."""

    results: tuple[Result, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def rows(self) -> tuple[Row, ...]:
        """Return all values, also those that several cases of a scene share."""
        return combined(row for result in self.results for row in result.rows)


def find_tasks(
    protocols: Sequence[str] = ("measured",),
    *,
    catalog: Path | None = None,
    collection: str = "sentinel-2-l1c",
    papers: Path | None = None,
    scenes: Sequence[str] = (),
    synthetic: int | None = None,
    cells: int = 48,
) -> Tasks:
    """Return the cases of protocols on all scenes that can be found, or on the named ``scenes``.

    ``catalog`` and ``collection``: a static catalog of real scenes. ``papers``: a folder with published arrays of papers
    (``apex.npz`` …); by default ``papers`` beside the catalog's folder, or in the folder that ``S2SHARP_DATA`` names.
    ``synthetic``: number of landscapes, each ``cells`` × ``cells``; by default two without a catalog, none with one.

    Errors: ``bad-config`` for an unknown protocol, ``nothing-found`` for missing scenes.
    """
    _refuse_unknown("bad-config", "protocol", protocols, PROTOCOLS)
    folder = _papers(papers, catalog)
    general = [PROTOCOLS[name] for name in protocols if PROTOCOLS[name].file is None]
    found: dict[str, BenchScene] = {}
    real = False
    if general and catalog:
        native = real_scenes(catalog, collection)
        found |= {name: BenchScene(name, native=bands) for name, bands in native.items()}
        real = True
    if general and folder and (folder / "apex.npz").is_file():
        found["apex"] = _apex(folder)
    if general:
        count = synthetic if synthetic is not None else 0 if catalog else 2
        found |= {scene.name: scene for scene in synthetic_scenes(count, cells)}
    tasks = [(protocol, scene) for protocol in general for scene in found.values()]
    if "harm" in protocols:
        tasks += [(PROTOCOLS["harm"], scene) for scene in drawn_scenes()]
    for name in protocols:
        if PROTOCOLS[name].file:
            tasks.append((PROTOCOLS[name], _published(PROTOCOLS[name], folder)))
            real = real or "apex" not in name
    have = dict.fromkeys(scene.name for _, scene in tasks)
    missing = [name for name in scenes if name not in have]
    if missing or not tasks:
        raise S2SharpError(
            "nothing-found",
            f"There is no scene {', '.join(missing)}." if missing else "There is no scene.",
            f"There are: {', '.join(have)}." if have else "Give --catalog, or --synthetic 2.",
        )
    chosen = [(p, s) for p, s in tasks if not scenes or s.name in scenes]
    return Tasks(tuple(case for p, s in chosen for case in p.cases(s)), real)


def _refuse_unknown(
    kind: str, what: str, names: Iterable[str], known: Mapping[str, object]
) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise S2SharpError(
            kind, f"There is no {what} {', '.join(unknown)}.", f"Choose from: {', '.join(known)}."
        )


def _papers(given: Path | None, catalog: Path | None) -> Path | None:
    if given:
        return given
    places = [catalog.resolve().parent.parent / "papers"] if catalog else []
    if "S2SHARP_DATA" in os.environ:
        places.append(Path(os.environ["S2SHARP_DATA"]) / "papers")
    return next((place for place in places if place.is_dir()), None)


def _arrays(file: Path) -> dict[str, np.ndarray]:
    with np.load(file) as content:
        return {name: content[name] for name in content.files}


def _apex(folder: Path) -> BenchScene:
    """Return the airborne image as a truth at 10 m, observed without added noise, because it has its own."""
    truth = _arrays(folder / "apex.npz")["truth"].transpose(2, 0, 1)
    return BenchScene("apex", truth=np.ascontiguousarray(truth, dtype=np.float32) / 10_000)


def _published(protocol: Protocol, folder: Path | None) -> BenchScene:
    name = f"{protocol.file}.npz"
    if folder is None or not (folder / name).is_file():
        raise S2SharpError(
            "nothing-found",
            f"{protocol.name} needs {name}, the arrays that the paper published"
            + (f", and {folder} does not hold it." if folder else "."),
            "Give the folder that holds it with --papers.",
        )
    # "coastal_rr" is made from the scene "coastal", which weights may have been trained on.
    return BenchScene(name.partition("_")[0].removesuffix(".npz"), published=_arrays(folder / name))


Tell = Callable[[str, int, str], None]
"""Callback, called with (method, finished cases, current activity)."""


def compare(
    methods: Sequence[str],
    cases: Sequence[Case],
    *,
    weights: Mapping[str, Path] | None = None,
    options: FitOptions | None = None,
    device: str = "auto",
    fits: Path | None = None,
    tell: Tell = lambda *_: None,
    keep: Callable[[BenchOutcome], object] = lambda _: None,
) -> BenchOutcome:
    """Run every method on every case; failures are reported and left out.

    Everything that needs no fit is loaded before the first fit. ``weights``: method → a folder with custom weights.
    ``options``: those of methods that learn on the scene. ``fits``: a folder in which fits are kept; without it, they are
    deleted at the end. ``keep`` is called after every case with the results so far.

    Errors: ``method-unknown``, ``weights-missing``, ``weights-corrupt``, ``bad-config`` for an unavailable device.
    """
    _refuse_unknown("method-unknown", "method", (*methods, *(weights or {})), METHODS)
    own = {name: (weights or {}).get(name) for name in methods}
    for name in methods:
        for case in {case.bands: case for case in cases}.values():
            outline(name, case, own[name], device)
    outcome = BenchOutcome()
    with nullcontext(fits) if fits else TemporaryDirectory(prefix="s2sharp-fits-") as folder:
        for name in methods:
            for done, case in enumerate(cases):
                parts = case.scene, case.protocol.name, case.part, case.trial
                where = ", ".join(filter(None, parts))
                say = partial(tell, name, done)
                say(where)
                try:
                    sharpener, seconds = prepare(
                        name,
                        case,
                        Path(folder),
                        weights=own[name],
                        options=options,
                        device=device,
                        tell=partial(_tell_fit, say, where),
                    )
                    result = judge(case, sharpener, seconds)
                    outcome = replace(outcome, results=(*outcome.results, result))
                except S2SharpError as error:
                    why = f"{name}, {where}: {error}"
                    outcome = replace(outcome, left_out=(*outcome.left_out, why))
                keep(outcome)
            tell(name, len(cases), "")
    return outcome


def _tell_fit(say: Callable[[str], None], where: str, step: int, steps: int, loss: float) -> None:
    say(f"{where}: fit, step {step} of {steps}, loss {loss:.4g}")


def folders(given: Iterable[str]) -> dict[str, Path]:
    """Parse ``METHOD=FOLDER`` into a dictionary. Error: ``bad-config`` for text of another form."""
    pairs = [text.partition("=") for text in given]
    for name, _, folder in pairs:
        if not name or not folder:
            raise S2SharpError(
                "bad-config",
                f"{name + folder!r} is not METHOD=FOLDER.",
                "For example: --weights dsen2=my-weights.",
            )
    return {name: Path(folder) for name, _, folder in pairs}
