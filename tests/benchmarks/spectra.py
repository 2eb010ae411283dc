"""Facts of a spectral library as twelve bands: `s2sharp_core/landscapes/covers.json`, which landscapes are drawn from.

`pip download --no-deps earthlib==1.1.0`, unpack the wheel, then
`python -m tests.benchmarks.spectra earthlib/data --write`. Without `--write` it says what would change.

The library (earthlib, C. Anderson, MIT) holds 7 261 spectra, 400-2450 nm in steps of 10 nm: soils of the ICRAF-ISRIC
database, simulated canopies (PROSAIL), roofs and roads of Santa Barbara, litter, bark and char. It is not part of the
project; means, principal components and their spread are facts, and stay. Water and snow are not in it: the figures below
are rounded from the literature.
"""

import argparse
import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from s2sharp_core.bands import BANDS

TABLE = Path(__file__).parents[2] / "s2sharp_core" / "landscapes" / "covers.json"
SOURCE = "earthlib 1.1.0 (C. Anderson, MIT licence), 7 261 spectra; water and snow: rounded from the literature"

# Cover → the library's names on its third level.
KINDS = {
    "soil": ("soil", "dirt"),
    "sand": ("sand", "gravel"),
    "canopy": ("canopy",),
    "dry": ("litter", "npv", "bark", "wood"),
    "char": ("char",),
    "shingle": ("comp_shingle", "wood_shingle"),
    "tile": ("tile",),
    "slate": ("concrete_tile",),
    "metal": ("metal",),
    "concrete": ("sidewalk", "driveway", "bridge"),
    "asphalt": ("road", "parking_lot", "asphalt"),
}

# Means in ESA's order, and how far brightness and colour spread (log reflectance, one standard deviation).
# Clear and turbid water: after the shapes in Kirk, Light and Photosynthesis in Aquatic Ecosystems (2011). Snow: after
# Warren, Rev. Geophys. 20, 67 (1982), settled, with shaded roughness.
LITERATURE = {
    "water": (
        (0.034, 0.030, 0.024, 0.013, 0.011, 0.008, 0.008, 0.007, 0.006, 0.005, 0.004, 0.003),
        (0.25, 0.25),
    ),
    "turbid": (
        (0.066, 0.083, 0.125, 0.118, 0.096, 0.048, 0.046, 0.036, 0.029, 0.022, 0.008, 0.006),
        (0.25, 0.35),
    ),
    "snow": (
        (0.82, 0.83, 0.82, 0.81, 0.79, 0.77, 0.75, 0.73, 0.71, 0.64, 0.10, 0.08),
        (0.12, 0.06),
    ),
}

# A library's zero is a reading below the instrument's floor.
_DARKEST = 0.003
_COMPONENTS = 4


def seen_by_bands(wavelengths: np.ndarray, spectra: np.ndarray) -> np.ndarray:
    """Spectra (n, wavelengths in nm) as band means (n, 12): box filters of each band's centre and width."""
    means = []
    for band in BANDS.values():
        half = band.bandwidth / 2
        at = np.linspace(band.wavelength - half, band.wavelength + half, 41)
        means.append(np.mean([np.interp(at, wavelengths, s) for s in spectra], axis=1))
    return np.stack(means, axis=1)


def facts(reflectance: np.ndarray) -> dict[str, Any]:
    """Mean and scaled principal components of log reflectance, and what they leave: of (n, 12)."""
    logs = np.log(np.maximum(reflectance, _DARKEST))
    mean = logs.mean(axis=0)
    _, spread, axes = np.linalg.svd(logs - mean, full_matrices=False)
    components = axes[:_COMPONENTS] * spread[:_COMPONENTS, None] / np.sqrt(len(logs) - 1)
    left = np.sqrt(np.maximum(logs.var(axis=0, ddof=1) - (components**2).sum(axis=0), 0))
    return {
        "spectra": len(logs),
        "mean": np.exp(mean).round(4).tolist(),
        "components": components.round(3).tolist(),
        "left": left.round(4).tolist(),
    }


def from_literature(mean: tuple[float, ...], spread: tuple[float, float]) -> dict[str, Any]:
    """A cover whose brightness and colour (a slope along the spectrum) vary by ``spread``."""
    slope = np.linspace(-1.5, 1.5, len(mean))
    components = np.stack([np.full(len(mean), spread[0]), spread[1] * slope / 1.5])
    return {
        "spectra": 0,
        "mean": list(mean),
        "components": components.round(3).tolist(),
        "left": [0.01] * len(mean),
    }


def table(library: Path) -> dict[str, Any]:
    """All covers, from the folder that holds `spectra.sli`, its header and `spectra.csv`."""
    header = (library / "spectra.sli.hdr").read_text()
    start = header.index("wavelength = {") + len("wavelength = {")
    listed = header[start : header.index("}", start)].split(",")
    wavelengths = 1000 * np.array([float(w) for w in listed])
    spectra = np.fromfile(library / "spectra.sli", "<f4").reshape(-1, len(wavelengths))
    with (library / "spectra.csv").open() as file:
        kinds = np.array([row["LEVEL_3"] for row in csv.DictReader(file)])
    bands = seen_by_bands(wavelengths, spectra)
    covers = {name: facts(bands[np.isin(kinds, of)]) for name, of in KINDS.items()}
    covers |= {name: from_literature(*given) for name, given in LITERATURE.items()}
    return {"source": SOURCE, "bands": list(BANDS), "covers": covers}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("library", type=Path, help="the unpacked package's folder `data`")
    parser.add_argument("--write", action="store_true", help=f"replace {TABLE.name}")
    given = parser.parse_args()
    found = table(given.library)
    if given.write:
        lines = ",\n".join(f'  "{k}": {json.dumps(v)}' for k, v in found["covers"].items())
        head = f'"source": {json.dumps(found["source"])},\n "bands": {json.dumps(found["bands"])}'
        TABLE.write_text(f'{{{head},\n "covers": {{\n{lines}\n }}\n}}\n')
    same = json.loads(TABLE.read_text()) == found
    print(f"{TABLE.name} {'is' if same else 'is NOT'} what the library gives.")
    for name, cover in found["covers"].items():
        print(f"{name:9} {cover['spectra']:5} {cover['mean']}")


if __name__ == "__main__":
    main()
