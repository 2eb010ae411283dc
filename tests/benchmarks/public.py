"""A figure that anybody can see again, in seconds: `python -m tests.benchmarks.public`.

Six chips of Level-2A, 120 × 120 pixels of 10 m each, come with a package of the index (BigEarthNet v1; data under
CDLA-Permissive-1.0), as `s2sharp demo --real` fetches and reads them. Protocols `measured` (40→20 m) and `spectrum`.
Contains modified Copernicus Sentinel data.
"""

import argparse
from pathlib import Path

from s2sharp.bench.compare import compare
from s2sharp.demo.chips import fetch_chips, read_chips
from s2sharp.demo.real import chip_cases

from s2sharp_core import METHODS

from .showing import show

METHOD = ("bicubic", "atprk", "dsen2", "s2net-m")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--method", action="append", choices=list(METHODS), help="only this one")
    parser.add_argument(
        "--archive", type=Path, help="the package or its archive, downloaded before"
    )
    given = parser.parse_args()
    cases = chip_cases(read_chips(given.archive or fetch_chips()))
    show(compare(given.method or METHOD, cases, device="cpu"))


if __name__ == "__main__":
    main()
