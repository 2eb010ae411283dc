"""What is written is whole, what is created is created once, what is listed is there, wherever it lies."""

import os
import pickle
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
import zarr
from pydantic import BaseModel, ValidationError
from s2sharp.storage.arrays import zarr_store
from s2sharp.storage.files import (
    contents,
    create,
    files,
    put,
    read_named,
    read_text,
    remove,
    remove_tree,
    size,
    sweep,
    version,
    write_all,
    write_bytes,
    write_text,
)
from s2sharp.storage.location import Located, Location, place, store_errors
from s2sharp.storage.mirror import local, mirrored

from s2sharp_core import S2SharpError
from tests.services import SECRET
from tests.web import Proxy


@pytest.fixture(params=["folder", "memory", "s3"])
def out(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    """A place of each kind in which nothing is yet."""
    if request.param == "folder":
        return place(tmp_path / "out")
    if request.param == "s3":
        request.getfixturevalue("s3")
    host = "s3://bucket" if request.param == "s3" else "memory://"
    return place(f"{host}/{uuid4().hex}/out")


def test_what_is_written_is_read(out: Location) -> None:
    write_text(out / "a" / "b.txt", "first, ü")
    write_text(out / "a" / "b.txt", "second, ü")
    assert read_text(out / "a" / "b.txt") == "second, ü"
    assert size(out / "a" / "b.txt") == len("second, ü".encode())


def test_all_files_below_are_listed_with_their_sizes(out: Location) -> None:
    for name in ("b", "a/c/d", "a/b.x"):
        write_bytes(out / name, name.encode())
    write_text(out.with_name("outside"), "a neighbour whose name begins alike")
    assert files(out) == {"a/b.x": 5, "a/c/d": 5, "b": 1}
    assert list(files(out)) == ["a/b.x", "a/c/d", "b"]
    assert files(out / "a") == {"b.x": 5, "c/d": 5}
    assert files(out, "a") == {"a/b.x": 5, "a/c/d": 5}
    assert files(out, "x") == {}


def test_nothing_there_is_no_error(out: Location) -> None:
    assert files(out) == {}
    assert size(out / "a") == 0
    remove(out / "a")
    remove_tree(out)
    sweep(out)
    for ask in (version, contents, read_text):
        with pytest.raises(FileNotFoundError):
            ask(out / "a")


def test_removing_takes_what_was_meant_and_no_more(out: Location) -> None:
    for name in ("a/1", "a/2", "ab/3", "b"):
        write_text(out / name, name)
    remove(out / "b")
    assert list(files(out)) == ["a/1", "a/2", "ab/3"]
    remove_tree(out / "a")
    assert list(files(out)) == ["ab/3"]


def test_many_are_read_at_once_and_what_went_meanwhile_is_left_out(out: Location) -> None:
    for n in range(20):
        write_text(out / f"{n:02}", str(n))
    names = list(files(out))
    remove(out / "07")
    assert [text for _, text in read_named(out, names)] == [str(n) for n in range(20) if n != 7]


def test_of_many_that_create_at_once_one_is_told_so(out: Location) -> None:
    for n in range(4):
        with ThreadPoolExecutor(8) as threads:
            told = list(threads.map(lambda who: create(out / f"{n}", f"I am {who}"), range(8)))  # noqa: B023
        (winner,) = (who for who, won in enumerate(told) if won)
        assert read_text(out / f"{n}") == f"I am {winner}"
    assert sorted(files(out)) == ["0", "1", "2", "3"], "no draft is left"


def test_who_repeats_its_own_creation_has_created_it(out: Location) -> None:
    assert create(out / "a", "mine")
    assert create(out / "a", "mine")
    assert not create(out / "a", "yours")


def test_the_last_of_several_files_comes_last(s3: Proxy) -> None:
    out = place(f"s3://bucket/{uuid4().hex}")
    write_all(out, {"zarr.json": b"0", **{f"{n}": b"1" for n in range(40)}}, last=["zarr.json"])
    written = [path for method, path in s3.requests if method == "PUT"]
    assert len(written) == 41
    assert written[-1].endswith("/zarr.json")


def test_a_version_changes_with_every_writing(out: Location) -> None:
    write_text(out / "a" / "file", "1")
    before, around = version(out / "a" / "file"), contents(out / "a")
    assert version(out / "a" / "file") == before
    assert contents(out / "a") == around
    write_text(out / "a" / "file", "2")
    assert version(out / "a" / "file") != before
    assert contents(out / "a") != around
    around = contents(out / "a")
    write_text(out / "a" / "other", "")
    assert contents(out / "a") != around


def another_writes(s3: Proxy, key: str) -> None:
    """An object that no client of this process has written."""
    request = urllib.request.Request(
        f"http://{s3.target}/bucket/{key}", data=b"other", method="PUT"
    )
    urllib.request.urlopen(request, timeout=10).close()


def test_what_others_write_is_seen_at_once(s3: Proxy) -> None:
    prefix = uuid4().hex
    out = place(f"s3://bucket/{prefix}")
    write_text(out / "a", "")
    assert list(files(out)) == ["a"]
    assert not (out / "b").exists()
    another_writes(s3, f"{prefix}/b")
    assert (out / "b").exists()
    assert list(files(out)) == ["a", "b"]
    assert [path.name for path in out.iterdir()] == ["a", "b"]


def test_a_listing_is_of_files_even_while_the_first_one_comes(s3: Proxy) -> None:
    prefix = uuid4().hex

    def meanwhile(method: str, path: str) -> None:
        # s3fs, which has listed nothing, looks whether the folder is a file.
        if method == "HEAD" and path.endswith(prefix):
            another_writes(s3, f"{prefix}/first")

    s3.trouble = meanwhile
    assert set(files(place(f"s3://bucket/{prefix}"))) <= {"first"}
    assert list(files(place(f"s3://bucket/{prefix}"))) == ["first"]


def test_a_finished_file_is_moved_to_its_place(out: Location, tmp_path: Path) -> None:
    finished = tmp_path / "finished"
    finished.write_bytes(b"whole")
    put(finished, out / "cogs" / "B02.tif")
    assert read_text(out / "cogs" / "B02.tif") == "whole"
    assert not finished.exists()


def test_sharded_arrays_are_the_same_bytes_everywhere(out: Location, tmp_path: Path) -> None:
    data = np.arange(64 * 64, dtype="int16").reshape(64, 64)
    stored = []
    for where in (out, tmp_path / "plain"):
        array = zarr.create_array(
            zarr_store(where), shape=(64, 64), shards=(32, 32), chunks=(16, 16), dtype="int16"
        )
        array[...] = data
        np.testing.assert_array_equal(
            zarr.open_array(zarr_store(where), mode="r")[8:40], data[8:40]
        )
        stored.append({n: (where / n).read_bytes() for n in files(where) if n.startswith("c/")})
    assert stored[0] == stored[1]
    assert len(stored[0]) == 4


def test_code_that_knows_paths_only_reads_a_copy_that_follows(out: Location) -> None:
    write_bytes(out / "net.safetensors", b"1")
    write_text(out / "net.json", "{}")
    assert (local(out) / "net.safetensors").read_bytes() == b"1"
    assert local(out) == local(out)
    write_bytes(out / "net.safetensors", b"2")
    assert (local(out) / "net.safetensors").read_bytes() == b"2"
    assert (local(out) / "net.json").read_text() == "{}"


def test_what_is_written_to_a_mirror_arrives_in_the_order_it_was_written(out: Location) -> None:
    write_text(out / "before", "old")
    with mirrored(out) as (here, push):
        assert (here / "before").read_text() == "old"
        (here / "checkpoint").write_text("1")
        push()
        assert read_text(out / "checkpoint") == "1"
        (here / "checkpoint").unlink()
        (here / "weights").write_text("2")
    assert sorted(files(out)) == ["before", "weights"]
    assert read_text(out / "weights") == "2"

    def stopped() -> None:
        with mirrored(out) as (here, _):
            (here / "checkpoint").write_text("of a fit that was stopped")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert "checkpoint" in files(out)


def test_a_mirror_writes_only_what_changed(s3: Proxy) -> None:
    out = place(f"s3://bucket/{uuid4().hex}")
    write_text(out / "card", "1")
    write_text(out / "weights", "1")
    s3.requests.clear()
    with mirrored(out) as (here, push):
        for name in ("card", "weights"):
            (here / name).write_text("22")
        push()
        push()
    names = [path.rpartition("/")[2] for method, path in s3.requests if method == "PUT"]
    assert names == ["card", "weights"]


def test_a_place_travels_to_other_processes_without_credentials(out: Location) -> None:
    write_text(out / "a", "1")
    parcel = pickle.dumps(out)
    assert SECRET.encode() not in parcel
    assert os.environ.get("AWS_ACCESS_KEY_ID", "AKIA").encode() not in parcel
    there = pickle.loads(parcel)
    assert there == out
    assert hash(there) == hash(out)
    assert read_text(there / "a") == "1"


def test_paths_are_made_absolute_and_urls_are_not_touched(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert place("out") == tmp_path / "out"
    assert place((tmp_path / "a b").as_uri()) == tmp_path / "a b"
    assert place("~") == Path.home()
    assert str(place("s3://bucket/a/b/")) == "s3://bucket/a/b"
    assert str(place("s3://bucket") / "a") == "s3://bucket/a"
    assert place(place("memory://a/b")) == place("memory://a/b")


@pytest.mark.parametrize(
    "url",
    [
        f"s3://AKIAIOSFODNN7EXAMPLE:{SECRET}@bucket/out",
        f"s3://AKIAIOSFODNN7EXAMPLE:{SECRET[:9]}/{SECRET[9:]}@bucket/out",
        f"s3://{SECRET}@bucket/out",
        f"s3://bucket/out?secret={SECRET}",
        f"s3://bucket/out#{SECRET}",
        f"abfs://container:{SECRET}@account/out",
        f"sftp://me:{SECRET}@host/out",
        f"s3://[{SECRET}/out",
        f"unknown://{SECRET}",
    ],
)
def test_what_may_be_secret_in_an_address_is_refused_and_not_repeated(url) -> None:
    with pytest.raises(S2SharpError) as caught:
        place(url)
    assert caught.value.kind == "bad-config"
    assert caught.value.remedy

    class Model(BaseModel, hide_input_in_errors=True):
        out: Located

    with pytest.raises(ValidationError) as invalid:
        Model(out=url)
    for said in (str(caught.value), repr(caught.value), str(invalid.value), repr(invalid.value)):
        assert SECRET not in said
        assert SECRET[9:] not in said


def test_a_store_that_nothing_installed_opens_names_what_to_install() -> None:
    code = (
        "import sys; sys.modules['s3fs'] = None\n"
        "from s2sharp.storage.location import place\n"
        "try: place('s3://bucket/out')\n"
        "except Exception as error: print(type(error).__name__, error.kind, error)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.startswith("S2SharpError bad-config")
    assert "pip install 's2sharp[s3]'" in said.stdout


def test_nothing_of_a_store_is_loaded_before_one_is_named() -> None:
    code = (
        "import sys, s2sharp.planning.config, s2sharp.storage.location\n"
        "s2sharp.storage.location.place('/tmp')\n"
        "heavy = {'s3fs', 'botocore', 'aiohttp', 'zarr', 'torch', 'distributed', 'icechunk'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_what_a_store_raises_is_among_its_errors(s3: Proxy, monkeypatch) -> None:
    from s2sharp.storage import location as module

    monkeypatch.setitem(module._PATIENCE, "retries", {"total_max_attempts": 1})
    out = place(f"s3://bucket/{uuid4().hex}")
    for status in (403, 500, 503):
        s3.trouble = lambda _method, _path, status=status: status
        for act in (lambda: write_text(out / "a", ""), lambda: read_text(out / "a")):
            with pytest.raises(store_errors()):
                act()
    s3.trouble = lambda _method, _path: None
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setitem(module._PATIENCE, "connect_timeout", 2)  # else the client of before is used
    with pytest.raises(store_errors()):
        write_text(place(str(out)) / "a", "")
