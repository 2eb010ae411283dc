"""The demo on real scenes: fetched once as any package is, and without a network a line that says what to do."""

import tarfile
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from rasterio.io import MemoryFile
from s2sharp.cli.app import app
from s2sharp.demo.chips import read_chips
from typer.testing import CliRunner

from s2sharp_core import BANDS, S2SharpError
from s2sharp_core.bands import BY_GSD
from s2sharp_core.sensor.simulate import landscape, observe

CHIP = "S2A_MSIL2A_20200607T101031_1_2"
WHEEL = "bigearthnet_common-2.8.0-py3-none-any.whl"


def tiff(dn: np.ndarray) -> bytes:
    height, width = dn.shape
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", height=height, width=width, count=1, dtype="uint16"
        ) as file:
            file.write(dn, 1)
        return memory.read()


def archive(bands: dict[str, np.ndarray]) -> bytes:
    """The chips' archive as the package holds it, with a file beside the bands."""
    whole = BytesIO()
    with tarfile.open(fileobj=whole, mode="w:bz2") as tar:
        files = {f"{CHIP}_{band}.tif": tiff(dn) for band, dn in bands.items()}
        for name, content in {**files, f"{CHIP}_labels_metadata.json": b"{}"}.items():
            member = tarfile.TarInfo(f"BigEarthNet-S2-Example/{CHIP}/{name}")
            member.size = len(content)
            tar.addfile(member, BytesIO(content))
    return whole.getvalue()


@pytest.fixture(scope="module")
def bands() -> dict[str, np.ndarray]:
    """The DN of a chip, as large as those of the package."""
    seen = observe(landscape((120, 120), seed=3, country="farmland"))
    every = {band: y for gsd, ys in seen.items() for band, y in zip(BY_GSD[gsd], ys, strict=True)}
    return {band: np.rint(y * 10_000).clip(1).astype(np.uint16) for band, y in every.items()}


@pytest.fixture(scope="module")
def index(bands, tmp_path_factory) -> Path:
    """A folder with a wheel of the package's name, which pip takes for an index."""
    folder = tmp_path_factory.mktemp("index")
    about = WHEEL.removesuffix("-py3-none-any.whl") + ".dist-info"
    with zipfile.ZipFile(folder / WHEEL, "w") as wheel:
        wheel.writestr(
            "bigearthnet_common/BigEarthNet-S2-Example.tar.bz2",
            archive(bands),
        )
        wheel.writestr(
            f"{about}/METADATA", "Metadata-Version: 2.1\nName: bigearthnet-common\nVersion: 2.8.0\n"
        )
        wheel.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{about}/RECORD", "")
    return folder


@pytest.fixture
def offline(monkeypatch, tmp_path) -> Path:
    """No index that pip may ask, and a cache of its own."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "s2sharp" / "chips"


def call(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result.exit_code, " ".join(result.output.split())


def test_real_scenes_are_fetched_once_sharpened_judged_and_drawn(
    index, offline, monkeypatch, tmp_path
):
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    code, text = call("demo", "--real", str(tmp_path / "out"))
    assert code == 0, text
    assert [file.name for file in offline.iterdir()] == [WHEEL]
    assert "1 scenes from" in text
    for band in BY_GSD[20]:
        assert band in text
    assert "100 % is right" in text
    # Both methods' bars have come to their end.
    for method in ("bicubic", "s2net-m"):
        assert f"{method} " in text
    assert text.count(" 3/3 ") == 2
    # Nothing has seen a scene that was drawn for this test.
    assert "in training" not in text
    picture = tmp_path / "out" / "real.png"
    assert str(picture) in text
    assert picture.stat().st_size > 20_000
    monkeypatch.delenv("PIP_FIND_LINKS")
    code, text = call("demo", "--real", "--chips", str(tmp_path / "none.whl"), str(tmp_path))
    assert code == 1
    assert "none.whl" in text
    from s2sharp.demo.chips import fetch_chips

    assert fetch_chips() == offline / WHEEL


def test_without_a_network_one_line_says_what_to_do(offline, tmp_path):
    code, text = call("demo", "--real", str(tmp_path / "out"))
    assert code == 1
    for words in ("bigearthnet-common==2.8.0", "pip download", "--chips", "needs no network"):
        assert words in text
    assert not list(offline.iterdir())
    assert not (tmp_path / "out").exists()


def test_a_wheel_and_the_archive_in_it_are_read_alike(index, bands, tmp_path):
    (tmp_path / "chips.tar.bz2").write_bytes(archive(bands))
    chips = [read_chips(file)[CHIP] for file in (index / WHEEL, tmp_path / "chips.tar.bz2")]
    for gsd, names in BY_GSD.items():
        truth = np.stack([bands[band] for band in names]) / 10_000
        for chip in chips:
            np.testing.assert_allclose(chip[gsd], truth, rtol=1e-6)


def test_what_holds_no_whole_chips_is_refused_by_name(bands, tmp_path):
    fewer = {band: dn for band, dn in bands.items() if band != "B09"}
    shifted = {**bands, "B05": bands["B05"][:-2]}
    contents = {
        "B09": archive(fewer),
        "B05": archive(shifted),
        "no chip": archive({}),
        "unreadable.bin": b"not an archive",
        "cut": archive(bands)[:20_000],
    }
    assert set(bands) == set(BANDS)
    for word, content in contents.items():
        file = tmp_path / ("unreadable.bin" if word == "unreadable.bin" else f"{word}.tar.bz2")
        file.write_bytes(content)
        with pytest.raises(S2SharpError) as caught:
            read_chips(file)
        assert caught.value.kind == "asset-unreadable"
        assert word in str(caught.value)
        assert file.name in str(caught.value)


def test_a_folder_of_chips_is_refused_as_one(tmp_path):
    code, text = call("demo", "--real", "--chips", str(tmp_path), str(tmp_path / "out"))
    assert code == 1
    assert "it is a folder" in text
    assert "Errno" not in text
