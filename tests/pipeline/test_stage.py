"""What is staged reads as the files do, can be lost at any moment, and never half counts as there."""

import errno
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from s2sharp.scenes.acquisition import Acquisition
from s2sharp.scenes.read import Files, load_block
from s2sharp.scenes.stage import Stage

from s2sharp_core import S2SharpError
from s2sharp_core.lattice import Box

from ..core.scenes import NORTH, box_at
from .pictures import BOTH, join, noise, scenes

BANDS = ("B01", "B02", "B05", "SCL")
BOX = box_at(30, 34)
LEFT = Box(BOX.row0, BOX.row1 - 3, BOX.col0, BOX.col0 + 21)
RIGHT = Box(BOX.row0 + 2, BOX.row1, BOX.col0 + 14, BOX.col1)
SHARD = 8


def acquire(folder: Path, lattice=NORTH) -> Acquisition:
    return join(scenes(folder, noise(BOX, *BANDS, gaps=0.1), BOX, LEFT, RIGHT, lattice=lattice))


def staged(folder: Path, acquisition: Acquisition, area: Box | None = None) -> Stage:
    box = (acquisition.box & area) if area else acquisition.box
    stage = Stage(folder / "stage", acquisition, BANDS, box.snap(SHARD), SHARD)
    stage.lay_out()
    return stage


def fill(stage: Stage, box: Box | None = None) -> list[Box]:
    shards = stage.needed(box or stage.box)
    for cells in shards:
        stage.write(cells)
    return shards


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def chunks(stage: Stage) -> dict[str, bytes]:
    return {name: data for name, data in content(stage.folder).items() if "/c/" in name}


@pytest.fixture
def stage(tmp_path) -> Stage:
    return staged(tmp_path, acquire(tmp_path))


@pytest.mark.parametrize("lattice", BOTH, ids=["north", "south"])
def test_reading_through_the_stage_is_reading_the_files(tmp_path, lattice):
    acquisition = acquire(tmp_path, lattice)
    stage, files = staged(tmp_path, acquisition), Files(acquisition)
    fill(stage)
    rng = np.random.default_rng(5)
    for _ in range(15):
        top, left = rng.integers(-12, 36, 2)
        height, width = rng.integers(1, 24, 2)
        row, col = BOX.row0 + int(top), BOX.col0 + int(left)
        box = Box(row, row + int(height), col, col + int(width))
        for band in BANDS:
            dn, source = stage.mosaic(band, box)
            expected, scene = files.mosaic(band, box)
            np.testing.assert_array_equal(dn, expected)
            assert dn.dtype == expected.dtype
            if band == BANDS[0]:
                np.testing.assert_array_equal(source, scene)


def test_what_was_copied_of_other_files_does_not_count(tmp_path):
    """An archive has processed the tile again: its item is another one under the acquisition's old name."""
    acquisition = acquire(tmp_path)
    fill(staged(tmp_path, acquisition))
    first = acquisition.scenes[0]
    newer = replace(first, id=f"{first.id}_again")
    again = replace(acquisition, scenes=(newer, *acquisition.scenes[1:]))
    stage = staged(tmp_path, again)
    assert not any(stage.has(cells) for cells in stage.needed(stage.box))
    with pytest.raises(S2SharpError) as caught:
        stage.mosaic("B02", BOX)
    assert caught.value.kind == "stage-missing"


def test_a_block_is_the_same_with_and_without_the_stage(tmp_path):
    acquisition = acquire(tmp_path)
    # As a run stages: only what its area needs, with the margin around it.
    want = Box(BOX.row0 + 9, BOX.row0 + 20, BOX.col0 + 11, BOX.col0 + 21)
    stage = staged(tmp_path, acquisition, want.grow(4))
    fill(stage)
    there = load_block(stage, acquisition, BANDS[:3], want, 4)
    direct = load_block(Files(acquisition), acquisition, BANDS[:3], want, 4)
    assert there.box == direct.box
    for band in BANDS[:3]:
        np.testing.assert_array_equal(there.data[band], direct.data[band])
    for layer in ("saturated", "source", "cloud"):
        np.testing.assert_array_equal(getattr(there, layer), getattr(direct, layer))


def test_only_what_a_block_needs_has_to_be_staged(stage):
    want = Box(BOX.row0 + 9, BOX.row0 + 12, BOX.col0 + 9, BOX.col0 + 12)
    shards = fill(stage, want)
    assert 1 <= len(shards) <= 4
    assert all(not (cells & want).empty for cells in shards)
    np.testing.assert_array_equal(
        stage.mosaic("B02", want)[0], Files(stage.acquisition).mosaic("B02", want)[0]
    )
    with pytest.raises(S2SharpError) as caught:
        stage.mosaic("B02", BOX)
    assert caught.value.kind == "stage-missing"
    assert stage.acquisition.id in caught.value.message


def test_beyond_the_acquisition_nothing_is_needed(stage):
    far = Box(0, 4, 0, 4)
    assert stage.needed(far) == []
    dn, source = stage.mosaic("B05", far)
    assert dn.shape == (12, 12)
    assert not dn.any()
    assert not source.any()


def test_every_pixel_is_stored_once(stage):
    shards = fill(stage)
    assert len(shards) == len(set(shards))
    assert sum(cells.shape[0] * cells.shape[1] for cells in shards) == np.prod(stage.box.shape)


