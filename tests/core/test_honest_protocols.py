"""The bench at full resolution: kernels are those of the scene, nothing leaks, and known answers come out as known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from s2sharp_core.bands import BANDS, BY_GSD, COARSE, GSDS
from s2sharp_core.evaluation.cases import BenchScene
from s2sharp_core.evaluation.combining import combined
from s2sharp_core.evaluation.evaluate import judge, judge_pictures, prepare
from s2sharp_core.evaluation.harm_scenes import KINDS, drawn_scenes
from s2sharp_core.evaluation.protocols import PROTOCOLS
from s2sharp_core.evaluation.spectrum import BINS, departure, gain_and_coherence, middle
from s2sharp_core.sensor.observation import degrade
from s2sharp_core.sensor.response import SENTINEL2, Response, Sensor
from s2sharp_core.sensor.simulate import landscape
from s2sharp_core.sensor.upsampling import upsample
from s2sharp_core.sharpeners.loading import load_sharpener

NAMES = list(BANDS)
TRUTH = landscape((216, 216), 31)
# A satellite unlike ours, as far as a product may be: its red edge is blurred more than its short-wave infrared.
SHARP, WIDE = 0.36, 0.46
OTHER = Sensor(
    responses=tuple(
        Response(b, WIDE if b in ("B05", "B06", "B07", "B8A") else SHARP, 0.545) for b in BY_GSD[20]
    )
)


def observed(sensor, noise=2e-4):
    random = np.random.default_rng(0)
    seen = {}
    for gsd in GSDS:
        y = torch.from_numpy(TRUTH[[NAMES.index(b) for b in BY_GSD[gsd]]])[None]
        if gsd > 10:
            y = degrade(y, BY_GSD[gsd], gsd // 10, sensor)
        seen[gsd] = y[0].numpy() + noise * random.standard_normal(y.shape[1:]).astype(np.float32)
    return seen


NATIVE = BenchScene("native", native=observed(OTHER))


@pytest.fixture(scope="module")
def cases():
    return {case.part: case for case in PROTOCOLS["measured"].cases(NATIVE)}


def values(result):
    return {(row.band, row.metric): row.value for row in result.rows}


def test_a_scene_gives_a_case_for_each_kernel_and_judges_its_bands_alone(cases):
    assert {part: case.bands for part, case in cases.items()} == {
        "red edge": ("B05", "B06", "B07", "B8A"),
        "short-wave infrared": ("B11", "B12"),
        "60 m": ("B01", "B09"),
    }
    assert [case.step(case.gsds[0]) for case in cases.values()] == [
        "40→20 m",
        "40→20 m",
        "360→60 m",
    ]
    got = values(judge(cases["red edge"], load_sharpener("bicubic")))
    assert {band for band, metric in got if metric == "SRE"} == {
        "B05", "B06", "B07", "B8A", "red edge",
    }  # fmt: skip


def test_the_kernel_is_the_one_of_the_scene(cases):
    assert cases["red edge"].sensor.response("B8A").blur == pytest.approx(WIDE, abs=0.03)
    assert cases["short-wave infrared"].sensor.response("B11").blur == pytest.approx(
        SHARP, abs=0.08
    )
    # Guides are blurred with the kernel of the band that is judged.
    for case in cases.values():
        assert len({replace(r, band="", dy=0.0, dx=0.0) for r in case.sensor.responses}) == 1
    red, swir = (cases[part].inputs[10] for part in ("red edge", "short-wave infrared"))
    detail = [np.abs(np.diff(y, axis=2)).mean() for y in (red, swir)]
    # On our satellite it is the other way round.
    assert detail[1] > 1.01 * detail[0]


def test_the_truth_is_the_band_as_it_was_delivered(cases):
    for case in cases.values():
        (gsd,) = case.gsds
        height, width = case.truth[gsd].shape[1:]
        assert (case.truth[gsd] == NATIVE.native[gsd][:, :height, :width]).all()
        assert case.inputs[10].shape[1:] == (height, width)


def test_what_lies_off_on_the_satellite_lies_off_in_the_guides():
    """So that a method which takes the shift out is right, and not punished."""
    off = Sensor(responses=tuple(replace(SENTINEL2.response(b), dx=0.3) for b in BY_GSD[20]))
    (case, *_) = PROTOCOLS["measured"].cases(BenchScene("off", native=observed(off)))

    def at(shift):
        moved = Sensor(responses=(replace(case.sensor.response("B8A"), band="B08", dx=shift),))
        fine = torch.from_numpy(observed(off)[10][3])[None, None]
        return float(
            (degrade(fine, ["B08"], 2, moved)[0, 0] - torch.from_numpy(case.inputs[10][3]))[
                8:-8, 8:-8
            ]
            .abs()
            .mean()
        )

    assert at(0.3) < at(0.2)
    assert at(0.3) < at(0.4)


def test_a_small_scene_has_no_case_at_60_m():
    small = {g: y[:, : 20 * 60 // g, : 20 * 60 // g] for g, y in NATIVE.native.items()}
    parts = [case.part for case in PROTOCOLS["measured"].cases(BenchScene("chip", native=small))]
    assert parts == ["red edge", "short-wave infrared"]


def test_20_m_is_the_mean_over_all_six_bands(cases):
    rows = []
    for part in ("red edge", "short-wave infrared"):
        rows += judge(cases[part], load_sharpener("bicubic", cases[part].bands)).rows
    got = {(row.band, row.metric): row.value for row in combined(rows)}
    assert got["20 m", "SRE"] == pytest.approx(np.mean([got[b, "SRE"] for b in BY_GSD[20]]))
    assert got["20 m", "RMSE"] == pytest.approx(np.mean([got[b, "RMSE"] for b in BY_GSD[20]]))
    keys = [(row.band, row.metric) for row in combined(rows)]
    assert len(set(keys)) == len(keys)


def test_a_method_is_told_what_it_can_measure_and_not_what_the_case_was_made_with(cases, tmp_path):
    case = cases["red edge"]
    sharpener, _ = prepare("s2net-s", case, tmp_path)
    assert sharpener.sensor == case.found != case.sensor
    assert sharpener.sensor.response("B8A").blur == pytest.approx(WIDE, abs=0.06)
    mtf = PROTOCOLS["mtf"].cases(NATIVE)[0]
    assert prepare("s2net-s", mtf, tmp_path)[0].sensor == mtf.sensor


def test_the_large_scene_without_10_m_bands_goes_from_180_to_60_m():
    """Bands that are one another's copies leave nothing to guess; those of 10 m are never asked for."""
    fine = np.repeat(NATIVE.native[20][:1], 6, axis=0)
    y60 = degrade(torch.from_numpy(fine[None, :2]), BY_GSD[60], 3)[0].numpy()
    (case,) = PROTOCOLS["measured"].cases(BenchScene("large", native={20: fine, 60: y60}))
    assert case.step(60) == "180→60 m"
    assert case.truth[60].shape[1] * 2 == case.inputs[10].shape[1]
    assert case.truth[60].shape[1] == 3 * case.inputs[60].shape[1]
    # The picture of 30 m, seen at 60 m, is what the satellite has at 60 m.
    copies = dict.fromkeys(BY_GSD[60], case.inputs[10][0])
    plain = {
        band: upsample(torch.from_numpy(case.inputs[60][i])[None, None], 6)[0, 0].numpy()
        for i, band in enumerate(BY_GSD[60])
    }
    right, floor = (values(judge_pictures(case, "x", p))["60 m", "SRE"] for p in (copies, plain))
    assert right > floor + 10


