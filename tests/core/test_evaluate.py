"""The bench must tell the truth: perfect is perfect, half a pixel costs, and known methods rank as known."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import shift

from s2sharp_core import METHODS, S2SharpError, load_sharpener
from s2sharp_core.bands import BY_GSD, COARSE
from s2sharp_core.evaluation.cases import BenchScene
from s2sharp_core.evaluation.evaluate import judge, prepare
from s2sharp_core.evaluation.protocols import PROTOCOLS, synthetic_scenes
from s2sharp_core.evaluation.scoring import METRICS
from s2sharp_core.learning.options import FitOptions
from s2sharp_core.sensor.observation import degrade
from s2sharp_core.sensor.response import SENTINEL2
from s2sharp_core.sensor.sample import Sample
from s2sharp_core.sensor.simulate import observe
from s2sharp_core.sensor.upsampling import upsample
from s2sharp_core.sharpeners import Sharpener
from s2sharp_core.weights import SHIPPED

(SCENE,) = synthetic_scenes(1, cells=24)
(CASE,) = PROTOCOLS["mtf"].cases(SCENE)


class Stub(Sharpener):
    """A method made of a function of the 10, 20 and 60 m pictures that gives all coarse bands."""

    def __init__(self, name, work, reads=COARSE):
        self.name, self.work, self.reads = name, work, reads
        self.bands, self.halo, self.weights = COARSE, 2, {}

    def sharpen(self, y10, y20, y60, known=None):  # noqa: ARG002
        x20, x60 = self.work(y10, y20, y60)
        return dict(zip((*BY_GSD[20], *BY_GSD[60]), [*x20.unbind(1), *x60.unbind(1)], strict=True))

    def __reduce__(self):
        raise NotImplementedError


def nearest(_, y20, y60):
    return tuple(
        y.repeat_interleave(r, -1).repeat_interleave(r, -2) for y, r in ((y20, 2), (y60, 6))
    )


def copying(y10, y20, y60):
    """Interpolation, and all detail of the 10 m band that it reads added to every band."""
    out = []
    for y, gsd in ((y20, 20), (y60, 60)):
        r = gsd // 10
        fine = y10.expand(-1, y.shape[1], -1, -1)
        coarse = degrade(fine, BY_GSD[gsd], r, CASE.sensor)
        out.append(upsample(y, r) + fine - upsample(coarse, r))
    return out


class Answer(Stub):
    """Knows the truth of a case (as a whole, at its place), moved by ``by`` pixels."""

    def __init__(self, case, by=0.0):
        super().__init__("answer", None)
        self.halo = 0
        moved = {g: shift(x, (0, by, by), order=3, mode="nearest") for g, x in case.truth.items()}
        self.full = {
            b: torch.from_numpy(x) for g in moved for b, x in zip(BY_GSD[g], moved[g], strict=True)
        }

    def sharpen(self, y10, y20, y60, known=None):  # noqa: ARG002
        out = {}
        for band, x in self.full.items():
            out[band] = torch.zeros(1, *y10.shape[-2:])
            h, w = (min(a, b) for a, b in zip(x.shape, y10.shape[-2:], strict=True))
            out[band][0, :h, :w] = x[:h, :w]
        return out


def values(result):
    return {(row.band, row.metric): row.value for row in result.rows}


@pytest.fixture(scope="module")
def known():
    """Method → (band, metric) → value on the first landscape."""
    sharpeners = {
        "nearest": Stub("nearest", nearest),
        "bicubic": load_sharpener("bicubic"),
        "dsen2": load_sharpener("dsen2", device="cpu"),
    }
    return {name: values(judge(CASE, s)) for name, s in sharpeners.items()}


def test_a_perfect_answer_is_perfect():
    got = values(judge(CASE, Answer(CASE)))
    for group in ("20 m", "60 m", "20+60 m"):
        assert got[group, "SRE"] == np.inf
        assert got[group, "RMSE"] == 0
        assert got[group, "SAM"] == pytest.approx(0, abs=1e-5)
        for metric in ("UIQI", "SSIM", "Q2n"):
            assert got[group, metric] == pytest.approx(1)
    assert got["20 m", "ERGAS"] == got["60 m", "ERGAS"] == 0
    assert got["NDVI-RE", "index RMSE"] == 0


@pytest.mark.parametrize("name", ["mtf", "dsen2"])
def test_half_a_pixel_is_punished_by_every_measure(name):
    (case,) = PROTOCOLS[name].cases(SCENE)
    got = values(judge(case, Answer(case, by=0.5)))
    for group in ("20 m", "60 m"):
        assert got[group, "SRE"] < 30
        assert got[group, "RMSE"] > 80
        assert got[group, "ERGAS"] > 1
        assert got[group, "SAM"] > 0.3
        assert max(got[group, m] for m in ("UIQI", "SSIM", "Q2n")) < 0.995
    assert got["NBR", "index RMSE"] > 0.005


def test_known_methods_rank_as_they_are_known_to(known):
    for group in ("20 m", "60 m"):
        for metric in ("SRE", "UIQI", "SSIM", "Q2n"):
            ranks = [known[m][group, metric] for m in ("nearest", "bicubic", "dsen2")]
            assert ranks == sorted(ranks), (group, metric)
        for metric in ("RMSE", "ERGAS"):
            ranks = [known[m][group, metric] for m in ("nearest", "bicubic", "dsen2")]
            assert ranks == sorted(ranks, reverse=True), (group, metric)
    assert known["dsen2"]["20 m", "SRE"] > known["bicubic"]["20 m", "SRE"] + 5


def test_invention_is_nothing_for_interpolation_and_all_for_copied_detail(known):
    assert [v for (_, m), v in known["bicubic"].items() if m == "invention"] == [0] * 10
    got = values(judge(CASE, Stub("copying", copying, reads=("B08", *COARSE))))
    for band in (*COARSE, "20 m", "60 m"):
        assert got[band, "invention"] == pytest.approx(1, abs=0.02)

    def half(y10, y20, y60):
        smooth = upsample(y20, 2), upsample(y60, 6)
        return [(a + b) / 2 for a, b in zip(copying(y10, y20, y60), smooth, strict=True)]

    got = values(judge(CASE, Stub("half", half, reads=("B08", *COARSE))))
    assert got["20 m", "invention"] == pytest.approx(0.5, abs=0.01)


def test_the_bench_says_the_same_twice(known):
    again = values(judge(CASE, load_sharpener("dsen2", device="cpu")))
    measured = {k: v for k, v in again.items() if "seconds" not in k[1]}
    assert measured == {k: known["dsen2"][k] for k in measured}


def test_every_value_has_its_place(known):
    rows = judge(CASE, load_sharpener("bicubic")).rows
    assert len({(row.band, row.metric) for row in rows}) == len(rows)
    assert {(row.method, row.scene, row.protocol) for row in rows} == {
        ("bicubic", "landscape-0", "mtf")
    }
    assert {row.metric for row in rows} == {
        "SRE",
        "RMSE",
        "SAM",
        "ERGAS",
        "UIQI",
        "SSIM",
        "Q2n",
        "index RMSE",
        "invention",
        "seconds",
        "fit seconds",
        "multiply-adds",
    }
    assert {row.metric for row in rows} <= set(METRICS)
    assert known["bicubic"]["20 m", "RMSE"] == pytest.approx(
        np.mean([known["bicubic"][band, "RMSE"] for band in BY_GSD[20]])
    )
    assert ("20+60 m", "ERGAS") not in known["bicubic"]


def test_multiply_adds_are_stated_or_counted():
    rows = values(judge(CASE, load_sharpener("bicubic")))
    assert rows["20+60 m", "multiply-adds"] == 25 * len(COARSE)
    for method in ("dsen2", "s2net-s"):
        sharpener = load_sharpener(method, device="cpu")
        own = sum(net.multiply_adds for net in sharpener.nets)
        assert values(judge(CASE, sharpener))["20+60 m", "multiply-adds"] == own
    assert np.isnan(values(judge(CASE, Stub("nearest", nearest)))["20+60 m", "multiply-adds"])


def test_the_border_counts_for_nothing():
    """A method that is wild beyond the border's reach and perfect inside is perfect."""
    answer = Answer(CASE)
    for x in answer.full.values():
        x[:6], x[-6:], x[:, :6], x[:, -6:] = 9.0, 9.0, 9.0, 9.0
    assert values(judge(CASE, answer))["20+60 m", "SRE"] == np.inf
    answer.full["B05"][6, 6] = 9.0
    assert values(judge(CASE, answer))["B05", "SRE"] < 60


