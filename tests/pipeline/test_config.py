"""What a run is told: from a file, the environment and flags, and refused by the name of what is wrong."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from s2sharp.catalog.extent import interval
from s2sharp.planning.config import EARTH_SEARCH, EVER, WORLD, RunConfig, read_config

from s2sharp_core import BANDS, S2SharpError

BBOX = (14.0, 47.0, 14.2, 47.1)
WHOLE = {"out": "out", "bbox": BBOX, "datetime": "2024-06"}


def toml(folder: Path, text: str) -> Path:
    file = folder / "run.toml"
    file.write_text(text)
    return file


def refusal(file: Path | None, flags: dict) -> str:
    with pytest.raises(S2SharpError) as caught:
        read_config(file, flags)
    assert caught.value.kind == "bad-config"
    assert caught.value.remedy
    return caught.value.message


def test_little_needs_to_be_said():
    config = read_config(None, WHOLE)
    assert (config.catalog, config.collection) == (EARTH_SEARCH, "sentinel-2-c1-l2a")
    assert config.bands == tuple(BANDS)
    assert config.out == Path("out").absolute()


def test_files_of_ones_own_are_all_taken_where_no_part_is_named(tmp_path, monkeypatch):
    for catalog in (tmp_path, str(tmp_path / "catalog.json"), "https://host.invalid/A.SAFE"):
        config = read_config(None, {"out": "out", "catalog": catalog})
        assert (config.bbox, config.datetime) == (WORLD, EVER)
    part = read_config(None, {"out": "out", "catalog": tmp_path, "area": "farm.geojson"})
    assert (part.bbox, part.datetime) == (None, EVER)
    monkeypatch.setenv("S2SHARP_BBOX", "5,6,7,8")
    part = read_config(None, {"out": "out", "catalog": tmp_path, "datetime": "2024"})
    assert (part.bbox, part.datetime) == ((5, 6, 7, 8), "2024")
    monkeypatch.delenv("S2SHARP_BBOX")
    for catalog in ("https://host.invalid/catalog.json", "s3://bucket/products"):
        assert "datetime" in refusal(None, {"out": "out", "catalog": catalog})


def _collection(folder, *names):
    """A catalog whose collections have these names."""
    for name in names:
        (folder / name).mkdir(parents=True)
        about = {"type": "Collection", "id": name, "stac_version": "1.0.0", "links": []}
        (folder / name / "collection.json").write_text(json.dumps(about))
    links = [{"rel": "child", "href": f"./{name}/collection.json"} for name in names]
    catalog = {"type": "Catalog", "id": "mine", "stac_version": "1.0.0", "links": links}
    (folder / "catalog.json").write_text(json.dumps(catalog))
    return folder / "catalog.json"


def test_a_catalog_of_ones_own_that_has_one_collection_needs_no_name_of_it(tmp_path):
    one = _collection(tmp_path / "one", "mine")
    assert RunConfig(out="cube", catalog=one).collection == "mine"
    assert RunConfig(out="cube", catalog=one.parent).collection == "mine"
    assert RunConfig(out="cube", catalog=one, collection="yours").collection == "yours"
    usual = RunConfig.model_fields["collection"].default
    assert (
        RunConfig(out="cube", catalog=_collection(tmp_path / "two", "a", "b")).collection == usual
    )
    assert RunConfig(out="cube", catalog=tmp_path / "nothing.json").collection == usual
    # A collection that has others in it, whose items are theirs.
    outer = json.loads(one.read_text()) | {"type": "Collection", "id": "outer"}
    (one.parent / "outer.json").write_text(json.dumps(outer))
    assert RunConfig(out="cube", catalog=one.parent / "outer.json").collection == usual
    # One that has catalogs in it, by year say, is still one.
    year = {"type": "Catalog", "id": "2024", "links": [{"rel": "item", "href": "b.json"}]}
    (one.parent / "mine" / "collection.json").write_text(json.dumps(year))
    assert RunConfig(out="cube", catalog=one.parent / "outer.json").collection == "outer"
    items = [{"type": "Feature", "id": x, "collection": "saved"} for x in ("a", "b")]
    saved = tmp_path / "saved.json"
    saved.write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    assert RunConfig(out="cube", catalog=saved).collection == "saved"
    items[0]["collection"] = "another"
    saved.write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    assert RunConfig(out="cube", catalog=saved).collection == usual
    # Items that hang on a catalog by themselves say what they are of.
    bare = {"type": "Catalog", "id": "x", "links": [{"rel": "item", "href": "a.json"}]}
    (tmp_path / "bare.json").write_text(json.dumps(bare))
    (tmp_path / "a.json").write_text(json.dumps(items[1]))
    assert RunConfig(out="cube", catalog=tmp_path / "bare.json").collection == "saved"


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path, monkeypatch):
    file = toml(
        tmp_path,
        "out = 'file'\ndatetime = '2021'\nbbox = [1, 2, 3, 4]\n"
        "max_cloud = 11\nwindow = 16\nmethod = 'bicubic'\n",
    )
    monkeypatch.setenv("S2SHARP_MAX_CLOUD", "22")
    monkeypatch.setenv("S2SHARP_WINDOW", "32")
    monkeypatch.setenv("S2SHARP_BBOX", "5,6,7.5,8")
    config = read_config(file, {"window": 64})
    assert (config.window, config.max_cloud, config.method) == (64, 22, "bicubic")
    assert config.bbox == (5, 6, 7.5, 8)
    assert (config.out, config.datetime) == (Path("file").absolute(), "2021")


def test_another_area_takes_the_place_of_the_files(tmp_path, monkeypatch):
    file = toml(tmp_path, "out = 'o'\ndatetime = '2021'\narea = 'farm.geojson'\n")
    assert read_config(file, {}).area == Path("farm.geojson").absolute()
    config = read_config(file, {"bbox": BBOX})
    assert (config.bbox, config.area) == (BBOX, None)
    monkeypatch.setenv("S2SHARP_BBOX", "5 6 7 8")
    assert read_config(file, {"area": "wood.geojson"}).bbox is None


def test_bands_are_kept_in_esas_order_and_once():
    wanted = ("B02", "B05", "B8A", "B12")
    for said in ("B12,B05 B02,B8A", "B8A, B12, B05, B02", ["B12", "B8A", "B02", "B05", "B05"]):
        assert read_config(None, {**WHOLE, "bands": said}).bands == wanted


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("bands", "B02,B13"),
        ("bands", "b13"),
        ("bands", ""),
        ("bands", [["B02"]]),
        ("bbox", (14.2, 47.0, 14.0, 47.1)),
        ("bbox", (14.0, 47.1, 14.2, 47.0)),
        ("bbox", (14.0, 47.0, 14.0, 47.1)),
        ("bbox", (600_000, 5_300_000, 610_000, 5_310_000)),
        ("bbox", (14.0, 47.0, float("nan"), 47.1)),
        ("bbox", "14,47,15"),
        ("bbox", "14 47 east 48"),
        ("max_cloud", 101),
        ("max_cloud", -1),
        ("max_cloud", float("nan")),
        ("window", 0),
        ("window", 1.5),
        ("shard", -512),
        ("chunk", 0),
        ("workers", 0),
        ("memory", "much"),
        ("stage_budget", 0),
        ("stage", "sometimes"),
        ("device", "tpu"),
        ("publish", "perhaps"),
        ("datetime", None),
        ("out", None),
        ("windwo", 64),
    ],
)
def test_what_is_wrong_is_named(field, value):
    assert f"{field}" in refusal(None, {**WHOLE, field: value})


def test_everything_that_is_wrong_is_named_at_once(tmp_path, monkeypatch):
    file = toml(tmp_path, "out = 'o'\nbands = ['B99']\nbbox = [3, 2, 1, 4]\ncolor = 'red'\n")
    monkeypatch.setenv("S2SHARP_WORKERS", "none")
    said = refusal(file, {"window": -1})
    for field in ("bands", "B99", "bbox", "color", "workers", "window", "datetime"):
        assert field in said


def test_a_misspelt_setting_is_refused_with_what_it_may_mean(tmp_path, monkeypatch):
    file = toml(tmp_path, "max_clouds = 20\nqqqq = 1\n")
    said = refusal(file, WHOLE)
    assert "max_clouds: there is no such setting (do you mean max_cloud?)" in said
    assert "qqqq: there is no such setting;" in f"{said};".replace(".;", ";")
    monkeypatch.setenv("S2SHARP_MAXCLOUD", "20")
    said = refusal(None, WHOLE)
    assert "S2SHARP_MAXCLOUD" in said
    assert "max_cloud?" in said


def test_variables_that_are_near_no_setting_are_told_of_and_those_of_others_are_not(monkeypatch):
    monkeypatch.setenv("S2SHARP_DATA", "/data")
    assert read_config(None, WHOLE)
    monkeypatch.setenv("S2SHARP_ZZZ", "1")
    with pytest.warns(UserWarning, match="S2SHARP_ZZZ is no setting"):
        read_config(None, WHOLE)


def test_one_area_and_no_more():
    nowhere = {key: WHOLE[key] for key in ("out", "datetime")}
    for flags in (nowhere, {**WHOLE, "area": "farm.geojson"}):
        said = refusal(None, flags)
        assert "bbox" in said
        assert "area" in said


def test_an_unreadable_file_is_named(tmp_path):
    assert "run.toml" in refusal(toml(tmp_path, "out = = 1"), WHOLE)
    (tmp_path / "run.toml").write_bytes(b"\xff\xfe\x00")
    assert "run.toml" in refusal(tmp_path / "run.toml", WHOLE)
    assert "none.toml" in refusal(tmp_path / "none.toml", WHOLE)


def test_a_configuration_cannot_be_changed_once_it_is_checked():
    config = read_config(None, WHOLE)
    with pytest.raises(ValueError, match="frozen"):
        config.window = 1


def test_a_configuration_can_be_written_down_and_read_again():
    config = read_config(None, {**WHOLE, "bands": "B05,B02", "memory": 2.5})
    assert RunConfig.model_validate_json(config.model_dump_json()) == config


def test_the_example_in_deploy_is_a_configuration():
    example = Path(__file__).parents[2] / "deploy" / "run.toml"
    config = read_config(example, {})
    assert config.max_cloud == 20
    text = example.read_text().replace("# catalog", "catalog").replace("# collection", "collection")
    for key in ("bands", "method", "stage", "stage_budget", "workers"):
        text = text.replace(f"# {key} =", f"{key} =")
    assert len(RunConfig(**tomllib.loads(text)).bands) == 6


def test_every_date_that_the_help_shows_is_taken_as_it_stands():
    shown = RunConfig.model_fields["datetime"].description
    examples = re.findall(r"`([^`]+)`", shown)
    assert len(examples) == 3
    for example in examples:
        assert interval(example)
    # The help is read without the marks: what stands before a full stop is copied with it.
    assert not shown.replace("`", "").endswith("...")
