"""What a catalog has is said before a run: by a few items, whatever the archive, and without a pixel."""

import json
from pathlib import Path

import pytest
from s2sharp.demo.synthetic import COLLECTION

from . import items, more_items
from .test_cli import call


def saved(folder: Path, *documents: items.Document, collection: str) -> str:
    """A saved search, as a file."""
    for document in documents:
        document["collection"] = collection
    file = folder / "search.json"
    file.write_text(json.dumps({"type": "FeatureCollection", "features": documents}))
    return str(file)


def told(*arguments: str) -> list[dict]:
    code, text = call("sources", *arguments, "--json")
    assert code == 0, text
    return json.loads(text[text.index("[") : text.rindex("]") + 1])


def test_each_archive_is_told_by_its_own_facts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CDSE_S3_ACCESS_KEY", raising=False)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    shapes = {
        "sentinel-2-c1-l2a": (items.earth_search_c1(), "L2A", "COG", "none", -0.1),
        "sentinel-2-l1c": (items.earth_search_l1c(), "L1C", "JPEG 2000", "none", -0.1),
        "sentinel-2-l2a": (items.planetary_computer(), "L2A", "COG", "planetary-computer", -0.1),
    }
    for collection, (document, level, kind, way, offset) in shapes.items():
        (found,) = told(saved(tmp_path, document, collection=collection))
        assert (found["collection"], found["levels"]) == (collection, [level])
        (offering,) = found["bands"]["B05"]
        assert (offering["format"], offering["way"], offering["offset"]) == (kind, way, offset)
        assert offering["items"] == 1
    (found,) = told(saved(tmp_path, items.cdse(), collection="sentinel-2-l2a"))
    (offering,) = found["bands"]["B05"]
    assert (offering["asset"], offering["way"]) == ("B05_20m", "cdse")
    assert [refusal["kind"] for refusal in found["refused"]] == ["keys-missing"]


def test_names_that_only_one_archive_uses_are_not_taken_for_common_names(tmp_path: Path) -> None:
    found = saved(tmp_path, more_items.australia(), collection="ga_s2am_ard_3")
    code, text = call("sources", found, "--bands", "B02,B05,B11")
    assert code == 0, text
    assert "names of its own (nbart_…)" in text
    assert "common names" not in text
    code, text = call(
        "sources", saved(tmp_path, items.earth_search_c1(), collection="sentinel-2-c1-l2a")
    )
    assert code == 0, text
    assert "common names (rededge1)" in text
    assert "names of its own" not in text


def test_what_a_run_would_refuse_is_told_with_the_reason(tmp_path: Path) -> None:
    good, bad = items.earth_search_c1(), items.earth_search_c1("33UXP")
    del bad["assets"]["rededge1"]
    code, text = call("sources", saved(tmp_path, good, bad, collection="sentinel-2-c1-l2a"))
    assert code == 0, text
    assert "B05 (in 1 of 2)" in text
    assert "should have an asset for B05 at 20 m" in text
    assert "would be refused" in text


def test_catalogs_are_asked_one_after_the_other_and_one_that_is_not_there_is_told(
    archive: Path, tmp_path: Path
) -> None:
    other = saved(tmp_path, items.earth_search_c1(), collection=COLLECTION)
    here = f"{archive}/catalog.json"
    first, second = told(here, other, "--collection", COLLECTION, "--items", "2")
    assert len(first["items"]) == 2
    assert first["places"] == ["this machine"]
    assert first["size"] < second["size"]
    code, text = call("sources", here, "/nowhere/catalog.json", "--collection", COLLECTION)
    assert code == 1
    assert "2 read" not in text
    assert "4 read" in text
    assert "/nowhere/catalog.json" in text
    code, text = call("sources", here, "--collection", COLLECTION, "--datetime", "2019")
    assert code == 3
    assert "none there at that time" in text
    code, text = call("sources", here, "--collection", "sentinel-2-l2a")
    assert code == 1
    assert COLLECTION in text
    (only,) = told(here)
    assert only["collection"] == COLLECTION