def test_a_hidden_band_is_nowhere_in_the_inputs():
    eight, four = PROTOCOLS["hidden"].cases(NATIVE)
    assert [(c.bands, c.part) for c in (eight, four)] == [
        (("B8A",), "B08 hidden"),
        (("B05",), "B04 hidden"),
    ]
    for case, band, played in ((eight, "B08", "B8A"), (four, "B04", "B05")):
        hidden = NATIVE.native[10][BY_GSD[10].index(band)]
        assert all((y != hidden).any() for y in case.inputs[10])
        row = BY_GSD[20].index(played)
        assert (case.truth[20][row] == hidden).all()
        assert not (case.inputs[20][row] == NATIVE.native[20][row]).any()
        kernel = case.sensor.response(played)
        assert kernel.blur == pytest.approx(WIDE, abs=0.03)
        got = values(judge_pictures(case, "knows", {played: hidden}))
        assert got[played, "SRE"] == np.inf


def wave(shape, f):
    return np.sin(2 * np.pi * f * np.arange(shape[1]))[None] * np.ones((shape[0], 1))


def test_gain_and_coherence_are_what_was_done_to_a_picture():
    random = np.random.default_rng(3)
    fine = random.standard_normal((192, 192)).cumsum(0).cumsum(1) * 1e-3 + random.standard_normal(
        (192, 192)
    )
    gain, coherence = gain_and_coherence(3 * fine + 7, fine)
    assert gain == pytest.approx(np.ones(len(BINS) - 1))
    assert coherence == pytest.approx(np.ones(len(BINS) - 1))
    assert departure(gain) == pytest.approx(0, abs=1e-9)
    assert len(middle()) == len(gain)
    noisy = fine + random.standard_normal(fine.shape)
    gain, coherence = gain_and_coherence(noisy, fine)
    assert gain[4:] == pytest.approx(np.ones(len(gain) - 4), abs=0.15)
    assert coherence[4:] == pytest.approx(np.full(len(gain) - 4, 2**-0.5), abs=0.06)
    # Something that is there twice as strong in one ring alone.
    louder = fine + 5 * wave(fine.shape, 12 / 64)
    both = 2 * louder - fine
    gain, _ = gain_and_coherence(both, louder)
    at = int(np.argmin(np.abs(np.array(middle()) - 0.195)))
    assert int(np.argmax(gain)) == at
    assert departure(gain) == pytest.approx(gain[at] - 1)


