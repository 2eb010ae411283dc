"""The record of what is done: names alone tell it, and nothing half-written is ever among them."""

import dataclasses
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fsspec import AbstractFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from s2sharp.catalog.addresses import safe_name
from s2sharp.engine.ledger import FINAL, KnownRecords, Ledger, Record
from s2sharp.storage.digests import Digest
from s2sharp.storage.files import files
from upath import UPath

KEY, OTHER = "a" * 64, "b" * 64
UNIT = "S2A_20240601T101031_32633/x1_175_16"


def record(status: str = "ok", unit: str = UNIT, key: str = KEY, **more) -> Record:
    return Record(unit, key, status, **more)


def test_an_empty_ledger_is_no_error(tmp_path):
    ledger = Ledger(tmp_path / "ledger")
    assert ledger.states().of == {}
    assert list(ledger.records()) == []


@pytest.mark.parametrize("status", ["ok", "empty", "cloudy", "failed"])
def test_a_listing_tells_what_is_done(tmp_path, status):
    ledger = Ledger(tmp_path)
    ledger.write(record(status))
    # Emptied files prove that nothing but the names is looked at.
    for file in tmp_path.rglob("*.*"):
        file.write_text("")
    assert ledger.states().of == {(UNIT, KEY[:24]): status}


def test_a_record_is_read_as_it_was_written(tmp_path):
    full = record(
        "failed",
        kind="asset-unreadable",
        message="„B05“ × 2\nno file",
        item="S2A_33UWP",
        band="B05",
        attempt=3,
        warnings=("one", "two"),
        windows=4,
        valid=7,
        disagreement={"B02": 3.5},
        seconds={"read": 0.5},
        idle=1,
        peak=2,
        worker="host-1",
        written="2024-06-01T10:10:31.000+00:00",
        files={"B05": Digest(7, "ab" * 32)},
        software="s2sharp 1",
    )
    assert {f.name for f in dataclasses.fields(full) if not getattr(full, f.name)} == set()
    Ledger(tmp_path).write(full)
    assert list(Ledger(tmp_path).records()) == [full]


@pytest.mark.parametrize("status", sorted(FINAL))
def test_success_takes_back_an_earlier_failure(tmp_path, status):
    ledger = Ledger(tmp_path)
    ledger.write(record("failed", kind="asset-unreadable"))
    ledger.write(record(status))
    assert ledger.states().of == {(UNIT, KEY[:24]): status}
    assert [r.status for r in ledger.records()] == [status]


@pytest.mark.parametrize("status", sorted(FINAL))
def test_a_zombies_failure_does_not_undo_what_is_done(tmp_path, status):
    ledger = Ledger(tmp_path)
    ledger.write(record(status))
    ledger.write(record("failed"))
    assert ledger.states().of == {(UNIT, KEY[:24]): status}


def test_another_key_is_another_entry(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.write(record("ok"))
    ledger.write(record("failed", key=OTHER))
    ledger.write(record("ok", unit=UNIT + "0"))
    assert ledger.states().of == {
        (UNIT, KEY[:24]): "ok",
        (UNIT, OTHER[:24]): "failed",
        (UNIT + "0", KEY[:24]): "ok",
    }


def test_drafts_are_not_listed(tmp_path, monkeypatch):
    ledger = Ledger(tmp_path)
    ledger.write(record("ok", unit="a/first"))

    def watched(self: Path, _target: Path) -> Path:
        assert len([p for p in tmp_path.rglob("*") if p.is_file()]) == 2
        assert list(ledger.states().of) == [("a/first", KEY[:24])]
        assert [r.unit for r in ledger.records()] == ["a/first"]
        raise KeyboardInterrupt(self)

    monkeypatch.setattr(Path, "replace", watched)
    with pytest.raises(KeyboardInterrupt):
        ledger.write(record("ok", unit="a/second"))
    assert len([p for p in tmp_path.rglob("*") if p.is_file()]) == 1


@pytest.mark.parametrize(
    "name",
    [
        "S2A.MSIL2A.N05.11",
        "ok.failed",
        "...",
        ".hidden",
        "two words",
        "überflug",
        "../../etc/passwd",
        "a/b\\c",
        "",
        "x" * 500,
        "line\nbreak",
    ],
)
def test_odd_ids_stay_inside_and_apart(tmp_path, name):
    folder = tmp_path / "ledger"
    unit = f"{safe_name(name)}/x1_-3_16"
    Ledger(folder).write(record("ok", unit=unit))
    assert Ledger(folder).states().of == {(unit, KEY[:24]): "ok"}
    assert {p for p in tmp_path.rglob("*") if p.is_file()} == set(folder.glob("*/*.ok"))


def test_two_workers_may_record_the_same_unit_at_once(tmp_path):
    ledger = Ledger(tmp_path)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: ledger.write(record("ok")), range(200)))
    assert ledger.states().of == {(UNIT, KEY[:24]): "ok"}


