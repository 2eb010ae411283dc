"""What stands in a cube is what was written, or is found, told and made anew."""

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
import zarr
from s2sharp.cube.intact import root_is_torn
from s2sharp.cube.open import open_cube
from s2sharp.engine.ledger import Ledger
from s2sharp.execution.execute import _laid_out
from s2sharp.execution.run import Run
from s2sharp.execution.status import status_of
from s2sharp.execution.unit import sharpen_unit
from s2sharp.execution.verify import verify_run
from s2sharp.planning.acquisition_files import freeze_acquisition
from s2sharp.planning.make import make_plan
from s2sharp.planning.plan import Plan
from s2sharp.planning.resume import resume

from s2sharp_core import S2SharpError

from .runs import config, records, run, shards
from .test_cli import call

SMALL = {"shard": 12, "window": 12, "chunk": 24, "bands": "B02,B05"}


@pytest.fixture(scope="module")
def whole(archive: Path, scheduler: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cube that is complete, with its COGs."""
    out = tmp_path_factory.mktemp("whole") / "out"
    run(config(archive, out, scheduler, publish=True, **SMALL))
    return out


@pytest.fixture
def out(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "out")


def _by_size(out: Path) -> list[Path]:
    """The shards of a band, the largest first."""
    files = (out / "cube.zarr").glob("[0-9]*/B05/c/0/*/*")
    return sorted(files, key=lambda file: file.stat().st_size, reverse=True)


def _largest(out: Path) -> Path:
    return _by_size(out)[0]


def _flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 0x10
    file.write_bytes(data)


def _in_place(put: Callable[[Path], object]) -> Callable[[Path], object]:
    def damage(file: Path) -> None:
        file.unlink()
        put(file)

    return damage


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a bit flipped": _flip,
    "missing": Path.unlink,
    "empty": lambda file: file.write_bytes(b""),
    "zeros": lambda file: file.write_bytes(bytes(file.stat().st_size)),
    "cut": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "a byte longer": lambda file: file.write_bytes(file.read_bytes() + b"\0"),
    "a folder": _in_place(Path.mkdir),
    "a pipe": _in_place(os.mkfifo),
    "a link to itself": _in_place(lambda file: file.symlink_to(file)),
}


def test_every_flipped_bit_of_a_shard_is_seen_by_any_reader(out: Path) -> None:
    """By zarr alone: each chunk carries a checksum, and so does the index."""
    file = _largest(out)
    *_, time, row, col = map(int, file.relative_to(out / "cube.zarr").parts[-3:])
    array = zarr.open_array(file.parents[3], mode="r")
    side = array.shards[-1]
    at = np.s_[time, row * side : (row + 1) * side, col * side : (col + 1) * side]
    good, data = array[at], file.read_bytes()
    rng = random.Random(4)
    for place in rng.sample(range(len(data)), 120):
        broken = bytearray(data)
        broken[place] ^= 1 << rng.randrange(8)
        file.write_bytes(broken)
        with pytest.raises((ValueError, RuntimeError)):
            array[at]
    file.write_bytes(data)
    assert np.array_equal(array[at], good)


def test_broken_shards_are_told_and_made_anew_by_the_same_run(
    archive: Path, out: Path, whole: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each in a way of its own: a shard that is not told, or not made anew, names the way that is not seen."""
    monkeypatch.setattr(
        "s2sharp.execution.verify._LOOK", 600.0
    )  # all of them, however slow it is here
    damaged = dict(zip(DAMAGE, _by_size(out), strict=False))
    assert len(damaged) == len(DAMAGE)
    for how, file in damaged.items():
        DAMAGE[how](file)
    _, outcome = run(config(archive, out, scheduler, publish=True, **SMALL))
    assert (outcome.counts["ok"], len(outcome.failed)) == (len(DAMAGE), 0)
    told = [text for text in outcome.warnings if "is made anew" in text]
    for file in damaged.values():
        assert sum(f"{file.relative_to(out / 'cube.zarr')}:" in text for text in told) == 1
    assert len(told) == len(DAMAGE)
    assert shards(out) == shards(whole)


def test_verify_names_what_is_broken_and_the_next_run_repairs_exactly_that(
    archive: Path, out: Path, whole: Path, scheduler: str
) -> None:
    assert call("verify", str(out))[0] == 0
    (cog,) = out.glob("cogs/*/B05.tif")
    _flip(_largest(out))
    with rasterio.open(cog, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as file:
        file.update_tags(HELLO="world")
    code, text = call("verify", str(out))
    assert code == 4
    assert "cogs" in text
    assert "broken: 2" in text
    assert status_of(out).left == 2
    code, text = call("status", str(out))
    assert code == 4
    assert "the cube is unfinished" in text
    before = records(out)
    # Whatever is asked for next: the run of another date repairs it, too.
    wanted = config(archive, out, scheduler, publish=True, **{**SMALL, "max_cloud": 99.0})
    _, outcome = run(wanted)
    assert not outcome.failed
    assert shards(out) == shards(whole)
    assert len(set(records(out).items()) - set(before.items())) == 2
    assert call("verify", str(out))[0] == 0
    assert not Plan.read(out).repairs


def test_a_record_under_another_name_is_found_once(out: Path) -> None:
    one, other = sorted((out / "ledger").rglob("*x1_*.ok"))[:2]
    good = one.read_bytes()
    other.write_bytes(good)
    count, (broken,) = verify_run(out)
    assert broken.unit.rpartition("/")[2] == other.name.rsplit(".", 2)[0]
    assert one.read_bytes() == good
    assert verify_run(out) == (count - 1, [])
    assert status_of(out).left == 1


def test_a_sample_is_a_share_of_the_units(out: Path) -> None:
    every, _ = verify_run(out)
    assert verify_run(out, 0.5)[0] == round(every / 2)
    assert verify_run(out, 0.0001)[0] == 1


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\0", b"{}"], ids=["empty", "binary", "{}"])
def test_a_record_that_is_torn_counts_as_none(
    archive: Path, out: Path, whole: Path, scheduler: str, content: bytes
) -> None:
    sorted((out / "ledger").rglob("*x1_*.ok"))[0].write_bytes(content)
    assert call("status", str(out))[0] in (0, 4)
    assert call("report", str(out), "--no-open")[0] in (0, 2)
    _, outcome = run(config(archive, out, scheduler, publish=True, **SMALL))
    assert outcome.counts["ok"] == 1
    assert shards(out) == shards(whole)


SMALL_FILES = ("owed.json", "run.json", "items.parquet", "run.stamp", "cube.zarr/zarr.json")
SMALL_FILES += ("acquisitions.jsonl.gz", "datatakes.jsonl.gz")
TORN = [(name, content) for name in SMALL_FILES for content in (b"\xff\xfe\0", None)]
TORN += [
    ("run.json", b""),
    ("items.parquet", b""),
    ("acquisitions.jsonl.gz", b""),
]  # one of each kind that is no text at all


@pytest.mark.parametrize(("name", "content"), TORN)
def test_a_small_file_that_is_torn_is_told_by_name_or_made_again(
    archive: Path, out: Path, whole: Path, scheduler: str, name: str, content: bytes | None
) -> None:
    (out / name).unlink() if content is None else (out / name).write_bytes(content)
    for command in ("status", "clean"):
        code, text = call(command, str(out))
        assert "Traceback" not in text, text
        assert code in (0, 1, 2, 4)
    told = ""
    try:
        run(config(archive, out, scheduler, publish=True, **SMALL))
    except S2SharpError as error:
        told = str(error)
    assert Path(name).name in told or shards(out) == shards(whole)
    assert told or open_cube(out).B05.notnull().any()


def _around(out: Path) -> dict[str, object]:
    """All of a cube but its shards: metadata without the root's, and coordinates."""
    store = out / "cube.zarr"
    found: dict[str, object] = {}
    for file in store.rglob("*"):
        if file.name == "zarr.json" and file.parent != store:
            found[str(file.relative_to(store))] = json.loads(file.read_text())
        elif file.is_file() and {"x", "y", "time", "spatial_ref"} & set(file.parts):
            found[str(file.relative_to(store))] = file.read_bytes()
    return found


def _told_otherwise(file: Path) -> None:
    text = file.read_text()
    assert "0.0001" in text
    file.write_text(text.replace("0.0001", "0.0007"))


LOST: dict[str, tuple[str, Callable[[Path], object]]] = {
    "where it lies": ("*/x", shutil.rmtree),
    "where it lies, torn": ("*/x/c/0", lambda file: file.write_bytes(file.read_bytes()[:20])),
    "when it was": ("*/time/c/0", Path.unlink),
    "where an overview lies": ("*/x2/y/c/0", lambda file: file.write_bytes(b"")),
    "what an array is": ("*/valid/zarr.json", lambda file: file.write_bytes(b"\xff")),
    "an overview": ("*/x2", shutil.rmtree),
    "the root": ("zarr.json", lambda file: file.write_bytes(b"{")),
    "a band": ("*/B05", shutil.rmtree),
    "what numbers mean": ("*/B05/zarr.json", _told_otherwise),
}


# With shards go units; the rest is laid out anew, before any unit. What is there, and says something else, `verify` alone
# sees.
SHARDS, NUMBERS = ("an overview", "a band"), "what numbers mean"
LOOKS = [(what, "run") for what in ("where it lies", "the root", *SHARDS)]
LOOKS += [("a band", "verify"), (NUMBERS, "verify")]


@pytest.mark.parametrize("what", [what for what in LOST if what not in (*SHARDS, NUMBERS)])
def test_what_lies_around_the_pixels_is_laid_out_anew(
    archive: Path, out: Path, whole: Path, what: str
) -> None:
    pattern, lose = LOST[what]
    (file,) = (out / "cube.zarr").glob(pattern)
    lose(file)
    plan = resume(config(archive, out, publish=True, **SMALL))
    assert plan is not None
    _laid_out(plan)
    assert shards(out) == shards(whole)
    assert _around(out) == _around(whole)
    assert not root_is_torn(out / "cube.zarr")


@pytest.mark.parametrize(("what", "first"), LOOKS)
def test_what_lies_around_the_pixels_is_made_again(
    archive: Path, out: Path, whole: Path, scheduler: str, what: str, first: str
) -> None:
    pattern, lose = LOST[what]
    (file,) = (out / "cube.zarr").glob(pattern)
    lose(file)
    if first == "verify":
        code, text = call("verify", str(out))
        assert code == 4
        assert str(file.relative_to(out / "cube.zarr")) in "".join(text.split())
    _, outcome = run(config(archive, out, scheduler, publish=True, **SMALL))
    assert not outcome.failed
    assert shards(out) == shards(whole)
    assert _around(out) == _around(whole)
    assert open_cube(out).identical(open_cube(whole))
    assert not verify_run(out)[1]
    assert not Plan.read(out).repairs


@pytest.mark.parametrize("how", [Path.unlink, lambda file: file.write_bytes(_another_day(file))])
@pytest.mark.parametrize("level", [0, 1])
def test_no_reader_is_shown_a_date_that_is_none_of_the_cubes(out: Path, how, level: int) -> None:
    (file,) = (out / "cube.zarr").glob("*/x2/time/c/0" if level else "[0-9]*/time/c/0")
    how(file)
    with pytest.raises(S2SharpError, match="not those of its acquisitions") as told:
        open_cube(out, level=level)
    assert told.value.kind == "file-broken"


@pytest.mark.parametrize("name", ["x", "y"])
def test_no_reader_is_shown_pixels_at_a_place_that_is_lost(out: Path, name: str) -> None:
    (file,) = (out / "cube.zarr").glob(f"[0-9]*/{name}/c/0")
    file.unlink()
    with pytest.raises(S2SharpError, match=f"The values of {name} are not those") as told:
        open_cube(out)
    assert told.value.kind == "file-broken"


def _another_day(file: Path) -> bytes:
    """Return a chunk of a coordinate of time that says a day later."""
    times = zarr.open_array(file.parents[1], mode="r+")
    times[...] = times[...] + 86_400
    return file.read_bytes()


@pytest.mark.parametrize("beat", ["yesterday", "2026-01-01T00:00:00", 7])
def test_a_lease_without_a_time_is_no_lease(
    archive: Path, out: Path, scheduler: str, beat: object
) -> None:
    newest = max((out / "lease").iterdir())
    about = {**json.loads(newest.read_text()), "beat": beat, "released": False}
    (newest.parent / f"{int(newest.name) + 1:06d}").write_text(json.dumps(about))
    assert call("status", str(out))[0] == 0
    _, outcome = run(config(archive, out, scheduler, publish=True, **SMALL))
    assert set(outcome.counts) == {"skipped"}


def test_a_unit_of_a_plan_that_is_no_more_writes_and_records_nothing(
    archive: Path, tmp_path: Path
) -> None:
    """As a worker that was stopped, and wakes when its run has been taken over."""
    out = tmp_path / "out"
    plan, _ = _laid_out(make_plan(config(archive, out, **SMALL)))
    for acquisition in plan.acquisitions:
        freeze_acquisition(plan.out, acquisition)
    unit, mine = next(plan.units()), Run(out, plan.stamp, 1)
    _ = mine.plan  # as it was when the worker was stopped
    plan.freeze()
    record = sharpen_unit(mine, unit, [])
    assert (record.status, record.kind) == ("failed", "other-run")
    assert not shards(out)
    assert not list(Ledger(out / "ledger").records())