def test_dsen2_s_protocol_uses_dsen2_s_definition():
    (case,) = PROTOCOLS["dsen2"].cases(SCENE)
    sharpener = load_sharpener("bicubic")
    as_defined = values(judge(case, sharpener))
    otherwise = replace(case, protocol=replace(case.protocol, sre="squares"))
    gap = values(judge(otherwise, sharpener))["B11", "SRE"] - as_defined["B11", "SRE"]
    truth = case.truth[20][4, 6:-6, 6:-6].astype(float)
    assert gap == pytest.approx(10 * np.log10((truth**2).mean() / truth.mean() ** 2))


def test_consistency_is_perfect_for_a_picture_that_gives_what_was_seen():
    """The truth without noise, seen again, is the input; the rim, which sees beyond, is left out."""
    scene = replace(SCENE, snr=float("inf"))
    (case,) = PROTOCOLS["consistency"].cases(scene)
    (known,) = PROTOCOLS["mtf"].cases(scene)
    got = values(judge(case, Answer(known)))
    assert got["20 m", "RMSE"] < 0.01
    assert got["60 m", "RMSE"] < 0.01
    assert {metric for _, metric in got} == {
        "RMSE",
        "RMSE / noise",
        "seconds",
        "fit seconds",
        "multiply-adds",
    }
    moved = values(judge(case, Answer(known, by=0.5)))
    assert moved["20 m", "RMSE"] > 30


