"""Sharpeners that learn: fitted on a scene, kept, read again, and refused where there is nothing to learn from."""

import json
import math
import pickle
import tempfile
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from s2sharp_core import METHODS, S2SharpError, fit_sharpener, load_sharpener, sharpen
from s2sharp_core.bands import BY_GSD, GSDS
from s2sharp_core.lattice import Box
from s2sharp_core.learning import unsupervised
from s2sharp_core.learning.fitting import Curve
from s2sharp_core.learning.options import FitOptions
from s2sharp_core.networks import SkipNet, UnrolledNet
from s2sharp_core.sensor.response import SENTINEL2, Response, Sensor
from s2sharp_core.sensor.sample import Sample
from s2sharp_core.sensor.simulate import landscape, observe
from s2sharp_core.sharpeners import WindowFitted, deep_sure
from s2sharp_core.sharpeners.fitted import fitted
from s2sharp_core.sharpeners.fitted import solved as fitting_at_once
from s2sharp_core.weights import load_net, save_net

from .scenes import scene


def small_scene(rows=20, cols=22):
    return scene(rows, cols, seed=77)


def test_sharpen_fits_an_eager_scene_by_itself(monkeypatch):
    monkeypatch.setitem(METHODS, "ssc_cnn", replace(METHODS["ssc_cnn"], steps=2))
    result = sharpen(small_scene(), "ssc_cnn", bands=["B02", "B05"])
    assert set(result.data_vars) == {"B02", "B05"}
    assert np.isfinite(result.B05.values).all()


def test_a_lazy_scene_is_never_fitted_silently():
    lazy = small_scene().chunk({"x": 20})
    with pytest.raises(S2SharpError, match="fit_sharpener") as error:
        sharpen(lazy, "ssc_cnn")
    assert error.value.kind == "not-fitted"


def test_a_fitted_sharpener_serves_lazy_scenes_and_travels_by_reference(tmp_path):
    picture = small_scene()
    fitted = fit_sharpener(picture, "ssc_cnn", bands=["B05"], steps=2, folder=tmp_path)
    assert fitted.bands == ("B05",)
    assert len(pickle.dumps(fitted)) < 1500  # what it is made from, and no weights
    assert pickle.loads(pickle.dumps(fitted)).digest == fitted.digest
    eager = sharpen(picture, fitted)
    lazy = sharpen(picture.chunk({"x": 30}), fitted)
    assert np.array_equal(eager.B05.values, lazy.B05.values)
    card = json.loads((tmp_path / "ssc_cnn-20m.json").read_text())
    assert card["method"] == "ssc_cnn"
    assert card["cause"]["steps"] == 2


def test_the_same_fit_again_is_read_and_another_one_is_made(tmp_path):
    picture, told = small_scene(), []
    first = fit_sharpener(picture, "ssc_cnn", bands=["B05"], steps=2, folder=tmp_path)
    again = fit_sharpener(
        picture, "ssc_cnn", bands=["B05"], steps=2, folder=tmp_path, tell=lambda *x: told.append(x)
    )
    assert not told
    assert again.weights == first.weights
    other = fit_sharpener(picture, "ssc_cnn", bands=["B05"], steps=2, seed=1, folder=tmp_path)
    assert other.weights != first.weights


def test_other_code_makes_another_fit(tmp_path, monkeypatch):
    """A number in a method's code, or another version of all of it."""
    solved = []

    @fitting_at_once
    def learn(net, sample):  # noqa: ARG001
        solved.append(net)
        return 0.0

    def fit(**constants):
        method = fitted(
            replace(METHODS["atprk"], name="trial", smallest=4),
            nets={"trial.safetensors": partial(SkipNet, (20,), features=2, depth=1, skips=1)},
            learn=learn,
            constants=constants,
        )
        sample = Sample.of(observe(landscape((24, 24), 5)))
        method.fit(sample, SENTINEL2, ("B05",), FitOptions(), tmp_path, "cpu", lambda *_: None)
        return len(solved)

    assert [fit(rho=1), fit(rho=1), fit(rho=2), fit(rho=2)] == [1, 1, 2, 2]
    monkeypatch.setattr("s2sharp_core.sharpeners.fitted.version", lambda _: "another")
    assert fit(rho=2) == 3
    assert METHODS["deep_sure"].constants["rho"] == unsupervised._RHO
    assert {"rate", "rho", "crop"} <= set(METHODS["ucnn"].constants)
    assert METHODS["unrolled"].constants["rate"] == deep_sure._RATE


