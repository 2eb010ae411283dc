"""Fits: resumable, frozen, checked, and refused where there is nothing to learn from."""

import json
import math
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from s2sharp_core import METHODS, S2SharpError, fit_sharpener, load_sharpener, sharpen
from s2sharp_core.bands import BY_GSD, GSDS
from s2sharp_core.fitting import FitOptions, Sample, optimise
from s2sharp_core.lattice import Box
from s2sharp_core.networks import SkipNet
from s2sharp_core.observation import SENTINEL2
from s2sharp_core.sharpeners import WindowFitted
from s2sharp_core.simulate import landscape, observe
from s2sharp_core.weights import save_net

from .scenes import scene

STEPS = 60


def problem(norm="batch"):
    """A small net with batch norms, and a loss that draws a random picture each step."""
    torch.manual_seed(1)
    net = SkipNet((20,), features=6, depth=2, skips=2, norm=norm)
    sample = [torch.rand(1, n, 60 // g * 4, 60 // g * 4) for g, n in ((10, 4), (20, 6), (60, 2))]
    truth = torch.rand(1, 6, 24, 24)

    def loss(random):
        noise = torch.rand(1, 4, 24, 24, generator=random)
        return (net(sample[0] + 0.1 * noise, sample[1], sample[2]) - truth).square().mean()

    return net, loss, lambda: net(*sample)


class PowerCutError(Exception):
    """What a power cut is like."""


def test_a_fit_that_is_stopped_and_resumed_equals_one_that_was_not(tmp_path):
    net, loss, settle = problem()
    whole = optimise(net, loss, steps=STEPS, rate=0.01, seed=3, settle=settle)
    other, again, settle = problem()
    file, calls = tmp_path / "fit.checkpoint", []

    def cut(random):
        calls.append(1)
        if len(calls) == STEPS - 4:
            raise PowerCutError
        return again(random)

    arguments = {"steps": STEPS, "rate": 0.01, "seed": 3, "settle": settle, "checkpoint": file}
    with pytest.raises(PowerCutError):
        optimise(other, cut, **arguments)
    third, again, settle = problem()
    for p in third.parameters():
        nn.init.constant_(p, 0.5)  # all that matters comes from the checkpoint
    resumed = optimise(third, again, **{**arguments, "settle": settle})
    assert resumed == whole
    for a, b in zip(net.state_dict().values(), third.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_a_checkpoint_of_another_fit_is_not_taken_up(tmp_path):
    file = tmp_path / "fit.checkpoint"
    net, loss, settle = problem()
    optimise(net, loss, steps=STEPS, rate=0.01, seed=3, settle=settle, checkpoint=file)
    assert file.exists()
    other, again, settle = problem()
    curve = optimise(other, again, steps=STEPS, rate=0.01, seed=4, settle=settle, checkpoint=file)
    assert curve.steps[0] == 20
    file.write_bytes(b"torn")
    third, again, settle = problem()
    assert (
        optimise(third, again, steps=STEPS, rate=0.01, seed=4, settle=settle, checkpoint=file)
        == curve
    )


def test_frozen_statistics_give_the_training_loss():
    net, loss, settle = problem()
    curve = optimise(net, loss, steps=STEPS, rate=0.01, seed=3, settle=settle)
    assert curve.frozen <= 1.05
    assert not net.training
    assert all(m.num_batches_tracked == 1 for m in net.modules() if isinstance(m, nn.BatchNorm2d))


def test_a_net_that_is_worse_when_frozen_is_refused():
    net, loss, settle = problem()

    def treacherous(random):
        return loss(random) * (1.0 if torch.is_grad_enabled() else 10.0)

    with pytest.raises(S2SharpError, match="frozen") as error:
        optimise(net, treacherous, steps=STEPS, rate=0.01, seed=3, settle=settle)
    assert error.value.kind == "fit-failed"


def test_a_loss_that_is_no_number_ends_the_fit():
    net, loss, settle = problem()
    with pytest.raises(S2SharpError, match="step 1") as error:
        optimise(net, lambda r: loss(r) * math.nan, steps=STEPS, rate=0.01, seed=3, settle=settle)
    assert error.value.kind == "fit-failed"


def test_a_frozen_net_sees_no_other_pixel_of_its_window():
    """Batch statistics would let the far corner of a window change this one."""
    for norm in ("batch", "pixel", "none"):
        net, loss, settle = problem(norm)
        optimise(net, loss, steps=20, rate=0.01, seed=3, settle=settle)
        inputs = [
            torch.rand(1, n, 60 // g * 8, 60 // g * 8) for g, n in ((10, 4), (20, 6), (60, 2))
        ]
        before = net(*inputs)
        inputs[0][..., -6:, -6:] += 1
        reach = 48 - 6 - net.radius
        assert torch.equal(net(*inputs)[..., :reach, :reach], before[..., :reach, :reach])


def small_scene(rows=20, cols=22):
    return scene(rows, cols, seed=77)


def test_sharpen_fits_an_eager_scene_by_itself(monkeypatch):
    from dataclasses import replace

    from s2sharp_core import sharpeners

    monkeypatch.setitem(sharpeners.METHODS, "ssc_cnn", replace(METHODS["ssc_cnn"], steps=2))
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
    assert len(pickle.dumps(fitted)) < 1000
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


def test_a_fit_per_window_is_a_sharpener_too():
    options = FitOptions(1, 0)
    sharpener = WindowFitted(METHODS["ssc_cnn"], ("B05",), options, "cpu")
    y = [torch.rand(1, len(BY_GSD[g]) if g < 60 else 0, 60 // g * 20, 60 // g * 20) for g in GSDS]
    (picture,) = sharpener.sharpen(*y).values()
    assert picture.shape == (1, 120, 120)
    assert sharpener.tolerance == math.inf
    assert pickle.loads(pickle.dumps(sharpener)).digest == sharpener.digest
    assert Box(0, 1, 0, 1).grow(sharpener.halo).shape == (1 + 2 * sharpener.halo,) * 2
