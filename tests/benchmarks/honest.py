"""The bench's figures, on scenes that no weights have seen: `python -m tests.benchmarks.honest`.

Protocols `measured`, `hidden`, `spectrum`, `robust` and `harm` on the four Level-1C scenes and the six Level-2A chips, and 180→60 m
on the scene without 10 m bands. s2net-m is taught anew for each scene, without it and without other scenes of its
datatake; chips too small to be learned from are judged by the net of all Level-1C scenes. With `--weights FOLDER`, the weights there
are judged instead, and marked where they have seen the scene. dsen2 is as it ships: it has seen the Level-1C scenes.
In the end, the figures that decide, beside what is asked.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from rich.table import Table
from s2sharp.bench.compare import BenchOutcome, compare
from s2sharp.bench.tables import write_csv

from s2sharp_core import METHODS
from s2sharp_core.bands import COARSE
from s2sharp_core.evaluation.cases import BenchScene
from s2sharp_core.evaluation.combining import Row
from s2sharp_core.evaluation.harm_scenes import KINDS, drawn_scenes
from s2sharp_core.evaluation.protocols import PROTOCOLS
from s2sharp_core.evaluation.spectrum import departure
from s2sharp_core.learning.s2net import SIZES, S2Recipe, train_net
from s2sharp_core.weights import save_net

from ..data import L2A_CHIPS, SCENES, by_gsd, l2a_chip, real_scene, scene_of_20_m, shared_data
from .showing import console, show, tell

NAME = "s2net-m"
METHOD = ("bicubic", "atprk", "dsen2", NAME)
PROTOCOL = ("measured", "hidden", "spectrum", "robust", "harm")
KIND = {"l1c": SCENES, "l2a": L2A_CHIPS}
Bands = Mapping[int, np.ndarray]


def datatake(name: str) -> str:
    """What scenes of one datatake have in common in their names."""
    return name.rsplit("_", 2)[0] if name in L2A_CHIPS else name


class School:
    """Weights of s2net-m that have not seen a scene: taught when they are asked for, and kept in ``folder``."""

    def __init__(self, folder: Path, scenes: Mapping[str, Bands], recipe: S2Recipe) -> None:
        self.folder, self.recipe = folder, recipe
        large = {n: s for n, s in scenes.items() if min(s[60].shape[1:]) >= 2 * recipe.cells}
        self.scenes = large

    def without(self, name: str) -> Path:
        own = datatake(name)
        others = {n: s for n, s in self.scenes.items() if datatake(n) != own}
        left_out = sorted(set(self.scenes) - set(others))
        place = self.folder / "-".join([str(self.recipe.steps), "without", *left_out])
        file = place / f"{NAME}.safetensors"
        if not file.exists():
            place.mkdir(parents=True, exist_ok=True)
            print(f"teaching without {', '.join(left_out) or 'nothing'}", file=sys.stderr)
            net, _ = train_net(self.recipe, list(others.values()), file.with_suffix(".checkpoint"))
            save_net(net, file, {"scenes": sorted(others)})
            file.with_suffix(".checkpoint").unlink(missing_ok=True)
        return place


def judged(
    scene: BenchScene, protocols: Sequence[str], methods: Sequence[str], weights: Path | None
) -> BenchOutcome:
    cases = [case for name in protocols for case in PROTOCOLS[name].cases(scene)]
    print(f"{scene.name}: {len(cases)} cases", file=sys.stderr)
    own = {NAME: weights} if weights and NAME in methods else {}
    return compare(methods, cases, weights=own, device="cpu", tell=tell)


def _mean(rows: Sequence[Row], **facts: str) -> float:
    found = [r.value for r in rows if all(getattr(r, k) == v for k, v in facts.items())]
    return float(np.mean(found)) if found else float("nan")


def _most(rows: Sequence[Row], **facts: str) -> float:
    found = [r.value for r in rows if all(getattr(r, k) == v for k, v in facts.items())]
    return float(np.max(found)) if found else float("nan")


def _series(rows: Sequence[Row], protocol: str, name: str) -> list[float]:
    """Per frequency or trial: the mean over scenes and bands."""
    start = f"{name}, "
    own = [r for r in rows if r.protocol == protocol and r.metric.startswith(start)]
    return [_mean(own, metric=metric) for metric in dict.fromkeys(r.metric for r in own)]


def figures(rows: Sequence[Row]) -> Iterator[tuple[str, float, str]]:
    """What decides: name, value of one method, and what is asked."""
    for kind, asked in (("l1c", "≥ 34.9"), ("l2a", "≥ 35.8")):
        own = [r for r in rows if r.scene in KIND[kind]]
        value = _mean(own, protocol="measured", band="20 m", metric="SRE")
        yield f"measured, 40→20 m, {kind.upper()}: mean SRE, dB", value, asked
    fine = [r for r in rows if r.scene in SCENES]
    value = _mean(fine, protocol="measured", band="60 m", metric="SRE")
    yield "measured, 360→60 m: mean SRE, dB", value, "+14 over bicubic"
    value = _mean(rows, scene="t18svg", protocol="measured", band="60 m", metric="SRE")
    yield "measured, 180→60 m: mean SRE, dB", value, "≥ +10 over bicubic"
    for kind in KIND:
        own = [r for r in rows if r.scene in KIND[kind]]
        value = _mean(own, protocol="hidden", band="20 m", metric="SRE")
        yield f"hidden, {kind.upper()}: mean SRE of B08 and B04, dB", value, ""
    for kind in (*KIND, ""):
        own = [r for r in rows if r.scene in KIND.get(kind, (*SCENES, *L2A_CHIPS))]
        gain, coherence = (_series(own, "spectrum", name) for name in ("gain", "coherence"))
        where = kind.upper() or "all"
        if gain:
            yield f"spectrum, {where}: departure of the mean gain", departure(gain), "≤ 0.08"
            yield f"spectrum, {where}: least coherence", min(coherence), "≥ 0.96"
    noise = [r for r in rows if r.metric == "RMSE / noise" and r.protocol == "spectrum"]
    each = [_mean(noise, band=band) for band in COARSE]
    yield "consistency over the noise: worst band, mean of the scenes", np.nanmax(each), "≤ 1.5"
    for kind in KIND:
        own = [r for r in rows if r.scene in KIND[kind] and r.band == "20 m"]
        losses = _series(own, "robust", "loss")
        if losses:
            yield (
                f"robust, {kind.upper()}: worst loss, mean of the scenes, dB",
                max(losses),
                "≤ 1.0",
            )
    drawn = [r for r in rows if r.scene in KINDS]
    for band in ("20 m", "60 m"):
        value = _most(drawn, band=band, metric="× bicubic")
        yield f"harm: worst ratio to bicubic over the drawn scenes, {band}", value, "≤ 1.05"
    land = [r for r in rows if r.protocol == "harm" and r.scene not in KINDS]
    for band in ("20 m", "60 m"):
        value = _mean(land, band=band, metric="harmed")
        yield f"harm: pixels worse than bicubic by 20 DN, {band}, %", value, ""
        value = _mean(land, band=band, metric="beyond")
        yield f"harm: pixels beyond the range around, {band}, %", value, ""
        yield (
            f"harm: beyond it by at most, {band}, DN",
            _most(land, band=band, metric="beyond by"),
            "",
        )


def summary(outcome: BenchOutcome) -> None:
    methods = dict.fromkeys(row.method for row in outcome.rows)
    every = {m: list(figures([r for r in outcome.rows if r.method == m])) for m in methods}
    table = Table(title="What decides")
    table.add_column("figure")
    for name in (*methods, "asked"):
        table.add_column(name, justify="right")
    names = dict.fromkeys(name for some in every.values() for name, _, _ in some)
    for name in names:
        found = [
            next(((v, a) for n, v, a in some if n == name), (np.nan, "")) for some in every.values()
        ]
        asked = next((a for _, a in found if a), "")
        values = [
            "–" if np.isnan(v) else f"{v:.3f}" if abs(v) < 1 else f"{v:.2f}" for v, _ in found
        ]
        table.add_row(name, *values, asked)
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, help=f"folder with weights of {NAME} to judge")
    parser.add_argument("--scenes", choices=KIND, help="only these")
    parser.add_argument("--only", action="append", help="only this scene; repeat for more")
    parser.add_argument("--steps", type=int, default=S2Recipe.steps, help=f"of teaching {NAME}")
    parser.add_argument("--out", type=Path, help="folder for table.csv, written after every scene")
    parser.add_argument("--taught", type=Path, help="keep what is taught here, and use it again")
    parser.add_argument("--method", action="append", choices=list(METHODS), help="only this one")
    parser.add_argument("--protocol", action="append", choices=PROTOCOL, help="only this one")
    given = parser.parse_args()
    if shared_data() is None:
        raise SystemExit("No real scenes: set S2SHARP_DATA, or put them at ../shared/data.")
    methods, protocols = given.method or METHOD, given.protocol or PROTOCOL
    every = {name: by_gsd(real_scene(name)) for name in SCENES}
    every |= {name: by_gsd(l2a_chip(name)) for name in L2A_CHIPS}
    wanted = given.only or [
        n for kind, names in KIND.items() if given.scenes in (None, kind) for n in names
    ]
    results, left_out = [], []
    with TemporaryDirectory() as temporary:
        school = School(
            given.taught or Path(temporary), every, S2Recipe(*SIZES[NAME], steps=given.steps)
        )

        def judge(scene: BenchScene, names: Sequence[str]) -> None:
            weights = given.weights
            if weights is None and NAME in methods:
                weights = school.without(scene.name)
            outcome = judged(scene, names, methods, weights)
            results.extend(outcome.results)
            left_out.extend(outcome.left_out)
            if given.out:
                write_csv(BenchOutcome(tuple(results)).rows, given.out)

        for name in wanted:
            judge(BenchScene(name, native=every[name]), protocols)
        if not given.only and "measured" in protocols and given.scenes != "l2a":
            judge(BenchScene("t18svg", native=scene_of_20_m()), ["measured"])
        if not given.only and "harm" in protocols:
            for scene in drawn_scenes():
                judge(scene, ["harm"])
    outcome = BenchOutcome(tuple(results), tuple(left_out))
    show(outcome)
    summary(outcome)


if __name__ == "__main__":
    main()