def test_writing_a_shard_again_changes_nothing(stage):
    shards = fill(stage)
    before = content(stage.folder)
    for cells in shards[::-1]:
        stage.write(cells)
    assert content(stage.folder) == before


def test_the_order_of_writing_does_not_matter(tmp_path):
    acquisition = acquire(tmp_path)
    one, two = (staged(tmp_path / name, acquisition) for name in "ab")
    fill(one)
    for cells in reversed(two.needed(two.box)):
        two.write(cells)
    assert chunks(one) == chunks(two)


def test_laying_out_again_keeps_what_is_there(stage):
    fill(stage)
    before = content(stage.folder)
    stage.lay_out()
    assert content(stage.folder) == before


def test_an_interrupted_laying_out_is_made_good(tmp_path):
    acquisition = acquire(tmp_path)
    stage = Stage(tmp_path / "stage", acquisition, BANDS, acquisition.box.snap(SHARD), SHARD)
    # A file where an array of the stage would go: what was laid out before it stays.
    obstacle = stage._store / "B05"
    obstacle.parent.mkdir(parents=True)
    obstacle.write_text("in the way")
    with pytest.raises(OSError, match="B05"):
        stage.lay_out()
    obstacle.unlink()
    stage.lay_out()
    fill(stage)
    np.testing.assert_array_equal(
        stage.mosaic("B05", BOX)[0], Files(acquisition).mosaic("B05", BOX)[0]
    )


def test_a_shard_without_any_data_is_staged_too(tmp_path):
    picture = noise(BOX, *BANDS)
    for band, dn in picture.items():
        dn[
            BOX.slices(
                Box(BOX.row0, BOX.row1, BOX.col0 + 16, BOX.col1),
                20 if band == "SCL" else _gsd(band),
            )
        ] = 0
    acquisition = join(scenes(tmp_path, picture, BOX))
    stage = staged(tmp_path, acquisition)
    empty = next(cells for cells in stage.needed(BOX) if cells.col0 >= BOX.col0 + 16)
    assert stage.write(empty) == 0
    assert stage.has(empty)
    assert stage.size(empty) == 0
    assert not stage.mosaic("B02", empty)[0].any()


def _gsd(band: str) -> int:
    return {"B01": 60, "B02": 10, "B05": 20}[band]


def test_evicting_frees_what_the_shard_took(stage):
    first, second, *_ = fill(stage)[7:]
    before = chunks(stage)
    size = stage.size(first)
    assert size
    stage.evict(first)
    gone = before.keys() - chunks(stage).keys()
    assert sum(len(before[name]) for name in gone) == size
    assert len(gone) == len(BANDS) + 1
    assert not stage.has(first)
    assert stage.size(first) is None
    with pytest.raises(S2SharpError) as caught:
        stage.mosaic("B02", first)
    assert caught.value.kind == "stage-missing"
    assert caught.value.remedy
    # The neighbours are untouched, and evicting twice is no error.
    stage.evict(first)
    np.testing.assert_array_equal(
        stage.mosaic("B02", second)[0], Files(stage.acquisition).mosaic("B02", second)[0]
    )


def test_what_was_evicted_is_staged_again_when_it_is_needed(stage):
    shards = fill(stage)
    before = content(stage.folder)
    for cells in shards[3:11]:
        stage.evict(cells)
    assert len(content(stage.folder)) < len(before)
    for cells in shards:
        if not stage.has(cells):
            stage.write(cells)
    assert content(stage.folder) == before


def test_a_write_that_fails_leaves_the_shard_unstaged(tmp_path):
    acquisition = acquire(tmp_path)
    stage = staged(tmp_path, acquisition)
    cells = stage.needed(LEFT & RIGHT)[0]
    last = Path(acquisition.scenes[0].scl.href)
    whole = last.read_bytes()
    last.write_bytes(whole[:200])
    with pytest.raises(S2SharpError, match="SCL"):
        stage.write(cells)
    # The bands before it were written; without the marker they don't count.
    assert chunks(stage)
    assert not stage.has(cells)
    assert stage.size(cells) is None
    with pytest.raises(S2SharpError) as caught:
        stage.mosaic("B02", cells)
    assert caught.value.kind == "stage-missing"
    last.write_bytes(whole)
    stage.write(cells)
    np.testing.assert_array_equal(
        stage.mosaic("SCL", cells)[0], Files(acquisition).mosaic("SCL", cells)[0]
    )


def test_a_disk_that_fills_up_at_the_marker_leaves_none(stage, monkeypatch):
    cells = stage.needed(BOX)[6]

    def full(self: Path, *_: object, **__: object) -> int:
        self.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match="No space"):
            stage.write(cells)
    assert not stage.has(cells)
    assert stage.size(cells) is None
    stage.write(cells)
    assert stage.size(cells)


def test_two_acquisitions_do_not_mix(tmp_path):
    one = acquire(tmp_path / "a")
    two = join(scenes(tmp_path / "b", noise(BOX, *BANDS, seed=9), BOX, platform="sentinel-2b"))
    stages = [staged(tmp_path, acquisition) for acquisition in (one, two)]
    fill(stages[0])
    assert not any(stages[1].has(cells) for cells in stages[1].needed(BOX))
    fill(stages[1])
    for stage in stages:
        np.testing.assert_array_equal(
            stage.mosaic("B02", BOX)[0], Files(stage.acquisition).mosaic("B02", BOX)[0]
        )
