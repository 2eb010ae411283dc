"""Fits: resumable, frozen, checked, and refused where there is nothing to learn from."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from s2sharp_core import METHODS, S2SharpError
from s2sharp_core.learning import fitting
from s2sharp_core.learning.fitting import optimise
from s2sharp_core.learning.options import FitCourse, FitOptions
from s2sharp_core.networks import SkipNet
from s2sharp_core.sensor.response import SENTINEL2
from s2sharp_core.sensor.sample import Sample
from s2sharp_core.sensor.simulate import landscape, observe
from s2sharp_core.sharpeners import WindowFitted

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
    whole = optimise(net, loss, FitCourse(STEPS, 3), rate=0.01, settle=settle)
    other, again, settle = problem()
    file, calls = tmp_path / "fit.checkpoint", []

    def cut(random):
        calls.extend([1] * torch.is_grad_enabled())
        if len(calls) == STEPS - 4:
            raise PowerCutError
        return again(random)

    course = FitCourse(STEPS, 3, file)
    with pytest.raises(PowerCutError):
        optimise(other, cut, course, rate=0.01, settle=settle)
    third, again, settle = problem()
    for p in third.parameters():
        nn.init.constant_(p, 0.5)  # all that matters comes from the checkpoint
    resumed = optimise(third, again, course, rate=0.01, settle=settle)
    assert resumed == whole
    for a, b in zip(net.state_dict().values(), third.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_a_checkpoint_of_another_fit_is_not_taken_up(tmp_path):
    file = tmp_path / "fit.checkpoint"
    net, loss, settle = problem()
    optimise(net, loss, FitCourse(STEPS, 3, file), rate=0.01, settle=settle)
    assert file.exists()
    other, again, settle = problem()
    curve = optimise(other, again, FitCourse(STEPS, 4, file), rate=0.01, settle=settle)
    assert curve.steps[0] == 20
    file.write_bytes(b"torn")
    third, again, settle = problem()
    assert optimise(third, again, FitCourse(STEPS, 4, file), rate=0.01, settle=settle) == curve


def test_what_freezing_does_is_measured_on_the_same_draws():
    """Both ratios against losses that are computed here: of the net as it was settled, and as it ended."""
    net, loss, settle = problem()
    drawn, settled = [], {}

    def watched(random):
        state = random.get_state()
        value = loss(random)
        if torch.is_grad_enabled():
            drawn.append((state, float(value.detach())))
        return value

    def settling():
        settle()
        settled.update({name: x.clone() for name, x in net.state_dict().items()})

    curve = optimise(net, watched, FitCourse(STEPS, 3), rate=0.01, settle=settling)
    assert len(drawn) == STEPS
    assert not net.training
    assert all(m.num_batches_tracked == 1 for m in net.modules() if isinstance(m, nn.BatchNorm2d))
    frozen = int(fitting._SETTLE * STEPS)
    last = drawn[frozen - 20 : frozen]

    def again(weights):
        net.load_state_dict(weights)
        values = []
        for state, _ in last:
            random = torch.Generator()
            random.set_state(state)
            with torch.no_grad():
                values.append(float(loss(random)))
        return np.mean(values) / np.mean([value for _, value in last])

    ended = {name: x.clone() for name, x in net.state_dict().items()}
    assert curve.on_freezing == pytest.approx(again(settled))
    assert curve.frozen == pytest.approx(again(ended))
    assert curve.on_freezing != pytest.approx(curve.frozen, rel=1e-3)
    told = curve.card()
    assert (told["on_freezing"], told["frozen_over_training"]) == (curve.on_freezing, curve.frozen)


def test_what_freezing_spoils_and_the_other_steps_mend_is_told(tmp_path, monkeypatch):
    """A sample unlike what is trained on gives statistics that hurt, until the net has learned them."""
    monkeypatch.setattr(fitting, "_SETTLE", 0.5)  # with time to mend
    monkeypatch.setattr(fitting, "_SETTLED_RATE", 1.0)
    net, loss, _ = problem()
    torch.manual_seed(2)
    strange = [
        2 + torch.rand(1, n, 60 // g * 4, 60 // g * 4) for g, n in ((10, 4), (20, 6), (60, 2))
    ]
    course = FitCourse(120, 3, tmp_path / "fit.checkpoint")
    curve = optimise(net, loss, course, rate=0.01, settle=lambda: net(*strange))
    assert curve.on_freezing > 1.5
    assert curve.frozen <= 1.05
    # A fit that is taken up after freezing still knows.
    net, loss, _ = problem()
    again = optimise(net, loss, course, rate=0.01, settle=lambda: net(*strange))
    assert again.on_freezing == curve.on_freezing


def test_a_fit_too_short_to_freeze_is_refused_with_the_fewest_steps(tmp_path):
    net, loss, settle = problem()
    assert math.isfinite(optimise(net, loss, FitCourse(2, 3), rate=1e-4, settle=settle).frozen)
    plain, loss, settle = problem("none")
    assert math.isfinite(optimise(plain, loss, FitCourse(1, 3), rate=0.01, settle=settle).frozen)
    sample = Sample.of(observe(landscape((72, 72), 5)))
    for method in METHODS.values():
        if method.fit is None:
            continue
        nets = method.blank(method.bands, "cpu").nets
        norms = [m for net in nets for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
        assert method.fewest == (2 if norms else 1)
        if norms:
            refused = (
                lambda m: m.fit(
                    sample, SENTINEL2, m.bands, FitOptions(1), tmp_path, "cpu", lambda *_: None
                ),
                lambda m: WindowFitted(m, m.bands, FitOptions(1), "cpu"),
            )
            for begin in refused:
                with pytest.raises(S2SharpError, match=f"{method.name} takes at least 2") as error:
                    begin(method)
                assert error.value.kind == "bad-config"


def test_a_net_that_is_worse_when_frozen_is_refused():
    net, loss, settle = problem()

    def treacherous(random):
        return loss(random) * (1.0 if torch.is_grad_enabled() else 10.0)

    with pytest.raises(S2SharpError, match="frozen") as error:
        optimise(net, treacherous, FitCourse(STEPS, 3), rate=0.01, settle=settle)
    assert error.value.kind == "fit-failed"


def test_a_loss_that_is_no_number_ends_the_fit():
    net, loss, settle = problem()
    with pytest.raises(S2SharpError, match="step 1") as error:
        optimise(net, lambda r: loss(r) * math.nan, FitCourse(STEPS, 3), rate=0.01, settle=settle)
    assert error.value.kind == "fit-failed"


def test_a_frozen_net_sees_no_other_pixel_of_its_window():
    """Batch statistics would let the far corner of a window change this one."""
    for norm in ("batch", "none"):
        net, loss, settle = problem(norm)
        optimise(net, loss, FitCourse(20, 3), rate=0.01, settle=settle)
        inputs = [
            torch.rand(1, n, 60 // g * 8, 60 // g * 8) for g, n in ((10, 4), (20, 6), (60, 2))
        ]
        before = net(*inputs)
        inputs[0][..., -6:, -6:] += 1
        reach = 48 - 6 - net.radius
        assert torch.equal(net(*inputs)[..., :reach, :reach], before[..., :reach, :reach])