def test_what_others_leave_in_the_folder_is_no_record(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.write(record("ok"))
    (tmp_path / "README").write_text("mine")
    (tmp_path / "Thumbs.db").write_bytes(b"\0")
    (tmp_path / "backup.tar.gz").write_bytes(b"\0")
    assert ledger.states().of == {(UNIT, KEY[:24]): "ok"}
    assert [r.unit for r in ledger.records()] == [UNIT]


def _change(**change):
    def damage(facts):
        facts.update(change)
        return json.dumps(facts)

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        lambda facts: json.dumps([facts]),
        lambda _: "[" * 100_000,
        lambda _: '{"unit": 1' + "0" * 6000 + "}",
        _change(written=5),
        _change(files=[1, 2]),
        _change(files={"a\0b": [1, "x"]}),
        _change(files={"../../x": [1, "x"]}),
        _change(files={"B05": [1]}),
        _change(warnings=None),
        _change(seconds="x"),
        _change(status="great"),
        _change(status="empty"),
        _change(key=OTHER),
        _change(unit="S2A_20240601T101031_32633/x1_9_9"),
    ],
)
def test_what_is_no_record_or_that_of_another_counts_as_none(tmp_path, damage):
    ledger = Ledger(tmp_path)
    ledger.write(record())
    (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
    file.write_text(damage(json.loads(file.read_text())))
    assert list(ledger.records()) == []
    assert ledger.latest(UNIT) is None
    assert ledger.read(UNIT, KEY, "ok").kind == "file-broken"


def test_a_record_of_a_later_version_is_read_as_far_as_it_is_known(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.write(record())
    (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
    file.write_text(json.dumps(json.loads(file.read_text()) | {"quality": 7}))
    assert [found.unit for found in ledger.records()] == [UNIT]


def test_what_is_no_file_is_no_record(tmp_path):
    """Whoever opened a pipe would wait for ever."""
    ledger = Ledger(tmp_path)
    ledger.write(record())
    (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
    file.unlink()
    for put in (os.mkfifo, lambda path: path.symlink_to(path), Path.mkdir):
        put(file)
        assert not ledger.states().done(UNIT, KEY)
        ledger.write(record())
        assert ledger.states().done(UNIT, KEY)
        file.unlink()


def test_a_book_lists_a_folder_once_and_hears_of_what_comes(tmp_path, monkeypatch):
    ledger = Ledger(tmp_path)
    ledger.write(record("failed"))
    (tmp_path / "a\nb.k.ok").touch()
    (tmp_path / os.fsdecode(b"\xff.k.ok")).touch()
    listed = []
    names = Ledger.names
    monkeypatch.setattr(
        Ledger, "names", lambda self, of="", **_: listed.append(of) or names(self, of)
    )
    book, folder = KnownRecords(ledger), UNIT.rpartition("/")[0]
    assert book.states(folder).get(UNIT, KEY) == "failed"
    assert book.states("").get("\udcff", "k") == "ok"
    book.hear(record("ok"))
    assert book.states(folder).get(UNIT, KEY) == "ok"
    book.hear(record("failed"))  # of an attempt before, told late
    assert book.states(folder).get(UNIT, KEY) == "ok"
    assert book.states("other").of == {}
    book.hear(record("ok", unit="other/x1_0_0"))
    assert book.states("other").done("other/x1_0_0", KEY)
    assert listed == [folder, "", "other"]


def test_folders_that_begin_alike_are_listed_together(tmp_path, monkeypatch):
    ledger = Ledger(tmp_path)
    days = [f"S2A_202406{day:02}T101031_32633" for day in range(1, 29)]
    months = [f"S2A_20240{month}01T101031_32633" for month in (7, 8)]
    empty, other, longer = "S2A_20240629T101031_32633", "S2B_20240601T101031_32633", days[0] + "4"
    for folder in (*days, *months, other, longer):
        ledger.write(record(unit=f"{folder}/x1_0_0", status="ok"))
    ledger.write(record(unit=f"{days[1]}/within/x1_9_9"))
    listed = []
    names = Ledger.names
    monkeypatch.setattr(
        Ledger, "names", lambda *a, **k: listed.append((a[1:], k)) or names(*a, **k)
    )
    book = KnownRecords(ledger, [*months, empty, *days], [other])
    for folder in (*days, empty, *months):
        assert book.states(folder).done(f"{folder}/x1_0_0", KEY) == (folder != empty)
        assert len(book.states(folder).of) == (0 if folder == empty else 1 + (folder == days[1]))
    # 31 folders begin with S2A, and none of the others does.
    assert listed == [((), {"prefix": "S2A"})]
    book.hear(record(unit=f"{empty}/x1_0_0"))
    assert book.states(empty).done(f"{empty}/x1_0_0", KEY)
    assert book.states(other).done(f"{other}/x1_0_0", KEY)
    assert listed[1:] == [((other,), {})]


def test_a_listing_of_many_folders_is_cut(tmp_path, monkeypatch):
    ledger = Ledger(tmp_path)
    every = [f"{first}{second}" for first in "abc" for second in map(chr, range(100, 120))]
    listed = []
    names = Ledger.names
    monkeypatch.setattr(
        Ledger, "names", lambda *a, **k: listed.append((a[1:], k)) or names(*a, **k)
    )
    book = KnownRecords(ledger, every, ["bz"])
    for folder in every:
        assert book.states(folder).of == {}
    # Of "b", a folder is not asked for, and its name would be listed, too.
    assert listed == [
        ((), {"prefix": "a"}),
        *(((folder,), {}) for folder in every if folder[0] == "b"),
        ((), {"prefix": "c"}),
    ]


def test_stores_that_know_no_prefixes_list_folders_that_begin_alike(monkeypatch):
    listed, ls = [], MemoryFileSystem.ls

    def ls_alone(store, path, detail=True):
        listed.append(path)
        return ls(store, path, detail)

    # SFTP lists one folder at a time, and takes no other words.
    monkeypatch.setattr(MemoryFileSystem, "ls", ls_alone)
    monkeypatch.setattr(MemoryFileSystem, "find", AbstractFileSystem.find)
    folder = UPath("memory://prefixes/ledger")
    assert files(folder, "S2A") == {}
    for name in ("S2A_1/a.k.ok", "S2A_2/b/c.k.ok", "S2B/a.k.ok"):
        (folder / name).write_text("")
    assert list(files(folder, "S2A")) == ["S2A_1/a.k.ok", "S2A_2/b/c.k.ok"]
    assert not [path for path in listed if "S2B" in path]