def test_sharpening_by_name_leaves_no_fit_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    result = sharpen(small_scene(), "atprk", bands=["B05"])
    assert np.isfinite(result.B05.values).all()
    assert not list(tmp_path.iterdir())


def test_what_a_sharpener_lacks_is_told_by_its_name():
    picture = small_scene()
    sharpener = load_sharpener("dsen2", ["B05"], device="cpu")
    del picture["r10m"]["B08"]
    with pytest.raises(S2SharpError, match="B08, which dsen2 reads") as error:
        sharpen(picture, sharpener)
    assert error.value.kind == "band-missing"


@pytest.mark.parametrize("method", [m.name for m in METHODS.values() if m.fit is not None])
def test_what_is_too_small_is_refused_with_the_smallest_size(method, tmp_path):
    smallest = METHODS[method].smallest
    seen = observe(landscape((6 * (smallest - 1),) * 2, 5))
    sample = Sample.of(seen)
    with pytest.raises(S2SharpError, match=f"{smallest} × {smallest} cells") as error:
        METHODS[method].fit(
            sample,
            SENTINEL2,
            METHODS[method].bands,
            FitOptions(1),
            tmp_path,
            "cpu",
            lambda *_: None,
        )
    assert error.value.kind == "nothing-to-fit"
    with pytest.raises(S2SharpError) as error:
        fit_sharpener(scene(smallest - 1, 30), method)
    assert error.value.kind == "nothing-to-fit"


def test_gaps_are_avoided_where_there_is_enough_without(tmp_path):
    picture = small_scene(40, 40)
    picture["r20m"]["B05"].values[:6, :6] = np.nan
    fit_sharpener(picture, "ssc_cnn", bands=["B05"], steps=1, folder=tmp_path)
    card = json.loads((tmp_path / "ssc_cnn-20m.json").read_text())
    assert card["cause"]["window_cells"] == [32, 32]
    picture["r20m"]["B05"].values[::30] = np.nan
    with pytest.raises(S2SharpError) as error:
        fit_sharpener(picture, "ssc_cnn", bands=["B05"], steps=1)
    assert error.value.kind == "nothing-to-fit"


def test_one_gap_does_not_hide_what_is_clean_beside_it(tmp_path):
    picture = small_scene(22, 22)
    picture["r20m"]["B05"].values[4, 40] = np.nan  # in the second row of cells
    fit_sharpener(picture, "ssc_cnn", bands=["B05"], steps=1, folder=tmp_path)


def test_another_method_in_the_same_folder_is_another_fit(tmp_path):
    picture = small_scene()
    first = fit_sharpener(picture, "atprk", bands=["B05"], folder=tmp_path)
    other = scene(20, 22, seed=78)
    again = fit_sharpener(other, "atprk", bands=["B05"], folder=tmp_path)
    assert again.weights != first.weights
    assert load_sharpener("atprk", ["B05"], tmp_path).weights == again.weights


def test_a_start_of_another_network_is_refused(tmp_path):
    save_net(SkipNet((20,), features=4), tmp_path / "ssc_cnn-20m.safetensors", {})
    with pytest.raises(S2SharpError, match="features") as error:
        fit_sharpener(small_scene(), "ssc_cnn", bands=["B05"], steps=1, start=tmp_path)
    assert error.value.kind == "weights-corrupt"


