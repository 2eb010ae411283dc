"""A method that learns on the scene returns no band that it can know to be worse than its own start."""

import json
import pickle
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from s2sharp_core import METHODS, fit_sharpener, load_sharpener, sharpen
from s2sharp_core.bands import BY_GSD, COARSE, GSDS, ratio
from s2sharp_core.learning.fitting import Curve
from s2sharp_core.learning.options import FitOptions
from s2sharp_core.networks import GuardedNet, KrigingNet, SkipNet
from s2sharp_core.sensor.observation import degrade
from s2sharp_core.sensor.response import SENTINEL2, Sensor
from s2sharp_core.sensor.sample import Sample
from s2sharp_core.sensor.simulate import landscape, observe
from s2sharp_core.sensor.upsampling import upsample
from s2sharp_core.sharpeners import guard
from s2sharp_core.sharpeners.closed_form import learn
from s2sharp_core.sharpeners.fitted import fitted
from s2sharp_core.weights import load_net, save_net

from .scenes import scene

build = partial(SkipNet, GSDS, 4, 1, 2, residual=False)
SILENT = lambda *_: None  # noqa: E731


def sample(cells=36):
    return Sample.of(observe(landscape((6 * cells, 6 * cells), 5), 200.0, 1))


def wild():
    """A network that answers nonsense."""
    torch.manual_seed(3)
    return build().eval()


class Answering(torch.nn.Module):
    """A network that was told what it will be asked: the native bands, by the shape of its input."""

    def __init__(self, given, lies=()):
        super().__init__()
        self.bands = self.reads = tuple(band for g in GSDS for band in BY_GSD[g])
        self.answers, self.lies = {20: given.y20, 60: given.y60}, lies

    def forward(self, y10, _y20, _y60):
        sides = y10.shape[-2:]
        out = []
        for g in GSDS:
            known = self.answers.get(g, y10)
            known = known[..., : sides[0], : sides[1]]
            fits = known.shape[-2:] == sides
            out.append(known if fits else y10.new_zeros(1, len(BY_GSD[g]), *sides))
        x = torch.cat(out, dim=1)
        for band in self.lies:
            x[:, self.bands.index(band)] += 0.1
        return x


def test_one_level_down_the_answer_is_the_native_band():
    """The errors of interpolation and of the closed form, against what is computed here."""
    given = sample()
    errors = guard.compare(wild(), given, SENTINEL2)
    assert set(errors) == set(COARSE)
    inner = (..., slice(6, -6), slice(6, -6))
    for g in (20, 60):
        r = ratio(g)
        natives = (given.y10, given.y20, given.y60)
        y = [degrade(y, BY_GSD[h], r) for h, y in zip(GSDS, natives, strict=True)]
        closed = KrigingNet(g)
        learn(closed, Sample(*y))
        own = y[GSDS.index(g)]
        guesses = {"bicubic": upsample(own, r), "atprk": closed(*y)}
        for name, guess in guesses.items():
            rest = (guess - natives[GSDS.index(g)])[inner].double()
            for band, rmse in zip(BY_GSD[g], rest.square().mean(dim=(0, 2, 3)).sqrt(), strict=True):
                assert errors[band][name] == pytest.approx(1e4 * float(rmse), abs=2e-3)


def test_a_net_that_knows_the_answer_is_kept_and_the_bands_that_it_gets_wrong_are_not(monkeypatch):
    given = sample()
    net = Answering(given, lies=("B06", "B09"))
    errors = guard.compare(net, given, SENTINEL2)
    assert all(errors[band]["net"] < 1e-2 for band in set(COARSE) - {"B06", "B09"})
    assert errors["B06"]["net"] == pytest.approx(1000, rel=1e-3)
    monkeypatch.setattr(
        guard, "GuardedNet", lambda _, sensor, instead: GuardedNet(build(), sensor, instead)
    )
    behind, _ = guard.guarded(net, given, SENTINEL2)
    assert set(behind.instead) == {"B06", "B09"}


def test_what_is_returned_instead_is_what_that_method_gives():
    """Bit by bit, band by band; the others are the network's own."""
    given, net = sample(), wild()
    y = (given.y10, given.y20, given.y60)
    instead = {"B05": "bicubic", "B11": "atprk", "B09": "atprk", "B01": "bicubic"}
    behind = GuardedNet(net, SENTINEL2, instead)
    for closed in behind.closed.values():
        learn(closed, given)
    with torch.no_grad():
        out = dict(zip(behind.bands, behind(*y)[0], strict=True))
        own = dict(zip(net.bands, net(*y)[0], strict=True))
        for g in (20, 60):
            alone = KrigingNet(g)
            learn(alone, given)
            kriged = alone(*y)[0]
            between = upsample(y[GSDS.index(g)], ratio(g))[0]
            for i, band in enumerate(BY_GSD[g]):
                expected = {"bicubic": between[i], "atprk": kriged[i], None: own[band]}
                assert torch.equal(out[band], expected[instead.get(band)]), band


