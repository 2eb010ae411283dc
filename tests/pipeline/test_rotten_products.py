"""Of downloaded products, what is rotten, hostile or no file is left out with a warning; none stops those beside it."""

import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from s2sharp.catalog.faults import BrokenError
from s2sharp.catalog.local_products import product_item

NAME = "S2A_MSIL1C_20240601T101031_N0511_R022_T33UXP_20240601T120000"
ENTRY = f"{NAME}.SAFE/MTD_MSIL1C.xml"


def patched(change: Callable[[bytearray, int, int], None], content: str = "<a/>" * 999) -> Callable:
    """A zip whose bytes are changed, given where its entry's two headers begin."""

    def make(folder: Path) -> Path:
        file = folder / f"{NAME}.zip"
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
            made.writestr(ENTRY, content)
        data = bytearray(file.read_bytes())
        change(data, data.find(b"PK\x03\x04"), data.find(b"PK\x01\x02"))
        file.write_bytes(data)
        return file

    return make


def encrypted(data: bytearray, local: int, central: int) -> None:
    data[local + 6] |= 1
    data[central + 8] |= 1


def unknown(data: bytearray, local: int, central: int) -> None:
    data[local + 8 : local + 10] = data[central + 10 : central + 12] = struct.pack("<H", 98)


def rotten(data: bytearray, local: int, _: int) -> None:
    start = local + 30 + struct.unpack("<H", data[local + 26 : local + 28])[0]
    data[start : start + 6] = b"\xff" * 6


def wrong(data: bytearray, local: int, central: int) -> None:
    data[local + 14] ^= 1
    data[central + 16] ^= 1


def as_is(*_: object) -> None:
    pass


def pipe(*parts: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        file = folder.joinpath(*parts)
        file.parent.mkdir(exist_ok=True)
        os.mkfifo(file)
        return folder / parts[0]

    return make


def directory(folder: Path) -> Path:
    folder.joinpath(ENTRY).mkdir(parents=True)
    return folder / f"{NAME}.SAFE"


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (patched(encrypted), "encrypted"),
        (patched(unknown), "NotImplementedError"),
        (patched(rotten), "can't be unpacked"),
        (patched(wrong), "can't be unpacked"),
        (patched(as_is, "x" * 20_000_000), "more than 16 MB"),
        (patched(as_is, '<?xml version="1.0" encoding="klingon"?><a/>'), "LookupError"),
        (pipe(f"{NAME}.SAFE", "MTD_MSIL1C.xml"), "not a regular file"),
        (pipe(f"{NAME}.zip"), "not a regular file"),
        (directory, "can't be read"),
    ],
)
@pytest.mark.timeout(20)
def test_a_product_that_cannot_be_read_is_named(
    tmp_path: Path, make: Callable[[Path], Path], why: str
) -> None:
    with pytest.raises(BrokenError, match=why):
        product_item(str(make(tmp_path)))