def test_bands_may_be_any_iterable_and_are_checked_before_a_fit():
    result = sharpen(small_scene(), "atprk", bands=(b for b in ["B02", "B05"]))
    assert set(result.data_vars) == {"B02", "B05"}
    with pytest.raises(S2SharpError, match="B99"):
        sharpen(small_scene(), "ssc_cnn", bands=["B05", "B99"])


def test_a_method_that_does_not_learn_is_not_fitted():
    with pytest.raises(S2SharpError, match="does not learn"):
        fit_sharpener(small_scene(), "bicubic")


def test_a_fit_begins_from_weights_that_another_sensor_saw(tmp_path):
    method = fitted(
        replace(METHODS["unrolled"], name="trial", smallest=4),
        nets={"trial.safetensors": partial(UnrolledNet, 4, 1, 2)},
        learn=lambda *_: Curve((1,), (1.0,), 1.0),
    )
    sample = Sample.of(observe(landscape((24, 24), 5)))
    seen = Sensor(responses=(Response("B05", 0.4, 0.545),))
    for sensor, folder, start in ((seen, "first", None), (SENTINEL2, "second", "first")):
        options = FitOptions(2, start=start and tmp_path / start)
        method.fit(sample, sensor, ("B05",), options, tmp_path / folder, "cpu", lambda *_: None)
    first, second = (load_net(tmp_path / f / "trial.safetensors")[0] for f in ("first", "second"))
    assert (first.sensor, second.sensor) == (seen, SENTINEL2)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_fit_per_window_is_a_sharpener_too():
    options = FitOptions(1, 0)
    sharpener = WindowFitted(METHODS["ssc_cnn"], ("B05",), options, "cpu")
    y = [torch.rand(1, len(BY_GSD[g]) if g < 60 else 0, 60 // g * 20, 60 // g * 20) for g in GSDS]
    (picture,) = sharpener.sharpen(*y).values()
    assert picture.shape == (1, 120, 120)
    assert sharpener.tolerance == math.inf
    assert pickle.loads(pickle.dumps(sharpener)).digest == sharpener.digest
    assert Box(0, 1, 0, 1).grow(sharpener.halo).shape == (1 + 2 * sharpener.halo,) * 2


def window(seed, cells=20):
    seen = observe(landscape((6 * cells, 6 * cells), seed))
    return [torch.from_numpy(seen[g])[None] for g in GSDS]


def test_windows_get_weights_of_their_own():
    used = []

    def load(bands, folder, device):
        ready = METHODS["atprk"].load(bands, folder, device)
        used.append(ready.weights)
        return ready

    noted = replace(METHODS["atprk"], load=load)
    sharpener = WindowFitted(noted, ("B05",), FitOptions(), "cpu")
    for seed in (1, 2, 1):
        sharpener.sharpen(*window(seed))
    assert used[0] == used[2] != used[1]


def test_the_threads_of_a_fit_per_window_are_its_own_and_part_of_the_digest():
    fits, before = [], torch.get_num_threads()

    def fit(*given):
        fits.append(torch.get_num_threads())
        METHODS["atprk"].fit(*given)

    noted = replace(METHODS["atprk"], fit=fit)
    for threads in (before + 1, None):
        sharpener = WindowFitted(noted, ("B05",), FitOptions(), "cpu", threads)
        sharpener.sharpen(*window(1))
        assert torch.get_num_threads() == before
    assert fits == [before + 1, before]
    two, three = (
        WindowFitted(METHODS["atprk"], ("B05",), FitOptions(), "cpu", threads) for threads in (2, 3)
    )
    assert two.digest != three.digest
    assert pickle.loads(pickle.dumps(three)).digest == three.digest
    assert pickle.loads(pickle.dumps(three)).threads == 3


def test_a_fit_per_window_that_fails_gives_the_threads_back():
    before = torch.get_num_threads()
    sharpener = WindowFitted(METHODS["atprk"], ("B05",), FitOptions(), "cpu", before + 1)
    with pytest.raises(S2SharpError, match="too little"):
        sharpener.sharpen(*window(1, cells=METHODS["atprk"].smallest - 1))
    assert torch.get_num_threads() == before
