import copy
from functools import partial

import numpy as np
import pytest
import torch

from s2sharp_core.bands import BY_GSD, GSDS
from s2sharp_core.errors import S2SharpError
from s2sharp_core.learning import examples
from s2sharp_core.learning import s2net as supervised
from s2sharp_core.learning.examples import landscapes, scene_variants
from s2sharp_core.learning.options import FitCourse
from s2sharp_core.learning.s2net import S2Recipe, adapt, error, prepared, train_net
from s2sharp_core.networks import S2Net
from s2sharp_core.sensor.observation import degrade
from s2sharp_core.sensor.response import SENTINEL2, Response, Sensor
from s2sharp_core.sensor.sample import Sample
from s2sharp_core.sensor.simulate import landscape, observe

TINY = S2Recipe(4, 1, steps=40, batch=2, cells=10, variants=2, synthetic=1)


def scene(cells, seed=5):
    return observe(landscape((6 * cells, 6 * cells), seed), seed=seed)


def sample(cells=32, seed=5):
    return Sample.of(scene(cells, seed))


def missed(net, seed=50):
    """Error on a landscape that nothing was taught on."""
    examples = prepared(net, landscapes(1, 20, seed))
    with torch.no_grad():
        return float(error(net, examples, torch.Generator().manual_seed(1), batch=8, cells=12))


def same(a, b):
    return all(torch.equal(a.state_dict()[k], v) for k, v in b.state_dict().items())


def test_the_first_variant_is_the_scene_seen_twice_as_coarse():
    """Through the kernel of one focal plane, in place and without noise where a sensor is given."""
    native = scene(12)
    example = next(iter(scene_variants(native, 1, 3, SENTINEL2)))
    one = example.sensor
    assert {one.response(b).blur for b in BY_GSD[20]} == {one.response("B05").blur}
    expected = {
        10: degrade(torch.from_numpy(native[10])[None], ("B05",) * 4, 2, one)[0],
        20: degrade(torch.from_numpy(native[20])[None], BY_GSD[20], 2, one)[0],
    }
    ways = [
        k for k in range(8) if torch.equal(examples._turned(expected[10], k), example.inputs[10])
    ]
    assert len(ways) == 1
    assert torch.equal(examples._turned(expected[20], ways[0]), example.inputs[20])
    assert torch.equal(examples._turned(torch.from_numpy(native[20]), ways[0]), example.truth[:6])
    played = degrade(example.truth[None, 6:], BY_GSD[60], 6)[0]
    assert torch.allclose(played, example.inputs[60], atol=1e-6)


def test_only_bands_that_are_seen_through_the_guides_kernel_count():
    red, swir = list(scene_variants(scene(12), 2, 3))
    assert (red.counts, swir.counts) == ((0, 1, 2, 3, 6, 7), (4, 5, 6, 7))
    assert red.sensor.response("B05").blur < swir.sensor.response("B11").blur


@pytest.mark.parametrize("way", range(8))
def test_a_scene_that_is_turned_has_its_shifts_turned_with_it(way):
    """Seen and turned is turned and seen."""
    sensor = Sensor(responses=(Response("B05", 0.37, 0.545, 0.3, -0.2),))
    x = torch.from_numpy(landscape((72, 72), 3)[None, 4:5]).double()
    seen = examples._turned(degrade(x, ["B05"], 2, sensor), way)
    turned = examples._turned_sensor(sensor, way)
    again = degrade(examples._turned(x, way), ["B05"], 2, turned)
    assert torch.allclose(seen, again, atol=1e-9)


def test_variants_differ_and_a_seed_repeats_them():
    native = scene(12)
    first, again = (list(scene_variants(native, 4, 3)) for _ in range(2))
    other = list(scene_variants(native, 4, 4))
    assert all(torch.equal(a.truth, b.truth) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[2].truth, other[2].truth)
    means = {round(float(e.truth[:6].mean()), 6) for e in first}
    assert len(means) == 4


def test_teaching_helps_on_what_it_has_not_seen():
    net, curve = train_net(TINY, [scene(24)])
    assert missed(net) < missed(S2Net(4, 1))
    assert curve.steps[-1] == TINY.steps


def test_stopped_and_resumed_gives_the_same_net(tmp_path, monkeypatch):
    monkeypatch.setattr("s2sharp_core.learning.fitting._CHECKPOINT", 10)
    monkeypatch.setattr(supervised, "landscapes", partial(landscapes, cells=20))
    whole, _ = train_net(TINY, [])

    class StopError(Exception):
        pass

    def stop(*_):
        raise StopError

    checkpoint = tmp_path / "net.checkpoint"
    with pytest.raises(StopError):
        train_net(TINY, [], checkpoint, stop)
    assert checkpoint.exists()
    steps = []

    def counted(*given, **named):
        steps.append(1)
        return error(*given, **named)

    monkeypatch.setattr(supervised, "error", counted)
    resumed, _ = train_net(TINY, [], checkpoint)
    # The last 20 are looked at once more when all is done.
    assert len(steps) == 30 + 20
    assert same(whole, resumed)


@pytest.mark.parametrize(("scenes", "synthetic"), [([], 0), ([scene(8)], 1)])
def test_nothing_or_too_little_to_teach_on_is_refused(scenes, synthetic):
    recipe = S2Recipe(4, 1, synthetic=synthetic)
    with pytest.raises(S2SharpError, match=r"nothing to train on|too small"):
        train_net(recipe, scenes)


def test_adapting_keeps_what_is_better_on_what_is_held_out(tmp_path):
    """Begun from weights that are off: to mend them is worth it."""
    net, random = S2Net(4, 1), torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=random))
    before = copy.deepcopy(net)
    curve = adapt(net, sample(24), SENTINEL2, FitCourse(40, checkpoint=tmp_path / "net.checkpoint"))
    assert curve.facts["held_out_after"] < supervised._WORTH * curve.facts["held_out_before"]
    assert curve.facts["kept_step"] > 0
    assert not same(net, before)
    sixty = {k: v for k, v in before.state_dict().items() if k.startswith("of60")}
    assert all(torch.equal(net.state_dict()[k], v) for k, v in sixty.items())
    assert not list(tmp_path.glob("*.best"))


def test_what_does_not_help_is_not_kept_and_ends_early(monkeypatch):
    """Steps so large that they only do harm."""
    monkeypatch.setattr(supervised, "_ADAPT_RATE", 10.0)
    net = S2Net(4, 1)
    before = copy.deepcopy(net)
    curve = adapt(net, sample(24), SENTINEL2, FitCourse(400))
    assert same(net, before)
    assert curve.facts["kept_step"] == 0
    assert curve.facts["held_out_after"] == curve.facts["held_out_before"]
    assert curve.steps[-1] < 400


def test_held_out_windows_are_not_learned_from(monkeypatch):
    seen = []

    def prepare(net, examples, device="cpu"):
        seen.append([e.inputs[10].mean().item() for e in examples])
        return found(net, landscapes(1, 16), device)

    found = supervised.prepared
    monkeypatch.setattr(supervised, "prepared", prepare)
    windows = [scene(18, seed) for seed in range(4)]
    stacked = Sample(*(torch.from_numpy(np.stack([w[g] for w in windows])) for g in GSDS))
    adapt(S2Net(4, 1), stacked, SENTINEL2, FitCourse(20))
    learned, held = seen
    # Thrice three windows and one, each through the kernels of two focal planes.
    assert (len(learned), len(held)) == (18, 2)
    assert not set(learned) & set(held)