def test_weights_that_have_seen_a_scene_are_marked():
    trained = replace(CASE, scene="iceland")
    result = judge(trained, load_sharpener("dsen2", device="cpu"))
    assert result.seen
    assert all(row.seen for row in result.rows)
    assert not judge(trained, Stub("nearest", nearest)).seen
    assert not judge(CASE, load_sharpener("dsen2", ["B01"], device="cpu")).seen


def test_weights_of_one_s_own_are_judged(tmp_path):
    for gsd in (20, 60):
        for end in ("safetensors", "json"):
            shutil.copy(SHIPPED / f"dsen2-{gsd}m.{end}", tmp_path)
        card = tmp_path / f"dsen2-{gsd}m.json"
        card.write_text(json.dumps({**json.loads(card.read_text()), "scenes": ["landscape-0"]}))
    sharpener, seconds = prepare("dsen2", CASE, tmp_path, weights=tmp_path)
    assert seconds == 0
    assert judge(CASE, sharpener).seen


def fit_to(seen, folder, **options):
    """The folder of an `atprk` that was fitted to what a satellite has seen."""
    METHODS["atprk"].fit(
        Sample.of(seen),
        SENTINEL2,
        COARSE,
        FitOptions(**options),
        folder,
        "cpu",
        lambda *_: None,
    )
    return folder


def test_weights_that_were_fitted_to_a_scene_are_marked(tmp_path):
    """Seen natively, its bands of 20 m are the very truth of `mtf`."""
    native = observe(SCENE.truth)
    case = PROTOCOLS["mtf"].cases(BenchScene("one", native=native))[0]
    assert case.gsds == (20,)
    for scenes, seen in ((("one", "other"), True), (("other",), False)):
        folder = fit_to(native, tmp_path / scenes[0], scenes=scenes)
        sharpener, _ = prepare("atprk", case, tmp_path, weights=folder)
        assert judge(case, sharpener).seen == seen
    begun = fit_to(native, tmp_path / "begun", start=tmp_path / "one")
    assert json.loads((begun / "atprk-20m.json").read_text())["scenes"] == ["one", "other"]


def test_a_fit_to_the_inputs_of_a_case_is_not_marked_there_and_is_elsewhere(tmp_path):
    native = BenchScene("one", native=observe(SCENE.truth))
    consistency = PROTOCOLS["consistency"].cases(native)[0]
    sharpener, _ = prepare("atprk", consistency, tmp_path)
    assert not judge(consistency, sharpener).seen
    for name in ("one", "other"):
        start = fit_to(native.native, tmp_path / name, scenes=(name,))
        options = FitOptions(start=start)
        begun, _ = prepare("atprk", consistency, tmp_path / "begun", options=options)
        assert judge(consistency, begun).seen == (name == "one")
    case = PROTOCOLS["mtf"].cases(native)[0]
    again, _ = prepare("atprk", case, tmp_path, weights=sharpener.folder)
    assert judge(case, again).seen


@pytest.fixture
def learner(monkeypatch):
    """A method that "learns": it takes bicubic, and notes what it was given."""
    told = []

    def fit(sample, sensor, bands, options, folder, device, tell):
        assert device in ("cpu", "cuda")
        if folder.exists():
            return
        told.append((sample, sensor, bands, options))
        folder.mkdir(parents=True)
        tell(1, 1, 0.0)

    def load(bands, weights, device):
        assert weights.is_dir()
        return load_sharpener("bicubic", bands, device=device)

    method = replace(
        METHODS["bicubic"],
        name="learner",
        load=load,
        fit=fit,
        blank=lambda bands, device: METHODS["bicubic"].load(bands, None, device),
    )
    monkeypatch.setitem(METHODS, "learner", method)
    return told


