"""Where pixels and an item contradict each other for certain, nothing is written until someone says whom to believe."""

import json
from pathlib import Path

import numpy as np
import pytest
from s2sharp.cube.open import open_cube
from s2sharp.planning.config import RunConfig
from s2sharp.planning.make import make_plan
from s2sharp.planning.resume import resume
from s2sharp.scenes.acquisition import with_offsets
from s2sharp.scenes.offset_check import offset_doubt, offsets_of_pixels
from s2sharp.scenes.read import Files, load_block
from typer.testing import CliRunner

from s2sharp_core.bands import BANDS
from s2sharp_core.lattice import Box

from ..core.scenes import NORTH, box_at
from .pictures import gsd_of, join, scenes

BOX = box_at(30, 30)
FEW = ("B02", "B11", "B12")


def picture(
    low: dict[str, int] | int, bands: tuple[str, ...] = FEW, box: Box = BOX
) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    darkest = low if isinstance(low, dict) else dict.fromkeys(bands, low)
    return {
        band: rng.integers(darkest[band], darkest[band] + 2500, box.pixels(gsd_of(band))).astype(
            np.uint16
        )
        for band in bands
    }


def doubt(folder: Path, low: dict[str, int] | int, bands: tuple[str, ...] = FEW, **about: float):
    acquisition = join(scenes(folder, picture(low, bands), BOX, **about))
    return offset_doubt(load_block(Files(acquisition), acquisition, bands, BOX, 0), acquisition)


DESERT = dict(
    zip(
        BANDS, (1050, 1250, 1900, 2700, 3000, 3100, 3200, 3300, 3400, 3300, 4000, 3500), strict=True
    )
)
CLOUD = dict.fromkeys(BANDS, 3000) | {"B09": 1900, "B12": 2100, "B11": 2600}
LAND = dict.fromkeys(BANDS, 1100) | {"B08": 1900, "B07": 1700, "B8A": 1900}


@pytest.mark.parametrize(
    ("low", "certain"),
    [(DESERT, False), (CLOUD, False), (LAND, True)],
    ids=["desert", "cloud", "land"],
)
def test_bright_ground_and_cloud_are_no_proof_of_an_offset_that_is_missing(tmp_path, low, certain):
    """Darkest pixels above 0.1 in every band are told of; what is dark in half the bands elsewhere is proof."""
    found = doubt(tmp_path, low, tuple(BANDS), offset=0.0)
    assert found is not None
    assert (found.certain, found.offset) == (certain, -0.1)


def test_an_offset_that_was_taken_twice_is_proof(tmp_path):
    found = doubt(tmp_path, 20, offset=-0.1)
    assert (found.certain, found.offset) == (True, 0.0)


