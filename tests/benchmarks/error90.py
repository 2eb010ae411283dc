"""How wide is `error90`, and does it hold? `python -m tests.benchmarks.error90`; with `--write` it is calibrated anew.

Errors of a method on pictures with a known truth (`tests.benchmarks.error90_pictures`) say how clues become half-widths.
What is reported is leave-one-scene-out: the scene that is judged says nothing of its own width, and with `--folds`
the net has not seen it either (`FOLDS/SCENE/` holds the weights that were taught without it).
"""

import argparse
import json
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

from s2sharp_core.bands import BANDS, COARSE
from s2sharp_core.learning.uncertainty import CLUES, WidthModel, half_width
from s2sharp_core.sharpeners.error90 import FILE
from s2sharp_core.sharpeners.loading import unfitted_sharpener
from s2sharp_core.sharpeners.methods import METHODS
from s2sharp_core.weights import SHIPPED
from tests.benchmarks.error90_fit import fit
from tests.benchmarks.error90_pictures import KINDS, Picture, Seen, pictures, witnesses

READY = ("bicubic", "s2net-s", "s2net-m", "s2net-l", "dsen2", "atprk")
DOCS = Path(__file__).parents[2] / "docs" / "trust.md"
FROM, TO = "<!-- error90: begin -->\n", "<!-- error90: end -->\n"
# Kind of picture that bands of a GSD are calibrated on.
TEACHES = {20: "twice as coarse", 60: "hidden"}
COVERS = ("water", "snow", "vegetation", "sparse", "bare or built")


def taught(seen: Iterable[Seen], without: str = "") -> WidthModel:
    """The widths that scenes teach, but for one."""
    return fit(
        [
            s.witness
            for s in seen
            if s.kind == TEACHES[BANDS[s.witness.band].gsd] and s.witness.scene != without
        ]
    )


def coarser_is_easier(seen: Sequence[Seen], width: WidthModel) -> dict[str, float]:
    """Band → how much wider intervals must be at full resolution than for the same band seen twice as coarse.

    A 10 m band that is hidden has a truth at both; the mean over scenes, of logarithms.
    """
    found = {}
    for band in COARSE:
        quantiles = [
            {
                s.witness.scene: np.quantile(np.abs(s.witness.error) / widths(s, width), 0.9)
                for s in seen
                if s.kind == kind and s.witness.band == band
            }
            for kind in ("hidden", "hidden, twice as coarse")
        ]
        both = quantiles[0].keys() & quantiles[1].keys()
        if both:
            logs = [np.log(quantiles[0][name] / quantiles[1][name]) for name in both]
            found[band] = float(np.exp(np.mean(logs)))
    return found


def widths(seen: Seen, width: WidthModel) -> np.ndarray:
    """Half-widths at the pixels of a witness."""
    squares = [torch.from_numpy(c)[None, None, None] for c in seen.witness.clues]
    return half_width(squares, [seen.witness.band], width).numpy().ravel()


def covers(fine: np.ndarray) -> np.ndarray:
    """Index into `COVERS` of pixels, by the reflectance of B02, B03, B04 and B08 (4, pixels)."""
    _, green, red, nir = fine
    greenness = (nir - red) / np.maximum(nir + red, 1e-4)
    water = (green - nir) / np.maximum(green + nir, 1e-4) > 0
    rules = [
        water & (nir < 0.15),
        (green > 0.35) & (greenness < 0.2),
        greenness > 0.5,
        greenness > 0.25,
    ]
    return np.select(rules, range(4), 4)


class Judged:
    """Errors and half-widths, leave-one-scene-out, of all that was seen."""

    def __init__(self, seen: Sequence[Seen]) -> None:
        teach = {s.witness.scene for s in seen if s.kind in TEACHES.values()}
        without = {name: taught(seen, name) for name in teach}
        whole = taught(seen)
        self.seen = seen
        self.widths = [widths(s, without.get(s.witness.scene, whole)) for s in seen]
        self.errors = [np.abs(s.witness.error) for s in seen]

    def each(self) -> Iterable[tuple[Seen, np.ndarray, np.ndarray]]:
        return zip(self.seen, self.widths, self.errors, strict=True)

    def by_scene(self, kind: str) -> list[list[str]]:
        rows: dict[str, dict[str, float]] = {}
        for s, w, e in self.each():
            if s.kind == kind:
                rows.setdefault(s.witness.scene, {})[s.witness.band] = float((e <= w).mean())
        bands = [b for b in COARSE if any(b in row for row in rows.values())]
        body = [[name, *(percent(row.get(b)) for b in bands)] for name, row in rows.items()]
        return [[kind, *bands], *body]

    def within(self, kind: str, least: float, most: float) -> float:
        """Share of a kind's scenes and bands whose coverage lies between two numbers."""
        found = [least <= (e <= w).mean() <= most for s, w, e in self.each() if s.kind == kind]
        return float(np.mean(found))

    def by_cover(self, kind: str) -> list[list[str]]:
        held: list[list[np.ndarray]] = [[] for _ in COVERS]
        for s, w, e in self.each():
            if s.kind == kind:
                which = covers(s.fine)
                for i in range(len(COVERS)):
                    held[i].append((e <= w)[which == i])
        joined = [np.concatenate(h) for h in held]
        total = sum(h.size for h in joined)
        rows = [
            [name, f"{100 * h.size / total:.0f} %", percent(h.mean() if h.size else None)]
            for name, h in zip(COVERS, joined, strict=True)
        ]
        return [["land cover", "share", "covered"], *rows]

    def by_fifth(self, kind: str) -> list[list[str]]:
        """Within each scene and band, fifths of the width: half-width, coverage, error that 90 % stay under."""
        parts: list[list[tuple[float, float, float]]] = [[] for _ in range(5)]
        for s, w, e in self.each():
            if s.kind == kind:
                for i, part in enumerate(np.array_split(np.argsort(w, kind="stable"), 5)):
                    q = float(np.quantile(e[part], 0.9))
                    parts[i].append((float(w[part].mean()), float((e[part] <= w[part]).mean()), q))
        rows = [[str(i + 1), *figures(np.mean(part, axis=0))] for i, part in enumerate(parts)]
        head = ["fifth", "half-width, DN", "covered", "90 % of errors within, DN"]
        return [head, *rows]

    def ranks(self, kind: str) -> tuple[float, float]:
        """Spearman's correlation of half-width and error per pixel: all pixels; the median of scenes and bands."""
        those = [(w, e) for s, w, e in self.each() if s.kind == kind]
        whole = spearmanr(*(np.concatenate(x) for x in zip(*those, strict=True)))[0]
        return float(whole), float(np.median([spearmanr(w, e)[0] for w, e in those]))


def percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f}"


def figures(of: np.ndarray) -> list[str]:
    width, covered, error = of
    return [f"{1e4 * width:.0f}", percent(covered), f"{1e4 * error:.0f}"]


def markdown(rows: Sequence[Sequence[str]]) -> str:
    head, *body = rows
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def tables(method: str, seen: Sequence[Seen], unseen: bool) -> str:
    """What the documentation shows of a method."""
    judged = Judged(seen)
    parts = [f"Coverage in %, {method}, leave-one-scene-out"]
    parts[0] += ", with nets that have not seen the scene.\n" if unseen else ".\n"
    there = [kind for kind in KINDS if any(s.kind == kind for s in seen)]
    parts += [markdown(judged.by_scene(kind)) for kind in there]
    for kind in there:
        whole, median = judged.ranks(kind)
        good, fair = judged.within(kind, 0.87, 0.93), judged.within(kind, 0.8, 0.98)
        parts.append(
            f"- *{kind}*: {percent(good)} % of scenes and bands are covered to 87–93 %, {percent(fair)} % to 80–98 %; rank "
            f"correlation of half-width and error per pixel {whole:.2f} over all, {median:.2f} within a scene and band.\n"
        )
    real = TEACHES[20] if TEACHES[20] in there else there[0]
    parts += [markdown(judged.by_cover(real)), markdown(judged.by_fifth(real))]
    wider = coarser_is_easier(seen, taught(seen))
    said = ", ".join(f"{band} {factor:.2f}" for band, factor in wider.items())
    if said:
        parts.append(
            f"Full resolution against twice as coarse, a hidden band's 90 % quantile: {said}.\n"
        )
    return "\n".join(parts)


def _one(picture: Picture, method: str, folds: Path | None) -> list[Seen]:
    torch.set_num_threads(1)
    own = folds / picture.scene if folds else None
    return list(witnesses(method, picture, own if own and own.is_dir() else None))


def facts(method: str, width: WidthModel) -> dict[str, object]:
    """What is kept of a method."""
    learns = METHODS[method].fit is not None
    ready = unfitted_sharpener(method)
    return {
        "weights": {} if learns else ready.weights,
        "results": ready.results,
        "clues": {str(gsd): shares for gsd, shares in width.weights.items()},
        "scale": {band: width.scale[band] for band in COARSE},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", nargs="+", default=["s2net-m"])
    parser.add_argument("--folds", type=Path, help="weights by scene: FOLDS/SCENE/*.safetensors")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--write",
        action="store_true",
        help=f"put the coefficients into {FILE} beside the weights that ship, and s2net-m's tables into docs/trust.md",
    )
    given = parser.parse_args()
    every = list(pictures())
    file = SHIPPED / FILE
    kept = json.loads(file.read_text()) if file.exists() else {}
    with ProcessPoolExecutor(given.workers) as pool:
        for method in given.methods:
            folds = given.folds if method.startswith("s2net") else None
            found = pool.map(partial(_one, method=method, folds=folds), every)
            seen = [s for some in found for s in some]
            kept[method] = facts(method, taught(seen))
            text = tables(method, seen, folds is not None)
            print(
                text,
                dict(zip(CLUES, zip(*taught(seen).weights.values(), strict=True), strict=True)),
            )
            if given.write:
                file.write_text(json.dumps(kept, indent=1) + "\n")
            if given.write and method == "s2net-m":
                page = DOCS.read_text()
                before, after = page[: page.index(FROM) + len(FROM)], page[page.index(TO) :]
                DOCS.write_text(f"{before}\n{text}\n{after}")


if __name__ == "__main__":
    main()