def test_a_method_that_learns_is_fitted_once_to_the_inputs_and_to_nothing_else(learner, tmp_path):
    options = FitOptions(steps=3, seed=5)
    _, seconds = prepare("learner", CASE, tmp_path, options=options, device="auto")
    prepare("learner", CASE, tmp_path, options=options, device="auto")
    ((sample, sensor, bands, given),) = learner
    assert seconds >= 0
    assert (sensor, bands) == (CASE.sensor, COARSE)
    assert given == replace(options, scenes=("landscape-0",))
    for gsd, y in ((10, sample.y10), (20, sample.y20), (60, sample.y60)):
        assert (y[0].numpy() == CASE.inputs[gsd]).all()
    prepare("learner", CASE, tmp_path, options=replace(options, seed=6))
    assert len(learner) == 2


def test_a_fit_by_other_code_is_another_fit(learner, tmp_path, monkeypatch):
    prepare("learner", CASE, tmp_path)
    other = replace(METHODS["learner"], constants={"rate": 2.0})
    monkeypatch.setitem(METHODS, "learner", other)
    prepare("learner", CASE, tmp_path)
    monkeypatch.setattr("s2sharp_core.evaluation.evaluate.version", lambda _: "another")
    prepare("learner", CASE, tmp_path)
    assert len(learner) == 3


def test_a_fit_that_was_lost_is_made_again_and_timed_again(tmp_path):
    first, seconds = prepare("atprk", CASE, tmp_path)
    assert prepare("atprk", CASE, tmp_path)[1] == seconds
    (first.folder / "seconds.txt").write_text("1000\n")
    (first.folder / "atprk-20m.safetensors").write_bytes(b"torn")
    again, seconds = prepare("atprk", CASE, tmp_path)
    assert again.digest == first.digest
    assert seconds < 1000


def test_a_fit_that_was_stopped_goes_on_and_its_time_counts(learner, tmp_path, monkeypatch):
    whole = METHODS["learner"].fit

    def stopped(*given):
        whole(*given)
        raise KeyboardInterrupt

    monkeypatch.setitem(METHODS, "learner", replace(METHODS["learner"], fit=stopped))
    with pytest.raises(KeyboardInterrupt):
        prepare("learner", CASE, tmp_path)
    (place,) = tmp_path.iterdir()
    assert float((place / "seconds-so-far.txt").read_text()) >= 0
    (place / "seconds-so-far.txt").write_text("100\n")

    def onwards(sample, sensor, bands, options, folder, device, tell):  # noqa: ARG001
        assert folder == place

    monkeypatch.setitem(METHODS, "learner", replace(METHODS["learner"], fit=onwards))
    _, seconds = prepare("learner", CASE, tmp_path)
    assert 100 <= seconds < 110
    assert prepare("learner", CASE, tmp_path)[1] == seconds
    assert len(learner) == 1


@pytest.mark.usefixtures("learner")
def test_a_case_that_lacks_what_a_method_reads_is_refused(tmp_path):
    lacking = replace(
        CASE, gsds=(20,), inputs={**CASE.inputs, 60: np.full_like(CASE.inputs[60], np.nan)}
    )
    assert lacking.absent == {"B01", "B09"}
    sharpener, _ = prepare("learner", lacking, tmp_path)
    assert sharpener.bands == BY_GSD[20]
    with pytest.raises(S2SharpError, match="B01, B09") as caught:
        prepare("dsen2", replace(lacking, gsds=(20, 60)), tmp_path)
    assert caught.value.kind == "band-missing"
    sharpener, _ = prepare("dsen2", lacking, tmp_path)
    got = values(judge(lacking, sharpener))
    assert np.isfinite(got["20 m", "SRE"])
    assert ("60 m", "SRE") not in got


def test_a_real_scene_is_judged_at_both_steps():
    native = BenchScene("native", native=observe(SCENE.truth))
    for case in PROTOCOLS["mtf"].cases(native):
        got = values(judge(case, load_sharpener("bicubic", case.bands)))
        assert np.isfinite(got[f"{case.gsds[0]} m", "SRE"])
        assert not any(metric == "invention" for _, metric in got)
