"""Commands load what they use: who asks where a run stands need not wait for torch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from s2sharp.demo.synthetic import simulate

from s2sharp_core.learning.s2net import SIZES
from s2sharp_core.networks import S2Net, SkipNet, ThreeGridNet, UnrolledNet
from s2sharp_core.sharpeners.deep_sure import build
from s2sharp_core.sharpeners.methods import METHODS

NETS = {"torch", "scipy", "sympy"}
CLUSTER = {"dask", "distributed", "bokeh"}
PIXELS = {"rasterio", "xarray", "pandas", "matplotlib", "zarr"}
PLACES = {"shapely", "pyproj"}
ITEMS = {"pyarrow", "pystac", "urllib3"}


# What is installed by extras that the README's first line does not name.
MORE = ("odc", "botocore", "s3fs", "icechunk", "h5py", "bokeh", "prometheus_client", "titiler")


def loaded(home: Path, *given: list[str], without: tuple[str, ...] = (), code: int = 0) -> set[str]:
    """The libraries that commands have loaded when they end, all with ``code``; ``without``: as if these were not installed."""
    program = (
        "import json, sys\n"
        f"sys.modules.update(dict.fromkeys({without!r}))\n"
        "from s2sharp.cli.app import app\n"
        "for words in json.loads(sys.argv[1]):\n"
        "    try: app(words)\n"
        "    except SystemExit as end: print('code', end.code)\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(given)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "XDG_CACHE_HOME": str(home)},
    )
    lines = done.stdout.splitlines()
    assert lines.count(f"code {code}") == len(given), done.stderr
    return set(json.loads(lines[-1]))


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A folder, and the flags of a run that is done, without torch and by what the README installs."""
    folder = tmp_path_factory.mktemp("light")
    catalog, bbox = simulate(folder / "scenes", 24, 1, 1, 32633, 7)
    flags = ["--catalog", str(catalog), "--collection", "synthetic-s2-l2a", "--datetime", "2024"]
    flags += ["--bbox", *map(str, bbox), "--out", str(folder / "out"), "--yes"]
    flags += ["--sensor", "default", "--workers", "1"]  # measuring is the workers' part
    assert "torch" not in loaded(folder, ["run", *flags], without=MORE)  # pictures need scipy
    return folder, flags


@pytest.mark.parametrize("command", [["--help"], ["run", "--help"], ["methods"]])
def test_what_is_only_said_loads_next_to_nothing(tmp_path: Path, command: list[str]) -> None:
    heavy = NETS | CLUSTER | PIXELS | PLACES | ITEMS | {"numpy", "psutil"}
    assert not heavy & loaded(tmp_path, command)


@pytest.mark.parametrize(
    ("command", "needed"),
    [
        ("status", {"pyproj"}),  # the shape of the area, in metres
        (
            "verify",
            {"zarr", "pyproj"},
        ),  # what a cube should look like from outside is laid out in memory
        ("clean", set()),
    ],
)
def test_who_looks_at_a_run_computes_nothing_and_reads_no_item(
    begun: tuple[Path, list[str]], command: str, needed: set[str]
) -> None:
    folder, _ = begun
    heavy = NETS | CLUSTER | PIXELS | {"pyproj", "pyarrow"}
    assert needed == heavy & loaded(folder, [command, str(folder / "out")])


