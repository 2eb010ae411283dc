"""Filters on planes give what the sensor's model and interpolation give, however many rows they take at a time."""

import pytest
import torch
from torch.nn import functional as F

from s2sharp_core.bands import BANDS, BY_GSD
from s2sharp_core.networks import S2Net, fused_convolutions, planes
from s2sharp_core.sensor.observation import degrade
from s2sharp_core.sensor.response import Response, Sensor
from s2sharp_core.sensor.upsampling import upsample

OFF = Sensor(
    responses=tuple(
        Response(b, BANDS[b].blur, BANDS[b].edge, 0.3 * (-1) ** i, 0.8 - 0.2 * i)
        for i, b in enumerate(BY_GSD[20])
    )
)


def noise(*shape: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(3)
    return torch.randn(*shape, dtype=torch.float64, generator=random)


@pytest.mark.parametrize("sensor", [Sensor(), OFF])
@pytest.mark.parametrize("bands", [BY_GSD[20], ("B05",) * 3])
def test_phases_are_seen_as_the_picture_is_that_they_are_of(
    sensor: Sensor, bands: tuple[str, ...]
) -> None:
    x = noise(2, len(bands), 46, 38)
    phases = F.pixel_unshuffle(x, 2).unflatten(1, (len(bands), 4))
    assert torch.allclose(planes.seen(phases, bands, sensor), degrade(x, bands, 2, sensor))


@pytest.mark.parametrize(
    "shifts", [None, ((0.4, -0.2),) * 3, ((0.4, 0.0), (-0.9, 0.1), (0.0, 0.0))]
)
@pytest.mark.parametrize("kind", ["linear", "cubic"])
@pytest.mark.parametrize("ratio", [1, 2, 3])
def test_interpolation_is_that_of_the_sensor(
    ratio: int, kind: str, shifts: tuple[tuple[float, float], ...] | None
) -> None:
    y = noise(2, 3, 15, 21)
    expected = F.pixel_unshuffle(upsample(y, ratio, kind, shifts), ratio)
    assert torch.allclose(planes.phases_of(y, ratio, kind, shifts).flatten(1, 2), expected)
    assert torch.allclose(planes.enlarged(y, ratio, kind, shifts), upsample(y, ratio, kind, shifts))


def test_rows_taken_at_a_time_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    x, kernel = noise(1, 5, 60, 40).float(), torch.tensor([0.1, 0.2, 0.4, 0.2, 0.1])
    phases = noise(1, 6, 4, 60, 40).float()

    def all_of_it() -> list[torch.Tensor]:
        return [
            planes.smooth(x, kernel),
            planes.phases_of(x, 2),
            planes.enlarged(x, 3, "linear"),
            planes.seen(phases, BY_GSD[20], OFF),
        ]

    whole = all_of_it()
    monkeypatch.setattr(planes, "_AT_ONCE", 1)
    assert len(list(planes.strips(x))) == 5
    assert all(torch.equal(a, b) for a, b in zip(whole, all_of_it(), strict=True))


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_a_net_that_only_computes_gives_what_it_gives_while_it_learns(kind: torch.dtype) -> None:
    torch.manual_seed(1)
    net = S2Net(16, 2).of20
    torch.nn.init.normal_(net.tail.weight, std=0.1)
    x = noise(2, 23, 30, 33).to(kind, memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16, enabled=kind == torch.bfloat16):
        learning = net(x).detach().float()
        with torch.inference_mode():
            assert fused_convolutions.supported(x)
            computing = net(x).float()
    # A sum that bfloat16 rounds once more has 8 bits.
    limit = 2**-6 if kind == torch.bfloat16 else 1e-6
    assert (learning - computing).abs().max() <= limit * learning.abs().max()
