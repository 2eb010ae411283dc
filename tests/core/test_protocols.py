import numpy as np
import pytest
import torch

from s2sharp_core import S2SharpError
from s2sharp_core.bands import BANDS, BY_GSD, COARSE, GSDS
from s2sharp_core.evaluation.cases import BenchScene
from s2sharp_core.evaluation.metrics import INDICES, index
from s2sharp_core.evaluation.protocols import PROTOCOLS, synthetic_scenes
from s2sharp_core.evaluation.scoring import METRICS
from s2sharp_core.sensor.observation import degrade
from s2sharp_core.sensor.response import MTF_TABLE, SENTINEL2
from s2sharp_core.sensor.simulate import observe
from tests.data import by_gsd, needs_data, paper, real_scene

(LANDSCAPE,) = synthetic_scenes(1, cells=24)
NATIVE = BenchScene("native", native=observe(LANDSCAPE.truth))


def shapes(arrays):
    return {gsd: y.shape for gsd, y in arrays.items()}


def test_every_protocol_says_what_it_is_and_what_it_measures():
    for name, protocol in PROTOCOLS.items():
        assert protocol.name == name
        assert len(protocol.summary) > 40
        told = protocol.definitions
        known = {*METRICS, "border", "gain", "loss, trial", "SRE, trial"}
        assert set(told) <= known
        assert protocol.headline in told
        if protocol.headline == "SRE" and "SAM" in told:
            assert ("mean(x)²" in told["SRE"]) == (name == "dsen2")
            assert str(protocol.border) in told["border"]
    assert next(iter(PROTOCOLS)) == "measured"
    assert PROTOCOLS["measured"].sensor == SENTINEL2
    assert PROTOCOLS["mtf"].sensor == MTF_TABLE


def test_only_the_papers_ways_tell_the_sensor():
    telling = {name for name, protocol in PROTOCOLS.items() if protocol.tells}
    assert telling == {"mtf", "dsen2", *(name for name in PROTOCOLS if name.startswith("papers/"))}