def test_what_pixels_speak_for_follows_from_the_whole_scene(tmp_path):
    """A unit of bright ground in it has no doubt of its own; it gets the offset of the others."""
    wide = Box(BOX.row0, BOX.row0 + 90, BOX.col0, BOX.col0 + 90)
    right, wrong = {}, picture(1050, box=wide)
    for band, dn in wrong.items():
        dn[:, dn.shape[1] // 2 :] += 4000  # a glacier
        right[band] = dn
    acquisition = join(scenes(tmp_path, wrong, wide, offset=0.0))
    bright = Box(wide.row0, wide.row1, wide.col0 + 60, wide.col1)
    block = load_block(Files(acquisition), acquisition, FEW, bright, 0)
    assert not offset_doubt(block, acquisition).certain
    offsets = offsets_of_pixels([acquisition], {})
    assert offsets == {acquisition.scenes[0].id: -0.1}
    mended = with_offsets(acquisition, offsets)
    y = load_block(Files(mended), mended, FEW, bright, 0).data["B02"]
    whole = right["B02"][wide.slices(bright, 10)].astype(float)
    np.testing.assert_allclose(y, (whole - 1000) / 10_000, atol=1e-6)
    assert mended.scenes[0].digest != acquisition.scenes[0].digest
    # What is known is not read again, and what agrees stays as it is.
    assert offsets_of_pixels([acquisition], {acquisition.scenes[0].id: 0.0}) == {
        acquisition.scenes[0].id: 0.0
    }
    assert with_offsets(acquisition, {}) == acquisition


def test_a_right_scene_keeps_its_offset_whatever_its_pixels(tmp_path):
    for number, (low, about) in enumerate(((1050, -0.1), (50, 0.0), (3000, 0.0), (3000, -0.1))):
        acquisition = join(scenes(tmp_path / str(number), picture(low), BOX, offset=about))
        assert offsets_of_pixels([acquisition], {}) == {acquisition.scenes[0].id: about}


# Runs


def archive(folder: Path, dn: dict[str, np.ndarray], offset: float, flag: bool | None) -> Path:
    (item,) = scenes(folder / "cogs", dn, BOX, offset=offset)
    if flag is not None:
        item.properties["earthsearch:boa_offset_applied"] = flag
    document = item.to_dict(include_self_link=False) | {"collection": "s2"}
    (folder / "item.json").write_text(json.dumps(document))
    about = {
        "type": "Collection",
        "stac_version": "1.0.0",
        "id": "s2",
        "description": "s2",
        "license": "other",
        "extent": {
            "spatial": {"bbox": [[-180, -90, 180, 90]]},
            "temporal": {"interval": [["2015-01-01T00:00:00Z", None]]},
        },
        "links": [{"rel": "item", "href": "./item.json"}],
    }
    file = folder / "catalog.json"
    file.write_text(json.dumps(about))
    return file


def command(catalog: Path, out: Path, scheduler: str, *more: str):
    from pyproj import Transformer
    from s2sharp.cli.app import app

    left, bottom, right, top = NORTH.bounds(BOX.grow(-5))
    west, south, east, north = Transformer.from_crs(
        NORTH.epsg, 4326, always_xy=True
    ).transform_bounds(left, bottom, right, top)
    told = f"run --catalog {catalog} --collection s2 --datetime 2024 --bands B02,B11,B12 --method bicubic --no-publish --yes --quiet --sensor default"
    box = ["--bbox", *(f"{edge:.6f}" for edge in (west, south, east, north))]
    return CliRunner().invoke(
        app, [*told.split(), *box, "--out", str(out), "--scheduler", scheduler, *more]
    )


@pytest.mark.parametrize(
    ("low", "offset", "flag", "wrong", "right"),
    [
        (1020, -0.1, True, 0.0, -0.1),  # a flag that says applied, of raw DN
        (30, -0.1, False, -0.1, 0.0),  # and one that says not applied, of others
    ],
)
def test_a_wrong_flag_is_refused_and_either_side_can_be_believed(
    tmp_path, scheduler, low, offset, flag, wrong, right
):
    dn = picture(low)
    catalog, out = archive(tmp_path, dn, offset, flag), tmp_path / "out"
    done = command(catalog, out, scheduler)
    assert done.exit_code == 4
    assert "--trust-offset" in done.output
    assert not open_cube(out).valid.any()
    for trust, used in (("pixels", right), ("metadata", wrong), ("pixels", right)):
        done = command(catalog, out, scheduler, "--trust-offset", trust)
        assert done.exit_code == 0, done.output
        cube = open_cube(out).isel(time=0)
        valid = cube.valid.values.astype(bool)
        y = cube.B02.values[valid].astype(float)
        assert abs(np.min(y) - (low / 10_000 + used)) < 2e-3
    # Without the flag, what was doubted does not stay.
    assert command(catalog, out, scheduler).exit_code == 4


def test_the_option_is_in_the_keys_only_where_it_is_given(tmp_path):
    catalog = archive(tmp_path, picture(1020), -0.1, None)
    left, bottom, right, top = NORTH.bounds(BOX)
    from pyproj import Transformer

    box = Transformer.from_crs(NORTH.epsg, 4326, always_xy=True).transform_bounds(
        left, bottom, right, top
    )
    about = {
        "out": tmp_path / "out",
        "catalog": str(catalog),
        "collection": "s2",
        "bbox": box,
        "datetime": "2024",
        "bands": ("B02", "B11"),
        "method": "bicubic",
    }
    plain = make_plan(RunConfig(**about))
    unit = next(iter(plain.units()))
    keys = {
        trust: make_plan(RunConfig(**about, trust_offset=trust)).key(unit)
        for trust in (None, "metadata", "pixels")
    }
    assert keys[None] == plain.key(unit)
    assert len(set(keys.values())) == 3
    assert resume(RunConfig(**about)) is None