def test_interpolation_lacks_detail_and_a_copy_has_all_of_it():
    (case,) = PROTOCOLS["spectrum"].cases(NATIVE)
    got = values(judge(case, load_sharpener("bicubic")))
    assert got["B8A", "gain, 0.195"] < 0.8
    assert got["20 m", "departure"] > 0.5
    copy = dict.fromkeys(COARSE, case.inputs[10][3])
    got = values(judge_pictures(case, "copy", copy))
    assert got["20 m", "departure"] == pytest.approx(0, abs=1e-6)
    assert got["20 m", "coherence"] == pytest.approx(1)
    # But the satellite would not see what it saw.
    assert got["60 m", "RMSE / noise"] > 1.5


def test_consistency_counts_in_the_noise_of_the_bands():
    (case,) = PROTOCOLS["consistency"].cases(NATIVE)
    noise = dict(case.sensor.noise)
    assert 2e-4 < noise["B8A"] < 6e-4
    got = values(judge(case, load_sharpener("bicubic")))
    assert got["B8A", "RMSE / noise"] == pytest.approx(got["B8A", "RMSE"] / (1e4 * noise["B8A"]))
    assert case.sensor.response("B8A").blur == pytest.approx(WIDE, abs=0.03)


def test_what_is_off_without_anybody_s_knowing_costs():
    """A method that takes everything for the default loses when bands are shifted; and the loss is the worst trial's."""
    small = {g: y[:, : 26 * 60 // g, : 26 * 60 // g] for g, y in observed(SENTINEL2).items()}
    cases = PROTOCOLS["robust"].cases(BenchScene("small", native=small))
    trials = {case.trial for case in cases}
    assert len(trials) == 8
    blind = load_sharpener("s2net-s", BY_GSD[20], device="cpu")
    rows = combined(row for case in cases for row in judge(case, blind).rows)
    got = {row.metric: row.value for row in rows if row.band == "20 m"}
    losses = {m: v for m, v in got.items() if m.startswith("loss, ")}
    assert len(losses) == 7
    assert losses["loss, shift 0.25 px along both"] > losses["loss, shift 0.1 px along both"] > 0.3
    assert got["worst loss"] == max(losses.values())
    assert losses["loss, noise 10 DN"] == pytest.approx(got["SRE"] - got["SRE, noise 10 DN"])


def test_a_landscape_is_tried_by_observing_it_otherwise():
    cases = PROTOCOLS["robust"].cases(BenchScene("land", truth=TRUTH[:, :72, :72], snr=200))
    assert {case.trial for case in cases} >= {"", "blur +12%", "noise 10 DN"}
    (plain, *trials) = cases
    assert all((case.truth[20] == plain.truth[20]).all() for case in trials)
    assert all((case.inputs[10] == plain.inputs[10]).all() for case in trials)
    assert all((case.inputs[20] != plain.inputs[20]).any() for case in trials)


@pytest.fixture(scope="module")
def drawn():
    return {scene.name: PROTOCOLS["harm"].cases(scene)[0] for scene in drawn_scenes(20)}


def test_interpolation_does_no_harm_by_definition(drawn):
    for case in drawn.values():
        got = values(judge(case, load_sharpener("bicubic")))
        assert got["20 m", "× bicubic"] == pytest.approx(1, abs=1e-6)
        assert got["60 m", "× bicubic"] == pytest.approx(1, abs=1e-6)
        assert got["20 m", "harmed"] == got["60 m", "harmed"] == 0


def test_harm_is_the_worst_band_s_and_a_share_of_pixels(drawn):
    case = drawn["flat, noise 5 DN"]
    plain = {
        band: upsample(torch.from_numpy(case.inputs[g][i])[None, None], g // 10)[0, 0].numpy()
        for g in (20, 60)
        for i, band in enumerate(BY_GSD[g])
    }
    worse = {band: x.copy() for band, x in plain.items()}
    truth = case.truth[20][0]
    worse["B05"] = truth + 3 * (plain["B05"] - truth)
    worse["B06"][:, :60] += 0.01
    got = values(judge_pictures(case, "worse", worse))
    assert got["B05", "× bicubic"] == pytest.approx(3, rel=1e-3)
    assert got["20 m", "× bicubic"] == max(got[b, "× bicubic"] for b in BY_GSD[20]) > 3
    assert got["B06", "harmed"] == pytest.approx(50, abs=2)
    assert got["B07", "harmed"] == 0


def test_drawn_scenes_are_what_their_names_say():
    scenes = {scene.name: scene.truth for scene in drawn_scenes(20)}
    ten, coarse = ([NAMES.index(b) for b in bands] for bands in (BY_GSD[10], COARSE))

    def moving(name):
        return {b for b in (*BY_GSD[10], *COARSE) if np.ptp(scenes[name][NAMES.index(b)]) > 1e-6}

    for name in scenes:
        there = moving(name)
        if "10 m only" in name:
            assert there == set(BY_GSD[10])
        elif "coarse bands only" in name:
            assert there == set(COARSE)
        else:
            assert there == (set() if "flat" in name else set(BANDS))
    points = scenes["bright points in coarse bands only"][coarse]
    assert points.max(axis=(1, 2)) / points.min(axis=(1, 2)) == pytest.approx(
        np.full(8, 10), rel=1e-4
    )
    board = scenes["checkerboard in all"][ten[0]]
    assert (
        np.sign(np.diff(board, axis=1)[:, 1:]) == -np.sign(np.diff(board, axis=1)[:, :-1])
    ).all()


def test_what_nothing_around_explains_is_told_with_its_share():
    cases = PROTOCOLS["harm"].cases(NATIVE)
    whole = cases[-1]
    assert [case.against for case in cases] == ["bicubic"] * 3 + ["range"]
    plain = {
        band: upsample(torch.from_numpy(whole.inputs[g][i])[None, None], g // 10)[0, 0].numpy()
        for g in (20, 60)
        for i, band in enumerate(BY_GSD[g])
    }
    spiked = {band: x.copy() for band, x in plain.items()}
    spiked["B11"][100, 100] = 5.0
    before, after = (values(judge_pictures(whole, "x", p)) for p in (plain, spiked))
    inside = (216 - 2 * PROTOCOLS["harm"].border) ** 2
    assert after["B11", "beyond"] - before["B11", "beyond"] == pytest.approx(100 / inside)
    assert after["20 m", "beyond by"] > 40_000
    assert before["20 m", "beyond by"] < 200


def test_the_net_that_ships_never_ends_above_interpolation_on_drawn_scenes(tmp_path):
    """Where the coarse bands show no detail, there is nothing to win: and nothing may be lost."""
    worst = {}
    for scene in drawn_scenes(cells=16):
        for case in PROTOCOLS["harm"].cases(scene):
            sharpener, _ = prepare("s2net-m", case, tmp_path)
            rows = judge(case, sharpener).rows
            worst[scene.name] = max(r.value for r in rows if r.metric == "× bicubic")
    assert len(worst) == len(KINDS)
    assert {name: value for name, value in worst.items() if value > 1.05} == {}


@pytest.mark.parametrize("seed", [3, 88])
def test_noise_that_a_mirror_shows_twice_is_no_evidence(seed, tmp_path):
    """Small pictures end near everywhere: with mirrored pixels as evidence 60 m bands ended 5.8 and 6.8 times above."""
    (scene,) = (s for s in drawn_scenes(cells=16) if s.name == "checkerboard at 10 m only")
    for case in PROTOCOLS["harm"].cases(replace(scene, seed=seed)):
        sharpener, _ = prepare("s2net-m", case, tmp_path)
        ratios = {r.band: r.value for r in judge(case, sharpener).rows if r.metric == "× bicubic"}
        assert ratios["60 m"] < 1.02