def test_a_landscape_is_observed_and_its_truth_asked_for():
    (case,) = PROTOCOLS["mtf"].cases(LANDSCAPE)
    assert shapes(case.inputs) == {10: (4, 144, 144), 20: (6, 72, 72), 60: (2, 24, 24)}
    assert shapes(case.truth) == {20: (6, 144, 144), 60: (2, 144, 144)}
    assert case.bands == COARSE
    assert (case.cells, case.step(20), case.absent) == ((24, 24), "20→10 m", frozenset())
    names = list(BANDS)
    for gsd in (20, 60):
        asked = LANDSCAPE.truth[[names.index(b) for b in BY_GSD[gsd]]]
        assert (case.truth[gsd] == asked).all()
        fine = torch.from_numpy(asked)[None]
        seen = degrade(fine, BY_GSD[gsd], gsd // 10, MTF_TABLE)[0].numpy()
        noise = (case.inputs[gsd] - seen).std(axis=(1, 2))
        assert noise == pytest.approx(seen.mean(axis=(1, 2)) / 200, rel=0.2)


def test_a_real_scene_is_seen_twice_and_six_times_as_coarse():
    fine, coarse = PROTOCOLS["mtf"].cases(NATIVE)
    assert (fine.gsds, fine.scale, fine.step(20)) == ((20,), 2, "40→20 m")
    assert (coarse.gsds, coarse.scale, coarse.step(60)) == ((60,), 6, "360→60 m")
    assert (fine.truth[20] == NATIVE.native[20]).all()
    assert (coarse.truth[60] == NATIVE.native[60]).all()
    assert shapes(fine.inputs) == {10: (4, 72, 72), 20: (6, 36, 36), 60: (2, 12, 12)}
    assert shapes(coarse.inputs) == {10: (4, 24, 24), 20: (6, 12, 12), 60: (2, 4, 4)}
    # Centred on the coarse pixel: a picture of its own coordinates stays where it is.
    ramp = {
        g: np.tile(np.arange(144 * 10 // g) * g / 1e3 + g / 2e3, (len(b), 144 * 10 // g, 1))
        for g, b in BY_GSD.items()
    }
    native = BenchScene("ramp", native={g: y.astype(np.float32) for g, y in ramp.items()})
    seen = PROTOCOLS["mtf"].cases(native)[0].inputs[20][0, 10]
    assert seen[8:-8] == pytest.approx((np.arange(36) * 40 + 20)[8:-8] / 1e3, abs=1e-5)


def test_dsen2_sees_more_sharply_and_measures_otherwise():
    (honest,), (sharp,) = (PROTOCOLS[name].cases(LANDSCAPE) for name in ("mtf", "dsen2"))
    detail = [np.abs(np.diff(c.inputs[20])).mean(axis=(1, 2)) for c in (honest, sharp)]
    assert (detail[1] > 1.05 * detail[0]).all()
    assert PROTOCOLS["dsen2"].sre == "mean"


def test_at_full_resolution_nobody_knows_the_truth():
    (case,) = PROTOCOLS["consistency"].cases(NATIVE)
    assert case.truth == {}
    assert all((case.inputs[g] == NATIVE.native[g]).all() for g in GSDS)


def test_cases_are_the_same_every_time():
    (one,), (two,) = (PROTOCOLS["mtf"].cases(s) for s in (LANDSCAPE, synthetic_scenes(1, 24)[0]))
    assert all((one.inputs[g] == two.inputs[g]).all() for g in GSDS)


def test_the_edge_is_one_step_in_the_middle():
    (case,) = PROTOCOLS["mtf"].cases(LANDSCAPE)
    assert case.edge.shape == (144, 144)
    assert (case.edge[:, 0] == 0).all()
    assert case.edge[:, -1] == pytest.approx(0.05)
    assert (np.diff(case.edge, axis=1) >= 0).all()


@pytest.mark.parametrize(
    ("protocol", "scene"),
    [
        ("papers/iceland", NATIVE),
        ("papers/apex-30", LANDSCAPE),
        ("mtf", BenchScene("x", published={})),
    ],
)
def test_a_scene_of_the_wrong_kind_is_refused(protocol, scene):
    with pytest.raises(S2SharpError, match=scene.name):
        PROTOCOLS[protocol].cases(scene)


def test_papers_have_their_own_borders_and_ways_of_fitting_are_told():
    papers = {name: p for name, p in PROTOCOLS.items() if p.file}
    assert {name: p.border for name, p in papers.items()} == {
        "papers/coastal": 0,
        "papers/iceland": 2,
        "papers/apex-30": 0,
        "papers/apex-40": 0,
    }
    assert all("tests.benchmarks.papers" in p.quirks for p in papers.values())


def test_iceland_goes_on_at_its_other_side():
    """A picture moved around by whole coarse cells is seen as before, moved."""
    names = list(BANDS)
    truth = 1e4 * LANDSCAPE.truth.transpose(1, 2, 0)
    native = {
        f"y{g}": truth[:: g // 10, :: g // 10, [names.index(b) for b in BY_GSD[g]]] for g in GSDS
    }
    moved = {name: np.roll(y, 24 // (int(name[1:]) // 10), 1) for name, y in native.items()}
    (case,), (other,) = (
        PROTOCOLS["papers/iceland"].cases(BenchScene("iceland", published=y))
        for y in (native, moved)
    )
    for gsd in GSDS:
        expected = np.roll(case.inputs[gsd], 12 * 10 // gsd, 2)
        assert other.inputs[gsd] == pytest.approx(expected, abs=1e-6)


@needs_data
def test_the_published_pictures_of_coastal_are_made_with_the_blur_that_is_told():
    (case,) = PROTOCOLS["papers/coastal"].cases(
        BenchScene("coastal", published=paper("coastal_rr"))
    )
    assert case.absent == {"B01", "B09"}
    assert case.bands == BY_GSD[20]
    assert shapes(case.inputs) == {10: (4, 204, 204), 20: (6, 102, 102), 60: (2, 34, 34)}
    scene = by_gsd(real_scene("coastal"))
    for gsd in (10, 20):
        seen = degrade(torch.from_numpy(scene[gsd])[None], BY_GSD[gsd], 2, case.sensor)[0].numpy()
        assert np.abs(seen - case.inputs[gsd]).max() < 2e-4


@needs_data
def test_iceland_is_half_a_pixel_off_as_published():
    published = paper("iceland_raw")
    (case,) = PROTOCOLS["papers/iceland"].cases(BenchScene("iceland", published=published))
    assert shapes(case.inputs) == {10: (4, 210, 210), 20: (6, 105, 105), 60: (2, 35, 35)}
    assert case.truth[20] == pytest.approx(published["y20"].transpose(2, 0, 1) / 1e4, abs=1e-6)
    first = case.truth[20][:, ::2, ::2]
    errors = [
        np.abs(case.inputs[20] - np.roll(first, -s, 2))[:, 8:-8, 8:-8].mean() for s in (-1, 0, 1)
    ]
    assert errors[1] == min(errors)


@needs_data
@pytest.mark.parametrize("decibels", [30, 40])
def test_apex_has_the_noise_that_its_name_says(decibels):
    (case,) = PROTOCOLS[f"papers/apex-{decibels}"].cases(
        BenchScene("apex", published=paper("apex"))
    )
    truth = paper("apex")["truth"].transpose(2, 0, 1) / 1e4
    clean = truth[[list(BANDS).index(b) for b in BY_GSD[10]]]
    power = (clean**2).mean(axis=(1, 2)) / ((case.inputs[10] - clean) ** 2).mean(axis=(1, 2))
    assert 10 * np.log10(power) == pytest.approx(decibels, abs=0.2)
    assert shapes(case.truth) == {20: (6, 198, 198), 60: (2, 198, 198)}


def test_indices_are_normalised_differences_and_unknown_in_the_dark():
    bands = {b: np.array([0.3, 0.004]) for b in {b for pair in INDICES.values() for b in pair}}
    bands["B11"] = np.array([0.1, 0.004])
    assert index("NDWI", bands)[0] == pytest.approx(0.5)
    assert np.isnan(index("NDWI", bands)[1])
    assert index("NBR", bands)[0] == 0