def test_a_band_is_given_by_the_best_of_three(monkeypatch):
    told = {"net": 2.0, "bicubic": 3.0, "atprk": 4.0}
    errors = dict.fromkeys(COARSE, told)
    errors |= {"B05": told | {"bicubic": 1.0}, "B11": told | {"atprk": 1.5, "bicubic": 1.9}}
    errors |= {"B12": told | {"bicubic": 2.0}}  # a draw: the simpler one
    monkeypatch.setattr(guard, "compare", lambda *_: errors)
    behind, _ = guard.guarded(wild(), sample(), SENTINEL2)
    assert behind.instead == {"B05": "bicubic", "B11": "atprk", "B12": "bicubic"}


def test_the_support_does_not_follow_from_what_is_replaced():
    sensor = Sensor("mtf")
    none = GuardedNet(build(), sensor).support
    some = GuardedNet(build(), sensor, {"B05": "bicubic"}).support
    every = GuardedNet(build(), sensor, dict.fromkeys(COARSE, "atprk")).support
    assert none == some == every
    for part in (build(), KrigingNet(20, sensor=sensor), KrigingNet(60, sensor=sensor)):
        for g, reach in part.support.items():
            assert all(a >= b for a, b in zip(none[g], reach, strict=True))


def test_the_file_says_what_is_replaced_and_so_does_its_digest(tmp_path):
    given, digests = sample(), set()
    for name, instead in (("a", {}), ("b", {"B05": "bicubic"})):
        net = GuardedNet(wild(), SENTINEL2, instead)
        sha256 = save_net(net, tmp_path / name / "net.safetensors", {})
        again, _ = load_net(tmp_path / name / "net.safetensors")
        assert again.instead == instead
        assert again.config == net.config
        with torch.no_grad():
            y = (given.y10, given.y20, given.y60)
            assert torch.equal(again(*y), net(*y))
        digests.add(sha256)
    assert len(digests) == 2


@pytest.fixture
def hopeless(monkeypatch):
    """A method that learns nothing."""
    method = fitted(
        replace(METHODS["ucnn"], name="hopeless", steps=1),
        nets={"hopeless.safetensors": build},
        learn=lambda *_: Curve((1,), (1.0,), 1.0),
        guard=True,
    )
    monkeypatch.setitem(METHODS, "hopeless", method)
    return method


def test_a_hopeless_fit_gives_what_the_better_ones_give_and_says_so(hopeless, tmp_path):
    picture = scene(34, 36, seed=77)
    with pytest.warns(UserWarning, match=r"hopeless was fitted.*B05.* by ") as warned:
        ready = fit_sharpener(picture, "hopeless", folder=tmp_path)
    assert warned[0].filename == __file__
    assert pickle.loads(pickle.dumps(ready)).digest == ready.digest
    assert ready.halo == hopeless.blank(COARSE, "cpu").halo
    card = json.loads((tmp_path / "hopeless.json").read_text())
    errors = card["one_level_down_rmse_dn"]
    given = sharpen(picture, ready)
    others = {name: sharpen(picture, name) for name in ("bicubic", "atprk")}
    for band in COARSE:
        best = min(set(errors[band]) - {"net"}, key=errors[band].__getitem__)
        assert card["instead"][band] == best
        apart = np.abs(given[band] - others[best][band])[12:-12, 12:-12]  # the rim is filled
        assert float(apart.max()) < 1e-6, (band, best)
    with pytest.warns(UserWarning, match="hopeless was fitted"):
        sharpen(picture, "hopeless")


def test_a_fit_that_begins_from_a_guarded_one_begins_from_its_network(hopeless, tmp_path):
    given = sample(24)
    for folder, start in (("first", None), ("second", tmp_path / "first")):
        options = FitOptions(1, start=start)
        hopeless.fit(given, SENTINEL2, COARSE, options, tmp_path / folder, "cpu", SILENT)
    first, second = (
        load_net(tmp_path / f / "hopeless.safetensors")[0] for f in ("first", "second")
    )
    for a, b in zip(first.net.parameters(), second.net.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", ["ssc_cnn", "ucnn", "deep_sure", "deep_sure_bp", "unrolled"])
def test_what_learns_on_the_scene_is_guarded(name):
    assert all(isinstance(net, GuardedNet) for net in METHODS[name].blank(COARSE, "cpu").nets)


def test_windows_too_small_to_be_seen_coarser_are_not_judged():
    """Of 60 m bands, in windows of eleven cells; nothing is replaced then."""
    errors = guard.compare(wild(), sample(11), SENTINEL2)
    assert set(errors) == set(BY_GSD[20])


def test_windows_too_small_for_the_closed_form_are_judged_by_interpolation_alone():
    """Twelve cells, the smallest window that a method learns from, are two of 360 m."""
    behind, errors = guard.guarded(wild(), sample(12), SENTINEL2)
    assert all(set(errors[band]) == {"net", "bicubic", "atprk"} for band in BY_GSD[20])
    assert all(set(errors[band]) == {"net", "bicubic"} for band in BY_GSD[60])
    assert {behind.instead[band] for band in BY_GSD[60]} == {"bicubic"}


def test_a_loaded_fit_of_one_gsd_reads_no_more_than_it_needs(tmp_path):
    net = GuardedNet(SkipNet((20,), 4, 1, 2), SENTINEL2, {"B05": "atprk"})
    save_net(net, tmp_path / "ssc_cnn-20m.safetensors", {})
    ready = load_sharpener("ssc_cnn", ["B05", "B11"], weights=tmp_path, device="cpu")
    assert set(ready.reads) == set(BY_GSD[10] + BY_GSD[20])