def test_who_opens_a_cube_loads_no_more_than_xarray_needs(begun: tuple[Path, list[str]]) -> None:
    folder, _ = begun
    program = (
        "import sys, s2sharp; s2sharp.open_cube(sys.argv[1]).rio.crs.to_epsg()\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    given = [sys.executable, "-c", program, str(folder / "out")]
    done = subprocess.run(given, capture_output=True, text=True, check=True)
    there = set(done.stdout.split())
    # Dask loads scipy, pandas loads pyarrow.
    heavy = {"torch", "distributed", "matplotlib", "shapely", "pystac", "pystac_client", "typer"}
    assert "dask" in there
    assert not heavy & there


def test_a_plan_that_was_made_before_and_a_run_that_is_done_load_no_net_and_leave_its_page(
    begun: tuple[Path, list[str]],
) -> None:
    folder, flags = begun
    assert not (NETS | {"rasterio", "zarr", "xarray"}) & loaded(folder, ["plan", *flags])
    page = folder / "out" / "report.html"
    assert "was made at the end of the run" in page.read_text()
    written = page.stat().st_mtime_ns
    heavy = NETS | {"distributed", "bokeh", "xarray", "rasterio"}
    assert not heavy & loaded(folder, ["run", *flags])
    assert page.stat().st_mtime_ns == written
    page.unlink()
    (page / "mine").mkdir(parents=True)  # nothing can be written there, and the run ends well
    loaded(folder, ["run", *flags])


def test_what_the_readme_installs_is_enough_to_look_at_a_run(
    begun: tuple[Path, list[str]], tmp_path: Path
) -> None:
    folder, _ = begun
    page = tmp_path / "page.html"
    loaded(folder, ["report", str(folder / "out"), "--to", str(page)], without=MORE)
    assert page.stat().st_size > 1000
    # A mosaic needs more, and who lacks it is told.
    (tmp_path / "mosaic.json").write_text("{}")
    looks = [[command, str(tmp_path)] for command in ("status", "report", "verify", "clean")]
    loaded(folder, *looks, without=MORE, code=2)


def test_the_table_of_methods_says_what_their_code_does() -> None:
    costs = {name: f"{S2Net(*size).multiply_adds / 1e6:.2f} M" for name, size in SIZES.items()}
    costs |= {f"{name}-adapted": cost for name, cost in costs.items()}
    costs |= {
        name: f"{net.multiply_adds / 1e6:.2f} M"
        for name, net in (
            ("ucnn", ThreeGridNet()),
            ("deep_sure", build()),
            ("deep_sure_bp", build()),
            ("unrolled", UnrolledNet()),
        )
    }
    costs["ssc_cnn"] = f"2 × {SkipNet((20,)).multiply_adds / 1e6:.1f} M"
    for name, cost in costs.items():
        if name != "ssc_cnn":
            assert METHODS[name].cost == cost
    for method in METHODS.values():
        assert (method.fit is None) == (method.blank is None) == (method.steps == 0)


@pytest.mark.parametrize("damage", ["", "{}", "[null]", "another number"])
def test_an_answer_that_is_not_as_it_was_kept_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    """A wrong halo would be a seam."""
    from s2sharp.planning import net_process

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    asked = []

    class Process:
        def answer(self, what: str, *_: object) -> dict[str, int]:
            asked.append(what)
            return {"halo": 15}

    monkeypatch.setattr(net_process, "_asked", Process)
    assert net_process.known("outline", {}) == net_process.known("outline", {}) == {"halo": 15}
    assert asked == ["outline"]
    (file,) = tmp_path.glob("s2sharp/*.json")
    text = file.read_text()
    file.write_text(text.replace("15", "14") if damage == "another number" else damage)
    assert net_process.known("outline", {}) == {"halo": 15}
    assert len(asked) == 2
    assert file.read_text() == text


def test_the_outline_is_the_same_whether_a_sensor_is_measured_or_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from s2sharp.planning import net_process
    from s2sharp.planning.config import RunConfig

    asked = []
    answer = {"reads": ["B05"], "margin": 15}
    monkeypatch.setattr(net_process, "known", lambda *given: asked.append(given) or answer)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    for sensor in ("measured", "default", "table"):
        config = RunConfig(out=tmp_path, bbox=(0, 0, 1, 1), datetime="2024", sensor=sensor)
        assert net_process.outlined(config, ("B05",), "cpu").margin == 15
    assert asked[0] == asked[1] != asked[2]
