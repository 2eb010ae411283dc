"""A figure that anybody can see again, in seconds: `python -m tests.benchmarks.public`.

Six chips of Level-2A, 120 × 120 pixels of 10 m each, come with a package of the index (BigEarthNet v1; data under
CDLA-Permissive-1.0): `pip install --no-deps bigearthnet-common==2.8.0`. Protocols `measured` (40→20 m) and `spectrum`.
Contains modified Copernicus Sentinel data.
"""

import argparse
import importlib.util
import tarfile
from pathlib import Path

import numpy as np
from rasterio.io import MemoryFile
from s2sharp.bench.compare import compare

from s2sharp_core import METHODS
from s2sharp_core.bands import BANDS, BY_GSD, GSDS
from s2sharp_core.evaluation.cases import BenchScene
from s2sharp_core.evaluation.protocols import PROTOCOLS

from .showing import show

PACKAGE, ARCHIVE = "bigearthnet_common", "BigEarthNet-S2-Example.tar.bz2"
INSTALL = "pip install --no-deps bigearthnet-common==2.8.0"
METHOD = ("bicubic", "atprk", "dsen2", "s2net-m")


def archive() -> Path | None:
    """The archive of the chips in the installed package, or None."""
    spec = importlib.util.find_spec(PACKAGE)
    places = spec.submodule_search_locations or [] if spec else []
    files = [Path(place) / ARCHIVE for place in places]
    return next((file for file in files if file.is_file()), None)


def chips(file: Path) -> dict[str, dict[int, np.ndarray]]:
    """Name → GSD → float32 reflectance (bands, y, x), read without unpacking anything."""
    found: dict[str, dict[str, np.ndarray]] = {}
    with tarfile.open(file) as content:
        for member in content:
            path = Path(member.name)
            band = path.stem.rpartition("_")[2]
            if path.suffix != ".tif" or band not in BANDS:
                continue
            picture = content.extractfile(member)
            assert picture is not None
            with MemoryFile(picture.read()) as memory, memory.open() as raster:
                found.setdefault(path.parent.name, {})[band] = raster.read(1)
    return {
        name: {g: np.stack([dn[b] for b in BY_GSD[g]]).astype(np.float32) / 10_000 for g in GSDS}
        for name, dn in sorted(found.items())
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--method", action="append", choices=list(METHODS), help="only this one")
    parser.add_argument(
        "--archive", type=Path, help=f"{ARCHIVE}, where the package is not installed"
    )
    given = parser.parse_args()
    file = given.archive or archive()
    if file is None:
        raise SystemExit(f"The package with the chips is not installed: {INSTALL}")
    # Model cards name them so: weights that have seen one are marked.
    scenes = [BenchScene(f"ben1_{name}", native=native) for name, native in chips(file).items()]
    protocols = [PROTOCOLS[name] for name in ("measured", "spectrum")]
    cases = [case for protocol in protocols for scene in scenes for case in protocol.cases(scene)]
    show(compare(given.method or METHOD, cases, device="cpu"))


if __name__ == "__main__":
    main()
